{{
    config(
        materialized="materialized_view",
        indexes=[{"columns": ["criterion"], "unique": true}],
        source_version=analytics_version(reads_more=true),
    )
}}
-- Together with kpi_daily and never without it, so that as_of is that of the values.
with
    -- A run is an unbroken row of days with the same verdict: it keeps its number of changes.
    changes as (
        select
            *,
            case
                when is_met is distinct from lag(is_met) over (partition by criterion order by day_on) then 1 else 0
            end as is_change
        from {{ ref("readiness_history") }}
    ),
    runs as (select *, sum(is_change) over (partition by criterion order by day_on) as run from changes),
    history as (
        select
            *,
            min(day_on) over (partition by criterion, run) as since_on,
            max(day_on) filter (where is_met) over (partition by criterion) as last_met_on
        from runs
    ),

    today as (
        select
            history.criterion,
            metrics.position,
            metrics.label,
            metrics.description,
            metrics.unit,
            metrics.direction,
            metrics.target,
            metrics.baseline,
            history.value,
            metrics.window_days,
            history.sample,
            history.value - earlier.value as trend,
            history.is_met,
            case when history.value is null then 'no data' when history.is_met then 'met' else 'missed' end as verdict,
            history.since_on,
            history.last_met_on,
            metrics.evidence,
            clock.as_of
        from history
        join {{ ref("metrics") }} as metrics on metrics.metric = history.criterion
        join {{ ref("clock") }} as clock on clock.today_on = history.day_on
        left join
            {{ ref("readiness_history") }} as earlier
            on earlier.criterion = history.criterion
            and earlier.day_on = history.day_on - metrics.window_days
    )

select
    criterion,
    position,
    label,
    description,
    unit,
    direction,
    target,
    baseline,
    value,
    window_days,
    sample,
    trend,
    case
        when trend is null
        then 'unknown'
        when trend = 0
        then 'steady'
        when (trend > 0) = (direction = 'at_least')
        then 'better'
        else 'worse'
    end as trend_means,
    is_met,
    verdict,
    since_on,
    last_met_on,
    evidence,
    as_of
from today
