-- An app left running overnight is no six-hour workout: its duration is unknown.
select
    workouts.workout_key,
    workouts.user_key,
    workouts.started_at,
    (workouts.started_at at time zone users.time_zone)::date as local_date,
    case when workouts.duration_seconds <= 6 * 3600 then workouts.duration_seconds end as duration_seconds
from {{ source("app", "workouts") }} as workouts
join {{ source("app", "users") }} as users on users.user_key = workouts.user_key
where workouts.deleted_at is null
