{{
    config(
        materialized="maintained_table",
        primary_key=["user_key", "local_date"],
        indexes=[{"columns": ["local_date"]}],
        replaces=["user_key"],
        change_kinds=["workout", "user", "usage"],
    )
}}
-- depends_on: {{ ref("changes") }}
with
    {%- if is_partial() %} people as materialized {{ changed_keys(["user_key"]) }}, {%- endif %}

    trained as (
        select user_key, local_date, workouts, sets, training_minutes, volume_kg, record_events
        from {{ ref("user_days") }}
        {%- if is_partial() %} where user_key in (select user_key from people) {%- endif %}
    ),

    opened as (
        select
            events.user_key,
            (events.occurred_at at time zone zones.time_zone)::date as local_date,
            count(*) filter (where events.feature = 'dashboard')::int as dashboard_opens,
            count(*) filter (where events.feature = 'records')::int as records_opens,
            count(*) filter (where events.feature = 'plan')::int as plan_opens,
            count(*) filter (where events.feature = 'workout')::int as workout_opens,
            count(*)::int as opens,
            (array_agg(events.platform order by events.occurred_at desc, events.event_id))[1] as platform,
            (array_agg(events.app_version order by events.occurred_at desc, events.event_id))[1] as app_version
        from {{ ref("stg_usage_events") }} as events
        join {{ ref("user_zones") }} as zones on zones.user_key = events.user_key
        {%- if is_partial() %} where events.user_key in (select user_key from people) {%- endif %}
        group by events.user_key, (events.occurred_at at time zone zones.time_zone)::date
    ),

    days as (
        select
            coalesce(trained.user_key, opened.user_key) as user_key,
            coalesce(trained.local_date, opened.local_date) as local_date,
            date_trunc('week', coalesce(trained.local_date, opened.local_date))::date as week_on,
            coalesce(trained.workouts, 0) as workouts,
            coalesce(trained.sets, 0) as sets,
            coalesce(trained.training_minutes, 0) as training_minutes,
            coalesce(trained.volume_kg, 0) as volume_kg,
            coalesce(trained.record_events, 0) as record_events,
            coalesce(opened.dashboard_opens, 0) as dashboard_opens,
            coalesce(opened.records_opens, 0) as records_opens,
            coalesce(opened.plan_opens, 0) as plan_opens,
            coalesce(opened.workout_opens, 0) as workout_opens,
            coalesce(opened.opens, 0) as opens,
            coalesce(opened.platform, '(none)') as platform,
            coalesce(opened.app_version, '(none)') as app_version
        from trained
        full join opened on opened.user_key = trained.user_key and opened.local_date = trained.local_date
    )

-- The next day of each kind says how long somebody stayed away, and lets kpi_daily count users of every window without
-- sorting everybody's days.
select
    *,
    min(local_date) over later as next_active_on,
    min(local_date) filter (where workouts > 0) over later as next_workout_on,
    min(local_date) filter (where dashboard_opens > 0) over later as next_dashboard_on,
    min(local_date) filter (where records_opens > 0) over later as next_records_on
from days
window later as (partition by user_key order by local_date desc rows between unbounded preceding and 1 preceding)
