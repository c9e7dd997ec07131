-- Products are rounded to 1e-8 kg (a pound is a whole number of these), so that equal values are equal and sums don't
-- depend on the order of rows: sums of whole numbers below 2^53, here 90,000 tonnes, are exact in double precision.
select
    workout_key,
    position,
    exercise_key,
    set_type <> 'warmup' as is_working,
    weight_kg,
    coalesce(reps, 0) as reps,
    round(weight_kg * reps * 100000000) as volume_e8,
    case
        when reps = 1
        then round(weight_kg * 100000000)
        when reps between 2 and 12
        then round(round(weight_kg * 100000000) * (30 + reps) / 30)
    end as e1rm_e8,
    rpe
from {{ source("app", "workout_sets") }}
where reps > 0 or duration_seconds > 0 or distance_m > 0
