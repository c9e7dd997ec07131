{{
    config(
        materialized="maintained_table",
        primary_key=["user_key", "range"],
        replaces=["user_key"],
        change_kinds=["workout", "user", "exercise", "plan", "day", "arrival", "personal_record_events"],
    )
}}
-- depends_on: {{ ref("changes") }}
{%- set ranges = {"7d": 7, "30d": 30, "90d": 90, "365d": 365, "all": none} %}
with
    people as not materialized(
        select user_key, ({{ as_of() }} at time zone time_zone)::date as today_on
        from {{ ref("user_zones") }}
        {%- if is_partial() %} where user_key in {{ changed_keys(["user_key"]) }} {%- endif %}
    ),

    days as not materialized(
        select days.*, people.today_on, people.today_on - days.local_date as age
        from {{ ref("user_days") }} as days
        join people on people.user_key = days.user_key
        where days.local_date <= people.today_on
    ),

    -- All ranges in one pass: a row per day and range would be aggregated five times.
    totals as (
        select
            user_key
            {%- for range, days in ranges.items() %}
                {%- set within = " filter (where age < " ~ days ~ ")" if days else "" %},
                sum(workouts){{ within }}::int as workouts_{{ range }},
                count(*){{ within }}::int as active_days_{{ range }},
                sum(round(training_minutes * 60)){{ within }} / 60 as training_minutes_{{ range }},
                sum(sets){{ within }}::int as sets_{{ range }},
                sum(reps){{ within }}::bigint as reps_{{ range }},
                sum(round(volume_kg * 100000000)){{ within }} / 100000000 as volume_kg_{{ range }},
                sum(round(rpe_sum * 100)){{ within }} / 100 as rpe_sum_{{ range }},
                sum(rpe_sets){{ within }} as rpe_sets_{{ range }},
                sum(record_events){{ within }}::int as record_events_{{ range }},
                min(first_workout_at){{ within }} as first_workout_at_{{ range }},
                max(last_workout_at){{ within }} as last_workout_at_{{ range }}
                {%- if days %}
                    {%- set before = " filter (where age >= " ~ days ~ " and age < " ~ 2 * days ~ ")" %},
                    coalesce(sum(workouts){{ before }}, 0)::int as previous_workouts_{{ range }},
                    coalesce(
                        sum(round(volume_kg * 100000000)){{ before }} / 100000000, 0
                    ) as previous_volume_kg_{{ range }}
                {%- endif %}
            {%- endfor %}
        from days
        group by user_key
    ),

    -- Weeks that follow each other keep the difference to their rank.
    runs as (
        select
            user_key,
            (max(week) - min(week) + 1)::int as weeks,
            max(week) >= {{ week_number("min(today_on)") }} - 1 as is_current
        from
            (
                select user_key, today_on, week, week - dense_rank() over (partition by user_key order by week) as run
                from (select *, {{ week_number("local_date") }} as week from days) as weeks
            ) as numbered
        group by user_key, run
    ),
    streaks as (
        select
            user_key,
            max(weeks) as longest_streak_weeks,
            coalesce(max(weeks) filter (where is_current), 0) as current_streak_weeks
        from runs
        group by user_key
    ),

    adherence as (
        select
            completions.user_key
            {%- for range, days in ranges.items() %}
                {%- set within = (
                    " filter (where people.today_on - completions.session_on < " ~ days ~ ")" if days else ""
                ) %},
                count(*){{ within }}::int as planned_sessions_{{ range }},
                count(completions.workout_key){{ within }}::int as completed_sessions_{{ range }}
            {%- endfor %}
        from {{ ref("planned_session_completions") }} as completions
        join people on people.user_key = completions.user_key
        where completions.session_on <= people.today_on
        group by completions.user_key
    )

select
    people.user_key,
    by_range.range,
    people.today_on,
    coalesce(by_range.workouts, 0) as workouts,
    coalesce(by_range.active_days, 0) as active_days,
    coalesce(by_range.training_minutes, 0) as training_minutes,
    coalesce(by_range.sets, 0) as sets,
    coalesce(by_range.reps, 0) as reps,
    coalesce(by_range.volume_kg, 0) as volume_kg,
    by_range.rpe_sum / nullif(by_range.rpe_sets, 0) as avg_rpe,
    coalesce(by_range.exercises, 0) as exercises,
    coalesce(by_range.record_events, 0) as record_events,
    coalesce(streaks.current_streak_weeks, 0) as current_streak_weeks,
    coalesce(streaks.longest_streak_weeks, 0) as longest_streak_weeks,
    by_range.first_workout_at,
    by_range.last_workout_at,
    by_range.previous_workouts,
    by_range.previous_volume_kg,
    100
    * (coalesce(by_range.volume_kg, 0) - by_range.previous_volume_kg)
    / nullif(by_range.previous_volume_kg, 0) as volume_change_pct,
    coalesce(by_range.sets_by_muscle, '{}') as sets_by_muscle,
    coalesce(by_range.planned_sessions, 0) as planned_sessions,
    coalesce(by_range.completed_sessions, 0) as completed_sessions,
    by_range.completed_sessions::double precision / nullif(by_range.planned_sessions, 0) as adherence,
    {{ as_of() }} as as_of
from people
left join totals on totals.user_key = people.user_key
left join streaks on streaks.user_key = people.user_key
left join {{ ref("user_range_exercises") }} as done on done.user_key = people.user_key
left join adherence on adherence.user_key = people.user_key
cross join
    lateral(
        {%- for range, days in ranges.items() %}
            {%- if not loop.first %}
                union all
            {%- endif %}
            select
                '{{ range }}' as range
                {%- for column in [
                    "workouts",
                    "active_days",
                    "training_minutes",
                    "sets",
                    "reps",
                    "volume_kg",
                    "rpe_sum",
                    "rpe_sets",
                    "record_events",
                    "first_workout_at",
                    "last_workout_at",
                ] %}, totals.{{ column }}_{{ range }} as {{ column }} {%- endfor %},
                {{ "coalesce(totals.previous_workouts_" ~ range ~ ", 0)" if days else "null" }}::int
                as previous_workouts,
                {{ "coalesce(totals.previous_volume_kg_" ~ range ~ ", 0)" if days else "null" }}::double precision
                as previous_volume_kg,
                done.exercises_{{ range }} as exercises,
                done.sets_by_muscle_{{ range }} as sets_by_muscle,
                adherence.planned_sessions_{{ range }} as planned_sessions,
                adherence.completed_sessions_{{ range }} as completed_sessions
        {%- endfor %}
    ) as by_range
