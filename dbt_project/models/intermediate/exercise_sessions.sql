{{
    config(
        materialized="maintained_table",
        primary_key=["workout_key", "exercise_key"],
        indexes=[{"columns": ["user_key", "started_at"]}],
        replaces=["workout_key"],
        change_kinds=["workout"],
    )
}}
-- depends_on: {{ ref("changes") }}
-- A best set is packed as value × 2^15 + repetitions (or repetitions × 2^38 + weight), so that one max() finds both;
-- weights are in units of 1e-8 kg. What warm-ups must not count is null; a session of warm-ups only has 0 sets.
with
    sessions as (
        {%- for slice in slices(source("app", "workout_sets"), "workout_key") %}
            {%- if not loop.first %}
                union all
            {%- endif %}
            select
                workout_key,
                exercise_key,
                count(reps)::int as sets,
                coalesce(sum(reps), 0)::int as reps,
                coalesce(sum(weight_e8 * reps), 0) as volume_e8,
                max(weight_e8 * 32768 + reps)::bigint as top_weight_pack,
                max(
                    case
                        when reps = 1
                        then weight_e8 * 16 + 1
                        when reps between 2 and 12
                        then round(weight_e8 * (30 + reps) / 30) * 16 + reps
                    end
                )::bigint as e1rm_pack,
                nullif(max(weight_e8 * reps), 0) as set_volume_e8,
                max((weight_e8 * reps / 100)::bigint * 32768 + reps::bigint) as set_volume_pack,
                max(case when reps > 0 then reps * 274877906944 + coalesce(weight_e8, 0) end)::bigint as reps_pack,
                coalesce(sum(rpe_hundredths), 0)::int as rpe_hundredths,
                count(rpe_hundredths)::int as rpe_sets,
                string_agg(int8send(packed), ''::bytea order by position) as packed_sets
            from
                (
                    -- In order, so that Postgres computes each of these once per set, not once per aggregate.
                    select
                        workout_key,
                        exercise_key,
                        position,
                        case when is_working then reps end as reps,
                        case when is_working then nullif(weight_e8, 0) end as weight_e8,
                        case when is_working then rpe_hundredths end as rpe_hundredths,
                        case
                            when is_working
                            then
                                coalesce(weight_e8, 0)::bigint * 33554432
                                + reps::int * 1024
                                + coalesce(rpe_hundredths, 0)
                        end as packed
                    from {{ ref("stg_workout_sets") }}
                    where
                        {{ slice }}
                        {%- if is_partial() %} and workout_key in {{ changed_keys(["workout_key"]) }} {%- endif %}
                    order by workout_key, exercise_key, position
                ) as sets
            group by workout_key, exercise_key
        {%- endfor %}
    ),

    -- Local dates once per workout, not once per exercise of it.
    workouts as (
        select workout_key, user_key, started_at, local_date, duration_seconds
        from {{ ref("stg_workouts") }}
        {%- if is_partial() %} where workout_key in {{ changed_keys(["workout_key"]) }} {%- endif %}
        offset 0
    )

select
    workouts.user_key,
    sessions.workout_key,
    workouts.started_at,
    sessions.volume_e8,
    (sessions.top_weight_pack / 32768)::double precision / 100000000 as top_weight_kg,
    (sessions.e1rm_pack / 16)::double precision / 100000000 as e1rm_kg,
    sessions.set_volume_e8 / 100000000 as set_volume_kg,
    mod(sessions.reps_pack, 274877906944)::double precision / 100000000 as most_reps_weight_kg,
    sessions.exercise_key,
    workouts.local_date,
    workouts.duration_seconds,
    sessions.sets,
    sessions.reps,
    mod(sessions.top_weight_pack, 32768)::int as top_weight_reps,
    mod(sessions.e1rm_pack, 16)::int as e1rm_reps,
    nullif(mod(sessions.set_volume_pack, 32768), 0)::int as set_volume_reps,
    (sessions.reps_pack / 274877906944)::int as most_reps,
    sessions.rpe_hundredths,
    sessions.rpe_sets,
    sessions.packed_sets
from sessions
join workouts on workouts.workout_key = sessions.workout_key
