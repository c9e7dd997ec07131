-- Weights are rounded to 1e-8 kg (a pound is a whole number of these), so that equal values are equal and sums don't
-- depend on the order of rows: sums of whole numbers below 2^53, here 90,000 tonnes, are exact in double precision.
select
    workout_key,
    position,
    exercise_key,
    set_type <> 'warmup' as is_working,
    round(weight_kg * 100000000) as weight_e8,
    coalesce(reps, 0)::double precision as reps,
    round(rpe * 100)::int as rpe_hundredths
from {{ source("app", "workout_sets") }}
where reps > 0 or duration_seconds > 0 or distance_m > 0
