{{
    config(
        materialized="materialized_view",
        parallel_workers=0,
        pre_hook="set local enable_hashjoin to off",
        indexes=[{"columns": ["user_key", "range"], "unique": true}],
        source_version=version_of(["user_range_totals", "user_range_exercises"]),
        audits=[
            {
                "name": "every user has one row per range",
                "sql": "select user_key from {relation} group by user_key having count(*) <> 5",
            },
        ],
    )
}}
-- Both tables lie in the order of users: walking along them is faster than copying the wider one into a hash table.
select
    user_key,
    range,
    workouts,
    active_days,
    training_minutes,
    sets,
    reps,
    volume_kg,
    avg_rpe,
    exercises,
    record_events,
    current_streak_weeks,
    longest_streak_weeks,
    first_workout_at,
    last_workout_at,
    previous_workouts,
    previous_volume_kg,
    volume_change_pct,
    planned_sessions,
    completed_sessions,
    adherence,
    sets_by_muscle,
    as_of
from {{ ref("user_summary_rows") }}
