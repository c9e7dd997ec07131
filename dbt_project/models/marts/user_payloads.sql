{{
    config(
        materialized="maintained_table",
        primary_key=["user_key", "resource"],
        replaces=["user_key"],
        change_kinds=["workout", "user", "exercise", "plan", "profile", "day", "arrival", "personal_record_events"],
        post_hook="{{ keep_from_analysts() }}",
    )
}}
-- depends_on: {{ ref("changes") }}
with
    summaries as (
        select
            user_key,
            range,
            workouts,
            active_days as "activeDays",
            training_minutes as "trainingMinutes",
            sets,
            reps,
            volume_kg as "volumeKg",
            avg_rpe as "avgRpe",
            exercises,
            record_events as "recordEvents",
            current_streak_weeks as "currentStreakWeeks",
            longest_streak_weeks as "longestStreakWeeks",
            {{ json_instant("first_workout_at") }} as "firstWorkoutAt",
            {{ json_instant("last_workout_at") }} as "lastWorkoutAt",
            previous_workouts as "previousWorkouts",
            previous_volume_kg as "previousVolumeKg",
            volume_change_pct as "volumeChangePct",
            planned_sessions as "plannedSessions",
            completed_sessions as "completedSessions",
            adherence,
            sets_by_muscle as "setsByMuscle"
        from {{ ref("user_summary_rows") }}
        {%- if is_partial() %} where user_key in {{ changed_keys(["user_key"]) }} {%- endif %}
    ),
    summary_payloads as (
        select user_key, 'summary/' || range as resource, {{ json_object_without("summaries", "user_key") }} as payload
        from summaries
    ),

    records as (
        select
            records.user_key,
            exercises.exercise_id as "exerciseId",
            exercises.exercise_name as "exerciseName",
            records.record_type as "recordType",
            records.value,
            case records.record_type when 'reps' then 'reps' else 'kg' end as unit,
            records.weight_kg as "weightKg",
            records.reps,
            {{ json_instant("records.achieved_at") }} as "achievedAt",
            records.workout_key as "workoutKey"
        from {{ ref("personal_record_rows") }} as records
        join {{ ref("stg_exercises") }} as exercises on exercises.exercise_key = records.exercise_key
        {%- if is_partial() %} where records.user_key in {{ changed_keys(["user_key"]) }} {%- endif %}
    ),
    record_lists as (
        select
            user_key,
            string_agg(
                {{ json_object_without("records", "user_key") }},
                ','
                order by "achievedAt" desc, "exerciseName", "exerciseId", "recordType"
            ) as list
        from records
        group by user_key
    ),
    record_payloads as (
        select
            people.user_key, 'records' as resource, '{"records":[' || coalesce(record_lists.list, '') || ']}' as payload
        from {{ ref("user_zones") }} as people
        left join record_lists on record_lists.user_key = people.user_key
        {%- if is_partial() %} where people.user_key in {{ changed_keys(["user_key"]) }} {%- endif %}
    )

select user_key, resource, payload
from summary_payloads
union all
select user_key, resource, payload
from record_payloads
