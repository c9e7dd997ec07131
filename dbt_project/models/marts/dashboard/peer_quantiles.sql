{{
    config(
        materialized="incremental",
        incremental_strategy="append",
        full_refresh=false,
        on_schema_change="append_new_columns",
    )
}}
-- Once for each local date that dawns somewhere, from everybody's numbers as they stand then; kept for good. So a build
-- that follows one workout needn't look at anybody else, and a rebuild finds the same points again.
with
    days as (
        select distinct ({{ as_of() }} at time zone time_zone)::date as day_on
        from (select distinct time_zone from {{ ref("user_zones") }}) as zones
    ),
    new_days as materialized(
        select day_on
        from days
        {%- if is_incremental() %}
            where not exists (select from {{ this }} as known where known.day_on = days.day_on)
        {%- endif %}
    ),

    measured as (
        select new_days.day_on, profiles.goal, profiles.experience_level, measures.measure, measures.value
        from new_days
        cross join {{ source("app", "profiles") }} as profiles
        left join
            {{ ref("peer_measures") }} as measures
            on measures.user_key = profiles.user_key
            and measures.is_active
            and measures.value is not null
    ),
    groups as (
        select
            day_on,
            goal,
            experience_level,
            measure,
            count(*)::int as users,
            percentile_disc(
                array(select hundredth / 100.0::double precision from generate_series(1, 99) as hundredth)
            ) within group (order by value) as points
        from measured
        where measure is not null
        group by day_on, goal, experience_level, measure
    ),
    every_group as (
        select distinct measured.day_on, measured.goal, measured.experience_level, names.measure
        from measured
        cross join (values ('workouts'), ('sets'), ('volume_kg'), ('e1rm_trend_pct')) as names(measure)
    )

select
    every_group.day_on,
    every_group.goal,
    every_group.experience_level,
    every_group.measure,
    coalesce(groups.users, 0) as users,
    case when groups.users >= 50 then groups.points end as points
from every_group
left join
    groups
    on groups.day_on = every_group.day_on
    and groups.goal = every_group.goal
    and groups.experience_level = every_group.experience_level
    and groups.measure = every_group.measure
