{{ config(materialized="view") }}
-- Rounded to thousandths, so that values that a person would call equal are.
with
    trends as (
        select user_key, avg(trend_12w_pct order by rank) as trend_pct from {{ ref("top_lifts") }} group by user_key
    )

select
    summaries.user_key,
    summaries.workouts > 0 as is_active,
    measures.measure,
    round(measures.value * 1000) / 1000 as value
from {{ ref("user_summary_rows") }} as summaries
left join trends on trends.user_key = summaries.user_key
cross join
    lateral(
        values
            ('workouts', summaries.workouts::double precision),
            ('sets', summaries.sets::double precision),
            ('volume_kg', summaries.volume_kg),
            ('e1rm_trend_pct', trends.trend_pct)
    ) as measures(measure, value)
where summaries.range = '30d'
