{{ config(materialized="view") }}
-- A view: what was planned and what was done stand in tables, and a user's rows are an index probe away.
select
    sessions.user_key,
    sessions.plan_id,
    sessions.week,
    sessions.session,
    prescriptions.slot,
    sessions.session_on,
    prescriptions.is_deload,
    sessions.workout_key is not null as is_session_done,
    workouts.local_date - sessions.session_on as days_off,
    prescriptions.exercise_key,
    -- What a user called an exercise of their own is free text.
    case
        when prescriptions.exercise_key <= 100000 then exercises.exercise_name else '(custom exercise)'
    end as exercise_name,
    coalesce(done.sets, 0) > 0 as is_exercise_done,
    prescriptions.sets::int as planned_sets,
    coalesce(done.sets, 0) as done_sets,
    prescriptions.rep_min::int as planned_reps_min,
    prescriptions.rep_max::int as planned_reps_max,
    done.reps / nullif(done.sets, 0)::double precision as done_reps_per_set,
    prescriptions.load_kg::double precision as planned_load_kg,
    done.top_weight_kg as done_load_kg,
    100
    * (done.top_weight_kg - prescriptions.load_kg)
    / nullif(prescriptions.load_kg, 0)::double precision as load_deviation_pct
from {{ ref("planned_session_completions") }} as sessions
join
    {{ source("plans", "prescriptions") }} as prescriptions
    on prescriptions.user_key = sessions.user_key
    and prescriptions.plan_id = sessions.plan_id
    and prescriptions.week = sessions.week
    and prescriptions.session = sessions.session
join {{ ref("stg_exercises") }} as exercises on exercises.exercise_key = prescriptions.exercise_key
left join {{ ref("stg_workouts") }} as workouts on workouts.workout_key = sessions.workout_key
left join
    {{ ref("exercise_sessions") }} as done
    on done.workout_key = sessions.workout_key
    and done.exercise_key = prescriptions.exercise_key
