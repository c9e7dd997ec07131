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
-- The only model that reads raw sets. A best set is packed as value × 2^15 + repetitions (or repetitions × 2^38 +
-- weight), so
-- that one max() finds both; weights are in units of 1e-8 kg.
with
    sessions as (
        select
            workout_key,
            exercise_key,
            count(*) filter (where is_working)::int as sets,
            coalesce(sum(reps) filter (where is_working), 0)::int as reps,
            coalesce(sum(volume_e8) filter (where is_working), 0) as volume_e8,
            max(round(weight_kg * 100000000)::bigint * 32768 + reps) filter (
                where is_working and weight_kg > 0
            ) as top_weight_pack,
            max(e1rm_e8::bigint * 32768 + reps) filter (where is_working and e1rm_e8 > 0) as e1rm_pack,
            max(volume_e8) filter (where is_working and volume_e8 > 0) as set_volume_e8,
            max((volume_e8 / 100)::bigint * 32768 + reps) filter (
                where is_working and volume_e8 > 0
            ) as set_volume_pack,
            max(reps * 274877906944 + coalesce(round(weight_kg * 100000000)::bigint, 0)) filter (
                where is_working and reps > 0
            ) as reps_pack,
            sum(round(rpe * 100)) filter (where is_working) as rpe_hundredths,
            count(rpe) filter (where is_working)::int as rpe_sets
        from {{ ref("stg_workout_sets") }}
        {%- if is_partial() %} where workout_key in {{ changed_keys(["workout_key"]) }} {%- endif %}
        group by workout_key, exercise_key
    )

select
    workouts.user_key,
    sessions.workout_key,
    workouts.started_at,
    sessions.volume_e8,
    (sessions.top_weight_pack / 32768)::double precision / 100000000 as top_weight_kg,
    (sessions.e1rm_pack / 32768)::double precision / 100000000 as e1rm_kg,
    sessions.set_volume_e8 / 100000000 as set_volume_kg,
    mod(sessions.reps_pack, 274877906944)::double precision / 100000000 as most_reps_weight_kg,
    sessions.exercise_key,
    workouts.local_date,
    workouts.duration_seconds,
    sessions.sets,
    sessions.reps,
    mod(sessions.top_weight_pack, 32768)::int as top_weight_reps,
    mod(sessions.e1rm_pack, 32768)::int as e1rm_reps,
    mod(sessions.set_volume_pack, 32768)::int as set_volume_reps,
    (sessions.reps_pack / 274877906944)::int as most_reps,
    coalesce(sessions.rpe_hundredths, 0)::int as rpe_hundredths,
    sessions.rpe_sets
from sessions
join {{ ref("stg_workouts") }} as workouts on workouts.workout_key = sessions.workout_key
