{{
    config(
        materialized="materialized_view",
        indexes=[{"columns": ["user_key", "exercise_key", "record_type"], "unique": true}],
        source_version=version_of(["personal_record_events"]),
    )
}}
select
    records.user_key,
    records.exercise_key,
    -- What a user called an exercise of their own is free text: it's for that user (user_payloads), not for analysts.
    case when records.exercise_key <= 100000 then exercises.exercise_id else 'custom' end as exercise_id,
    case when records.exercise_key <= 100000 then exercises.exercise_name else '(custom exercise)' end as exercise_name,
    records.record_type,
    records.value,
    case records.record_type when 'reps' then 'reps' else 'kg' end as unit,
    records.weight_kg,
    records.reps,
    records.workout_key,
    records.achieved_at,
    records.achieved_on
from {{ ref("personal_record_rows") }} as records
join {{ ref("stg_exercises") }} as exercises on exercises.exercise_key = records.exercise_key
