{{
    config(
        materialized="maintained_table",
        primary_key=["user_key", "range"],
        replaces=["user_key"],
        rebuild_share=0.5,
        change_kinds=["workout", "user", "exercise", "plan", "day", "arrival", "personal_record_events"],
    )
}}
-- depends_on: {{ ref("changes") }}
{%- set ranges = {"7d": 7, "30d": 30, "90d": 90, "365d": 365, "all": none} %}
{%- set previous_spans = {"7d": 1, "30d": 3, "90d": 5, "365d": 7, "all": 9} %}
with
    people as materialized(
        select user_key, ({{ as_of() }} at time zone time_zone)::date as today_on
        from {{ ref("user_zones") }}
        {%- if is_partial() %} where user_key in {{ changed_keys(["user_key"]) }} {%- endif %}
    ),

    -- Ages fall into spans: below 7 days (0), the 7 before (1), up to 30 (2), up to 60 (3) and so on. A range holds the
    -- spans below `previous_span`, which is the period before it.
    days as not materialized(
        select
            days.*,
            people.today_on,
            width_bucket(people.today_on - days.local_date, array[7, 14, 30, 60, 90, 180, 365, 730]) as span
        from {{ ref("user_days") }} as days
        join people on people.user_key = days.user_key
        where days.local_date <= people.today_on
    ),
    spans as (
        select
            user_key,
            span,
            sum(workouts)::int as workouts,
            count(*)::int as active_days,
            sum(round(training_minutes * 60)) as training_seconds,
            sum(sets)::int as sets,
            sum(reps::double precision) as reps,
            sum(round(volume_kg * 100000000)) as volume_e8,
            sum(round(rpe_sum * 100)) as rpe_hundredths,
            sum(rpe_sets)::int as rpe_sets,
            sum(record_events)::int as record_events,
            min(first_workout_at) as first_workout_at,
            max(last_workout_at) as last_workout_at
        from days
        group by user_key, span
    ),
    totals as (
        select
            user_key,
            previous_span
            {%- for column in [
                "workouts",
                "active_days",
                "training_seconds",
                "sets",
                "reps",
                "volume_e8",
                "rpe_hundredths",
                "rpe_sets",
                "record_events",
            ] %}, sum({{ column }}) filter (where span < previous_span) as {{ column }} {%- endfor %},
            min(first_workout_at) filter (where span < previous_span) as first_workout_at,
            max(last_workout_at) filter (where span < previous_span) as last_workout_at,
            sum(workouts) filter (where span = previous_span) as previous_workouts,
            sum(volume_e8) filter (where span = previous_span) as previous_volume_e8
        from spans
        join
            (
                values
                    {% for span in previous_spans.values() %}
                        ({{ span }}){% if not loop.last %}, {% endif %}
                    {% endfor %}
            ) as ranges(previous_span)
            on span <= previous_span
        group by user_key, previous_span
    ),

    -- Weeks that follow each other keep the difference to their number.
    runs as (
        select
            user_key,
            (max(week) - min(week) + 1)::int as weeks,
            max(week) >= {{ week_number("min(today_on)") }} - 1 as is_current
        from
            (
                select user_key, today_on, week, week - row_number() over (partition by user_key order by week) as run
                from (select distinct user_key, today_on, {{ week_number("local_date") }} as week from days) as weeks
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
            completions.user_key,
            ranges.range,
            count(*)::int as planned_sessions,
            count(completions.workout_key)::int as completed_sessions
        from {{ ref("planned_session_completions") }} as completions
        join people on people.user_key = completions.user_key
        join
            (
                values
                    {%- for range, days in ranges.items() %}
                        ('{{ range }}', {{ days or "null::int" }}) {%- if not loop.last %}, {% endif %}
                    {%- endfor %}
            ) as ranges(range, days)
            on people.today_on - completions.session_on < ranges.days
            or ranges.days is null
        where completions.session_on <= people.today_on
        group by completions.user_key, ranges.range
    )

select
    people.user_key,
    ranges.range,
    people.today_on,
    coalesce(totals.workouts, 0)::int as workouts,
    coalesce(totals.active_days, 0)::int as active_days,
    coalesce(totals.training_seconds, 0) / 60 as training_minutes,
    coalesce(totals.sets, 0)::int as sets,
    coalesce(totals.reps, 0)::bigint as reps,
    coalesce(totals.volume_e8, 0) / 100000000 as volume_kg,
    totals.rpe_hundredths / 100 / nullif(totals.rpe_sets, 0) as avg_rpe,
    coalesce(totals.record_events, 0)::int as record_events,
    coalesce(streaks.current_streak_weeks, 0) as current_streak_weeks,
    coalesce(streaks.longest_streak_weeks, 0) as longest_streak_weeks,
    totals.first_workout_at,
    totals.last_workout_at,
    case when ranges.range <> 'all' then coalesce(totals.previous_workouts, 0) end::int as previous_workouts,
    case when ranges.range <> 'all' then coalesce(totals.previous_volume_e8, 0) / 100000000 end as previous_volume_kg,
    100
    * (coalesce(totals.volume_e8, 0) / 100000000 - totals.previous_volume_e8 / 100000000)
    / nullif(totals.previous_volume_e8 / 100000000, 0) as volume_change_pct,
    coalesce(adherence.planned_sessions, 0) as planned_sessions,
    coalesce(adherence.completed_sessions, 0) as completed_sessions,
    adherence.completed_sessions::double precision / nullif(adherence.planned_sessions, 0) as adherence,
    {{ as_of() }} as as_of
from people
left join streaks on streaks.user_key = people.user_key
cross join
    (
        values
            {%- for range in ranges %}
                ('{{ range }}', {{ previous_spans[range] }}) {%- if not loop.last %}, {% endif %}
            {%- endfor %}
    ) as ranges(range, previous_span)
left join totals on totals.user_key = people.user_key and totals.previous_span = ranges.previous_span
left join adherence on adherence.user_key = people.user_key and adherence.range = ranges.range
