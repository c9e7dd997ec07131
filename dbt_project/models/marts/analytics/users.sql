{{ config(materialized="view") }}
-- Who they are, as far as analysts need it: bands instead of years, no ids of the app, no body, no free text.
select
    users.user_key,
    users.created_at as signed_up_at,
    (users.created_at at time zone users.time_zone)::date as signed_up_on,
    date_trunc('week', (users.created_at at time zone users.time_zone)::date)::date as cohort_week_on,
    profiles.user_key is not null as has_profile,
    profiles.goal,
    profiles.experience_level,
    profiles.days_per_week,
    profiles.session_minutes,
    profiles.place,
    profiles.sex,
    case
        when profiles.birth_year < 1950
        then 'before 1950'
        when profiles.birth_year >= 2000
        then '2000 and later'
        else (profiles.birth_year / 10 * 10)::text || '-' || (profiles.birth_year / 10 * 10 + 9)::text
    end as birth_years
from {{ source("app", "users") }} as users
left join {{ source("app", "profiles") }} as profiles on profiles.user_key = users.user_key
where users.created_at <= {{ as_of() }}
