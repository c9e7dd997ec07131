{{
    config(
        materialized="materialized_view",
        indexes=[{"columns": ["cohort_week_on", "week_number"], "unique": true}],
        source_version=analytics_version(),
        audits=[
            {
                "name": "nobody returns who was not observed",
                "sql": "select cohort_week_on, week_number from {relation} where active > observed or trained > active or trained_since < trained or observed > users",
            },
        ],
    )
}}
-- The clock is a scalar here: joined, its one row is taken for a thousand, and the plan is a hundred times slower.
-- A user's weeks count from the user's own first day, so that everybody's week has seven days; only those enter whose
-- week is over.
with
    people as (
        select
            users.user_key,
            users.signed_up_on,
            users.cohort_week_on,
            ({{ as_of() }} at time zone zones.time_zone)::date as today_on,
            (({{ as_of() }} at time zone zones.time_zone)::date - users.signed_up_on) / 7 - 1 as last_week
        from {{ ref("users") }} as users
        join {{ ref("user_zones") }} as zones on zones.user_key = users.user_key
    ),

    weeks as (
        select
            people.user_key,
            people.cohort_week_on,
            people.last_week,
            (days.local_date - people.signed_up_on) / 7 as week_number,
            bool_or(days.workouts > 0) as is_trained
        from people
        join {{ ref("user_activity_days") }} as days on days.user_key = people.user_key
        where days.local_date between people.signed_up_on and people.today_on
        group by people.user_key, people.cohort_week_on, people.last_week, (days.local_date - people.signed_up_on) / 7
    ),

    returned as (
        select cohort_week_on, week_number, count(*) as active, count(*) filter (where is_trained) as trained
        from weeks
        where week_number <= last_week
        group by cohort_week_on, week_number
    ),

    -- Few rows: how long people were observed and when they trained last.
    spans as (
        select people.cohort_week_on, people.last_week, last_trained.week_number as last_trained_week, count(*) as users
        from people
        left join
            (
                select user_key, max(week_number) as week_number from weeks where is_trained group by user_key
            ) as last_trained
            on last_trained.user_key = people.user_key
        group by people.cohort_week_on, people.last_week, last_trained.week_number
    ),

    cohorts as (
        select cohort_week_on, sum(users) as users, max(last_week) as last_week from spans group by cohort_week_on
    ),

    observed as (
        select
            cohorts.cohort_week_on,
            cohorts.users,
            week.number as week_number,
            sum(spans.users) as observed,
            coalesce(sum(spans.users) filter (where spans.last_trained_week >= week.number), 0) as trained_since
        from cohorts
        cross join lateral generate_series(0, least(cohorts.last_week, 103)) as week(number)
        join spans on spans.cohort_week_on = cohorts.cohort_week_on and spans.last_week >= week.number
        group by cohorts.cohort_week_on, cohorts.users, week.number
    )

select
    observed.cohort_week_on,
    observed.week_number,
    observed.users::bigint as users,
    observed.observed::bigint as observed,
    coalesce(returned.trained, 0) as trained,
    coalesce(returned.active, 0) as active,
    observed.trained_since::bigint as trained_since,
    coalesce(returned.trained, 0) / observed.observed::double precision as trained_share,
    coalesce(returned.active, 0) / observed.observed::double precision as active_share,
    observed.trained_since / observed.observed::double precision as trained_since_share
from observed
left join returned on returned.cohort_week_on = observed.cohort_week_on and returned.week_number = observed.week_number
