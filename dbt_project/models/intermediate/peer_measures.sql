{{ config(materialized="view") }}
-- Rounded to thousandths, so that values that a person would call equal are.
select
    summaries.user_key,
    summaries.workouts > 0 as is_active,
    measures.measure,
    round(measures.value * 1000) / 1000 as value
from {{ ref("user_summary_rows") }} as summaries
cross join
    lateral(
        select avg(lifts.trend_12w_pct order by lifts.rank) as trend_pct
        from {{ ref("top_lifts") }} as lifts
        where lifts.user_key = summaries.user_key
    ) as trends
cross join
    lateral(
        values
            ('workouts', summaries.workouts::double precision),
            ('sets', summaries.sets::double precision),
            ('volume_kg', summaries.volume_kg),
            ('e1rm_trend_pct', trends.trend_pct)
    ) as measures(measure, value)
where summaries.range = '30d'
