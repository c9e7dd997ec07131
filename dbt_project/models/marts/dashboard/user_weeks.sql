{{
    config(
        materialized="maintained_table",
        primary_key=["user_key", "week_on"],
        replaces=["user_key"],
        change_kinds=["workout", "user", "arrival", "personal_record_events"],
    )
}}
-- depends_on: {{ ref("changes") }}
with
    people as (
        select user_key, ({{ as_of() }} at time zone time_zone)::date as today_on
        from {{ ref("user_zones") }}
        {%- if is_partial() %} where user_key in {{ changed_keys(["user_key"]) }} {%- endif %}
    )

select
    days.user_key,
    {{ week_of("days.local_date") }} as week_on,
    sum(days.workouts)::int as workouts,
    count(*)::int as active_days,
    sum(round(days.training_minutes * 60)) / 60 as training_minutes,
    sum(days.sets)::int as sets,
    sum(days.reps)::bigint as reps,
    sum(round(days.volume_kg * 100000000)) / 100000000 as volume_kg,
    sum(days.record_events)::int as record_events
from people
join {{ ref("user_days") }} as days on days.user_key = people.user_key
where days.local_date <= people.today_on
group by days.user_key, {{ week_of("days.local_date") }}
