{{
    config(
        materialized="maintained_table",
        primary_key=["user_key", "measure"],
        replaces=["user_key"],
        change_kinds=["workout", "user", "exercise", "profile", "day", "arrival", "personal_record_events"],
    )
}}
-- depends_on: {{ ref("changes") }}, {{ ref("user_summary_rows") }}, {{ ref("top_lifts") }}
-- Half of the points that equal a value count as below it, so that the middle of a group of equals is the middle.
select
    measures.user_key,
    measures.measure,
    profiles.goal,
    profiles.experience_level,
    measures.value,
    quantiles.users as peers,
    case when quantiles.points is not null then quantiles.points[50] end as peer_median,
    case
        when measures.is_active
        then
            (width_bucket(measures.value, quantiles.points) + width_bucket(measures.value - 0.0005, quantiles.points))
            / 2.0::double precision
    end as percentile,
    case
        when profiles.user_key is null
        then 'no_profile'
        when not measures.is_active
        then 'no_recent_workouts'
        when measures.value is null
        then 'no_trend'
        when quantiles.points is null
        then 'group_too_small'
    end as reason,
    quantiles.day_on as compared_on
from {{ ref("user_zones") }} as people
join {{ ref("peer_measures") }} as measures on measures.user_key = people.user_key
left join {{ source("app", "profiles") }} as profiles on profiles.user_key = measures.user_key
left join
    {{ ref("peer_quantiles") }} as quantiles
    on quantiles.day_on = ({{ as_of() }} at time zone people.time_zone)::date
    and quantiles.goal = profiles.goal
    and quantiles.experience_level = profiles.experience_level
    and quantiles.measure = measures.measure
    and measures.is_active
    and measures.value is not null
{%- if is_partial() %} where people.user_key in {{ changed_keys(["user_key"]) }} {%- endif %}
