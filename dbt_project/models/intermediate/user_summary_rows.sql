{{
    config(
        materialized="maintained_table",
        primary_key=["user_key", "range"],
        replaces=["user_key"],
        change_kinds=["workout", "user", "exercise", "plan", "day", "arrival", "personal_record_events"],
    )
}}
-- depends_on: {{ ref("changes") }}
with
    people as (
        select user_key, ({{ as_of() }} at time zone time_zone)::date as today_on
        from {{ ref("user_zones") }}
        {%- if is_partial() %} where user_key in {{ changed_keys(["user_key"]) }} {%- endif %}
    ),

    ranges(range, days) as (values ('7d', 7), ('30d', 30), ('90d', 90), ('365d', 365), ('all', 1000000)),

    days as (
        select days.*, people.today_on, people.today_on - days.local_date as age
        from {{ ref("user_days") }} as days
        join people on people.user_key = days.user_key
        where days.local_date <= people.today_on
    ),

    totals as (
        select
            days.user_key,
            ranges.range,
            sum(days.workouts) filter (where days.age < ranges.days)::int as workouts,
            count(*) filter (where days.age < ranges.days)::int as active_days,
            sum(round(days.training_minutes * 60)) filter (where days.age < ranges.days) / 60 as training_minutes,
            sum(days.sets) filter (where days.age < ranges.days)::int as sets,
            sum(days.reps) filter (where days.age < ranges.days)::bigint as reps,
            sum(round(days.volume_kg * 100000000)) filter (where days.age < ranges.days) / 100000000 as volume_kg,
            sum(round(days.rpe_sum * 100)) filter (where days.age < ranges.days) / 100 as rpe_sum,
            sum(days.rpe_sets) filter (where days.age < ranges.days) as rpe_sets,
            sum(days.record_events) filter (where days.age < ranges.days)::int as record_events,
            min(days.first_workout_at) filter (where days.age < ranges.days) as first_workout_at,
            max(days.last_workout_at) filter (where days.age < ranges.days) as last_workout_at,
            sum(days.workouts) filter (where days.age >= ranges.days)::int as previous_workouts,
            sum(round(days.volume_kg * 100000000)) filter (where days.age >= ranges.days)
            / 100000000 as previous_volume_kg
        from days
        join ranges on days.age < 2 * ranges.days
        group by days.user_key, ranges.range
    ),

    -- Weeks are numbered from a Monday; a run of consecutive weeks keeps the difference to its row number.
    weeks as (
        select
            user_key, (local_date - date '2001-01-01') / 7 as week, (min(today_on) - date '2001-01-01') / 7 as this_week
        from days
        group by user_key, (local_date - date '2001-01-01') / 7
    ),
    runs as (
        select user_key, count(*)::int as weeks, max(week) as last_week, min(this_week) as this_week
        from (select *, week - row_number() over (partition by user_key order by week) as run from weeks) as numbered
        group by user_key, run
    ),
    streaks as (
        select
            user_key,
            max(weeks) as longest_streak_weeks,
            coalesce(max(weeks) filter (where last_week >= this_week - 1), 0) as current_streak_weeks
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
        join ranges on people.today_on - completions.session_on < ranges.days
        where completions.session_on <= people.today_on
        group by completions.user_key, ranges.range
    ),

    -- As json, which is appended to, and made jsonb once at the end: a third of jsonb_object_agg's time. Per exercise
    -- first, so that the muscles multiply few rows.
    exercises as (
        select
            sessions.user_key,
            sessions.exercise_key,
            sum(sessions.sets) filter (where people.today_on - sessions.local_date < 7) as sets_7d,
            sum(sessions.sets) filter (where people.today_on - sessions.local_date < 30) as sets_30d,
            sum(sessions.sets) filter (where people.today_on - sessions.local_date < 90) as sets_90d,
            sum(sessions.sets) filter (where people.today_on - sessions.local_date < 365) as sets_365d,
            sum(sessions.sets) as sets_all
        from {{ ref("exercise_sessions") }} as sessions
        join people on people.user_key = sessions.user_key
        where sessions.sets > 0 and sessions.local_date <= people.today_on
        group by sessions.user_key, sessions.exercise_key
    ),
    exercise_counts as (
        select
            user_key,
            count(sets_7d)::int as exercises_7d,
            count(sets_30d)::int as exercises_30d,
            count(sets_90d)::int as exercises_90d,
            count(sets_365d)::int as exercises_365d,
            count(sets_all)::int as exercises_all
        from exercises
        group by user_key
    ),
    exercise_muscles as materialized(
        select exercise_key, unnest(primary_muscles) as muscle, 1.0::double precision as share
        from {{ ref("stg_exercises") }}
        union all
        select exercises.exercise_key, secondary.muscle, 0.5
        from {{ ref("stg_exercises") }} as exercises
        cross join unnest(exercises.secondary_muscles) as secondary(muscle)
        where secondary.muscle <> all(exercises.primary_muscles)
    ),
    muscles as (
        select
            exercises.user_key,
            exercise_muscles.muscle,
            sum(exercises.sets_7d * exercise_muscles.share) as sets_7d,
            sum(exercises.sets_30d * exercise_muscles.share) as sets_30d,
            sum(exercises.sets_90d * exercise_muscles.share) as sets_90d,
            sum(exercises.sets_365d * exercise_muscles.share) as sets_365d,
            sum(exercises.sets_all * exercise_muscles.share) as sets_all
        from exercises
        join exercise_muscles on exercise_muscles.exercise_key = exercises.exercise_key
        group by exercises.user_key, exercise_muscles.muscle
    ),
    muscle_objects as (
        select
            user_key,
            json_object_agg(muscle, sets_7d) filter (where sets_7d is not null) as muscles_7d,
            json_object_agg(muscle, sets_30d) filter (where sets_30d is not null) as muscles_30d,
            json_object_agg(muscle, sets_90d) filter (where sets_90d is not null) as muscles_90d,
            json_object_agg(muscle, sets_365d) filter (where sets_365d is not null) as muscles_365d,
            json_object_agg(muscle, sets_all) as muscles_all
        from (select * from muscles order by user_key) as muscles
        group by user_key
    )

select
    people.user_key,
    ranges.range,
    people.today_on,
    coalesce(totals.workouts, 0) as workouts,
    coalesce(totals.active_days, 0) as active_days,
    coalesce(totals.training_minutes, 0) as training_minutes,
    coalesce(totals.sets, 0) as sets,
    coalesce(totals.reps, 0) as reps,
    coalesce(totals.volume_kg, 0) as volume_kg,
    totals.rpe_sum / nullif(totals.rpe_sets, 0) as avg_rpe,
    coalesce(
        case
            ranges.range
            when '7d'
            then exercise_counts.exercises_7d
            when '30d'
            then exercise_counts.exercises_30d
            when '90d'
            then exercise_counts.exercises_90d
            when '365d'
            then exercise_counts.exercises_365d
            else exercise_counts.exercises_all
        end,
        0
    ) as exercises,
    coalesce(totals.record_events, 0) as record_events,
    coalesce(streaks.current_streak_weeks, 0) as current_streak_weeks,
    coalesce(streaks.longest_streak_weeks, 0) as longest_streak_weeks,
    totals.first_workout_at,
    totals.last_workout_at,
    case when ranges.range <> 'all' then coalesce(totals.previous_workouts, 0) end as previous_workouts,
    case when ranges.range <> 'all' then coalesce(totals.previous_volume_kg, 0) end as previous_volume_kg,
    case
        when ranges.range <> 'all'
        then 100 * (coalesce(totals.volume_kg, 0) - totals.previous_volume_kg) / nullif(totals.previous_volume_kg, 0)
    end as volume_change_pct,
    coalesce(
        case
            ranges.range
            when '7d'
            then muscle_objects.muscles_7d
            when '30d'
            then muscle_objects.muscles_30d
            when '90d'
            then muscle_objects.muscles_90d
            when '365d'
            then muscle_objects.muscles_365d
            else muscle_objects.muscles_all
        end::jsonb,
        '{}'
    ) as sets_by_muscle,
    coalesce(adherence.planned_sessions, 0) as planned_sessions,
    coalesce(adherence.completed_sessions, 0) as completed_sessions,
    adherence.completed_sessions::double precision / adherence.planned_sessions as adherence,
    {{ as_of() }} as as_of
from people
cross join ranges
left join totals on totals.user_key = people.user_key and totals.range = ranges.range
left join adherence on adherence.user_key = people.user_key and adherence.range = ranges.range
left join streaks on streaks.user_key = people.user_key
left join exercise_counts on exercise_counts.user_key = people.user_key
left join muscle_objects on muscle_objects.user_key = people.user_key
