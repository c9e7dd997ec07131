{{
    config(
        materialized="maintained_table",
        primary_key=["workout_key", "exercise_key"],
        indexes=[{"columns": ["user_key"]}],
        replaces=["workout_key"],
        change_kinds=["workout"],
    )
}}
-- depends_on: {{ ref("changes") }}
-- The only model that reads raw sets. Each best set is packed as value × 2^15 + repetitions, so that one max() finds both.
with
    sessions as (
        select
            workout_key,
            exercise_key,
            count(*) filter (where is_working)::int as sets,
            coalesce(sum(reps) filter (where is_working), 0)::int as reps,
            coalesce(sum(volume_mg) filter (where is_working), 0) as volume_mg,
            max(weight_kg) filter (where is_working and weight_kg > 0) as top_weight_kg,
            max(round(weight_kg * 1000000) * 32768 + reps) filter (where is_working and weight_kg > 0) as top_weight_pack,
            max(e1rm_mg * 32768 + reps) filter (where is_working and e1rm_mg > 0) as e1rm_pack,
            max(volume_mg::bigint * 32768 + reps) filter (where is_working and volume_mg > 0) as set_volume_pack,
            max(reps * 4294967296 + coalesce(round(weight_kg * 1000000), 0)) filter (where is_working and reps > 0) as reps_pack,
            sum(round(rpe * 100)) filter (where is_working) as rpe_hundredths,
            count(rpe) filter (where is_working)::int as rpe_sets
        from {{ ref("stg_workout_sets") }}
        {%- if is_partial() %}
        where workout_key in {{ changed_keys(["workout_key"]) }}
        {%- endif %}
        group by workout_key, exercise_key
    )

select
    workouts.user_key,
    sessions.workout_key,
    workouts.started_at,
    sessions.volume_mg,
    sessions.top_weight_kg,
    floor(sessions.e1rm_pack / 32768) / 1000000 as e1rm_kg,
    (sessions.set_volume_pack / 32768)::double precision / 1000000 as set_volume_kg,
    mod(sessions.reps_pack::bigint, 4294967296)::double precision / 1000000 as most_reps_weight_kg,
    sessions.exercise_key,
    workouts.local_date,
    workouts.duration_seconds,
    sessions.sets,
    sessions.reps,
    mod(sessions.top_weight_pack::bigint, 32768)::int as top_weight_reps,
    mod(sessions.e1rm_pack::bigint, 32768)::int as e1rm_reps,
    mod(sessions.set_volume_pack, 32768)::int as set_volume_reps,
    floor(sessions.reps_pack / 4294967296)::int as most_reps,
    coalesce(sessions.rpe_hundredths, 0)::int as rpe_hundredths,
    sessions.rpe_sets
from sessions
join {{ ref("stg_workouts") }} as workouts on workouts.workout_key = sessions.workout_key
