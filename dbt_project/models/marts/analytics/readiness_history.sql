{{ config(materialized="view") }}
select
    daily.day_on,
    daily.metric as criterion,
    daily.value,
    metrics.target,
    daily.denominator as sample,
    coalesce(
        case metrics.direction when 'below' then daily.value < metrics.target else daily.value >= metrics.target end,
        false
    ) as is_met
from {{ ref("kpi_daily") }} as daily
join {{ ref("metrics") }} as metrics on metrics.metric = daily.metric
where metrics.target is not null
