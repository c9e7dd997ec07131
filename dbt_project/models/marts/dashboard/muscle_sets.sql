{{
    config(
        materialized="maintained_table",
        primary_key=["user_key", "muscle"],
        replaces=["user_key"],
        rebuild_share=0.5,
        change_kinds=["workout", "user", "exercise", "plan", "day", "arrival"],
    )
}}
-- depends_on: {{ ref("changes") }}
with
    people as materialized(
        select
            user_key,
            ({{ as_of() }} at time zone time_zone)::date as today_on,
            {{ week_of("(" ~ as_of() ~ " at time zone time_zone)::date") }} as monday_on
        from {{ ref("user_zones") }}
        {%- if is_partial() %} where user_key in {{ changed_keys(["user_key"]) }} {%- endif %}
    ),

    done as (
        select
            sessions.user_key,
            sessions.exercise_key,
            0 as planned_sets_week,
            coalesce(sum(sessions.sets) filter (where sessions.local_date >= people.monday_on), 0) as done_sets_week,
            0 as planned_sets_28d,
            sum(sessions.sets) as done_sets_28d
        from people
        join {{ ref("exercise_sessions") }} as sessions on sessions.user_key = people.user_key
        where
            sessions.sets > 0 and sessions.local_date between people.today_on - 27 and people.today_on
            {%- if is_partial() %} and sessions.started_at >= {{ earliest_start("people.today_on - 27") }} {%- endif %}
        group by sessions.user_key, sessions.exercise_key
    ),

    -- Of the plan that was (or is) current on each date, as in plans.planned_sessions; but that view finds out for
    -- everybody, and unnests every slot of every week.
    plans as (
        select
            people.user_key,
            people.today_on,
            people.monday_on,
            plans.starts_on,
            plans.session_day,
            plans.session_slots,
            plans.exercise_key,
            plans.sets,
            plans.planned_on as current_from,
            newer.planned_on as current_until
        from people
        join
            {{ source("plans", "plans") }} as plans
            on plans.user_key = people.user_key
            and plans.starts_on between people.today_on - 54 and people.monday_on + 6
        left join
            lateral(
                select newer.planned_on
                from {{ source("plans", "plans") }} as newer
                where newer.user_key = plans.user_key and newer.as_of > plans.as_of
                order by newer.as_of
                limit 1
            ) as newer
            on true
    ),
    planned_sessions as (
        select
            plans.*,
            week.number as week,
            session.slots,
            session.last_slot,
            plans.starts_on + 7 * (week.number - 1) + session.day as session_on
        from plans
        cross join
            lateral(
                select day, slots, sum(slots) over (order by number)::int as last_slot
                from unnest(plans.session_day, plans.session_slots)
                with ordinality as one(day, slots, number)
            ) as session
        cross join generate_series(1, 4) as week(number)
    ),
    planned as (
        select
            sessions.user_key,
            sessions.exercise_key[slot.number] as exercise_key,
            coalesce(
                sum(sessions.sets[slot.number][sessions.week]) filter (where sessions.session_on >= sessions.monday_on),
                0
            ) as planned_sets_week,
            0 as done_sets_week,
            coalesce(
                sum(sessions.sets[slot.number][sessions.week]) filter (where sessions.session_on <= sessions.today_on),
                0
            ) as planned_sets_28d,
            0 as done_sets_28d
        from planned_sessions as sessions
        cross join lateral generate_series(sessions.last_slot - sessions.slots + 1, sessions.last_slot) as slot(number)
        where
            sessions.session_on between sessions.today_on - 27 and sessions.monday_on + 6
            and sessions.session_on >= sessions.current_from
            and (sessions.current_until is null or sessions.session_on < sessions.current_until)
        group by sessions.user_key, sessions.exercise_key[slot.number]
    ),

    exercise_muscles as materialized(
        select exercise_key, unnest(primary_muscles) as muscle, 1.0::double precision as share
        from {{ ref("stg_exercises") }}
        union all
        select exercises.exercise_key, secondary.muscle, 0.5
        from {{ ref("stg_exercises") }} as exercises
        cross join unnest(exercises.secondary_muscles) as secondary(muscle)
        where secondary.muscle <> all(exercises.primary_muscles)
    )

select
    sets.user_key,
    exercise_muscles.muscle,
    sum(sets.planned_sets_week * exercise_muscles.share) as planned_sets_week,
    sum(sets.done_sets_week * exercise_muscles.share) as done_sets_week,
    sum(sets.planned_sets_28d * exercise_muscles.share) as planned_sets_28d,
    sum(sets.done_sets_28d * exercise_muscles.share) as done_sets_28d
from
    (
        select *
        from done
        union all
        select *
        from planned
    ) as sets
join exercise_muscles on exercise_muscles.exercise_key = sets.exercise_key
group by sets.user_key, exercise_muscles.muscle
