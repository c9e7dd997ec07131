{{
    config(
        materialized="maintained_table",
        primary_key=["user_key", "local_date"],
        indexes=[{"columns": ["last_workout_at"]}],
        replaces=["user_key", "local_date"],
    )
}}
with
    {%- if is_partial() %} changed as materialized {{ changed_keys(["user_key", "local_date"]) }}, {%- endif %}

    workouts as (
        select
            workout_key,
            user_key,
            local_date,
            started_at,
            duration_seconds,
            sum(sets)::int as sets,
            sum(reps)::int as reps,
            sum(volume_e8) as volume_e8,
            sum(rpe_hundredths)::int as rpe_hundredths,
            sum(rpe_sets)::int as rpe_sets
        from {{ ref("exercise_sessions") }}
        {%- if is_partial() %}
            join changed using (user_key, local_date)
            where
                started_at >= {{ earliest_start("changed.local_date") }}
                and started_at < {{ latest_start("changed.local_date") }}
        {%- endif %}
        group by workout_key, user_key, local_date, started_at, duration_seconds
    ),
    days as (
        select
            user_key,
            local_date,
            count(*)::int as workouts,
            sum(sets)::int as sets,
            sum(reps)::bigint as reps,
            coalesce(sum(duration_seconds), 0)::int as training_seconds,
            sum(volume_e8) / 100000000 as volume_kg,
            sum(rpe_hundredths)::bigint as rpe_hundredths,
            sum(rpe_sets)::int as rpe_sets,
            min(started_at) as first_workout_at,
            max(started_at) as last_workout_at
        from workouts
        group by user_key, local_date
    ),

    events as (
        select user_key, local_date, count(*)::int as record_events
        from {{ ref("personal_record_events") }}
        where is_record_event {%- if is_partial() %} and user_key in (select user_key from changed) {%- endif %}
        group by user_key, local_date
    )

select
    days.user_key,
    days.local_date,
    days.workouts,
    days.training_seconds / 60.0::double precision as training_minutes,
    days.sets,
    days.reps,
    days.volume_kg,
    days.rpe_hundredths / 100.0::double precision as rpe_sum,
    days.rpe_sets,
    coalesce(events.record_events, 0) as record_events,
    days.first_workout_at,
    days.last_workout_at
from days
left join events on events.user_key = days.user_key and events.local_date = days.local_date
