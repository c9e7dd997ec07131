{{
    config(
        materialized="maintained_table",
        primary_key=["person_key", "flow", "flow_version"],
        indexes=[{"columns": ["cohort_week_on"]}, {"columns": ["matured_at"]}],
        replaces=["person_key"],
        change_kinds=["person"],
        emits=["cohort_on", "cohort_week_on"],
        pre_hook="{{ onboarding_plan_for_all(groups='sorted') }}",
    )
}}
-- depends_on: {{ ref("changes") }}
-- depends_on: {{ ref("stg_onboarding_events") }}
-- depends_on: {{ ref("onboarding_trace") }}
with
    {{ onboarding_opening(is_partial(), trace_is_enough()) }},
    flow_steps as not materialized(select * from {{ ref("onboarding_flow_steps") }}),

    steps as not materialized(
        select *
        from {{ ref("onboarding_steps") }}
        {%- if is_partial() %} where person_key in (select person_key from people) {%- endif %}
    ),

    -- Segments are those of the event that opened the journey.
    entries as (
        select distinct
            on (events.person_key, events.flow_key)
            events.person_key,
            events.flow_key,
            coalesce(events.platform, '(none)') as platform,
            coalesce(events.app_version, '(none)') as app_version,
            coalesce(events.acquisition_channel, '(none)') as acquisition_channel
        from events
        where events.position = 1
        order by events.person_key, events.flow_key, events.occurred_at, events.event_id
    ),

    walked as (
        select
            person_key,
            flow,
            flow_version,
            min(entered_at) as entered_at,
            max(position) filter (where is_required) as furthest_position,
            max(position) as last_position,
            max(last_event_at) as last_event_at,
            max(done_at) filter (where is_required) as last_done_at,
            count(done_at) filter (where is_required)::int as steps_completed,
            max(starts) filter (where position = 1) as starts,
            sum(errors)::int as errors,
            sum(skips)::int as skips,
            max({{ onboarding_stamp("last_error_at") }} || last_error_code) as last_error,
            max({{ onboarding_stamp("traced_at") }} || trace_id) as last_trace
        from steps
        group by person_key, flow, flow_version
    ),

    as_of as materialized(select {{ as_of() }} as as_of),

    -- Each has its steps; outer joins, because of the others the planner expects one row, and what joins one row it
    -- joins
    -- by nested loops: twenty thousand people who came back took four minutes.
    placed as (
        select
            walked.*,
            furthest.flow_key,
            furthest.step as furthest_step,
            last_taken.step as last_step,
            walked.entered_at + make_interval(secs => furthest.window_seconds) as matured_at,
            walked.steps_completed = total.required_steps as is_completed,
            as_of.as_of > walked.entered_at + make_interval(secs => furthest.window_seconds) as is_mature
        from walked
        left join
            flow_steps as furthest
            on furthest.flow = walked.flow
            and furthest.flow_version = walked.flow_version
            and furthest.position = walked.furthest_position
        left join
            flow_steps as last_taken
            on last_taken.flow = walked.flow
            and last_taken.flow_version = walked.flow_version
            and last_taken.position = walked.last_position
        left join
            (
                select flow_key, count(*) filter (where is_required) as required_steps from flow_steps group by flow_key
            ) as total
            on total.flow_key = furthest.flow_key
        cross join as_of
    ),

    -- What somebody who dropped did next, in whatever flow.
    after_dropping as (
        select distinct
            on (placed.person_key, placed.flow_key)
            placed.person_key,
            placed.flow_key,
            flow_steps.flow || ' / ' || flow_steps.step || ' ' || events.event_type as next_event,
            events.occurred_at as next_event_at
        from placed
        join events on events.person_key = placed.person_key and events.occurred_at > placed.last_event_at
        join flow_steps on flow_steps.flow_key = events.flow_key and flow_steps.position = events.position
        where placed.is_mature and not placed.is_completed
        order by placed.person_key, placed.flow_key, events.occurred_at, events.event_id
    )

select
    placed.person_key,
    case when placed.person_key > 0 then placed.person_key end as user_key,
    placed.flow,
    placed.flow_version,
    placed.entered_at,
    (placed.entered_at at time zone 'UTC')::date as cohort_on,
    date_trunc('week', placed.entered_at at time zone 'UTC')::date as cohort_week_on,
    entries.platform,
    entries.app_version,
    entries.acquisition_channel,
    placed.matured_at,
    placed.is_mature,
    case
        when placed.is_completed then 'completed' when placed.is_mature then 'dropped' else 'in_progress'
    end as status,
    placed.furthest_position,
    placed.furthest_step,
    placed.last_step,
    case when placed.is_completed then placed.last_done_at end as completed_at,
    case
        when placed.is_completed then extract(epoch from placed.last_done_at - placed.entered_at)::double precision
    end as total_seconds,
    greatest(placed.starts, 1) as attempts,
    placed.errors,
    placed.skips,
    {{ onboarding_stamped_text("placed.last_error") }} as last_error_code,
    {{ onboarding_stamped_at("placed.last_error") }} as last_error_at,
    placed.last_event_at,
    after_dropping.next_event,
    after_dropping.next_event_at,
    {{ onboarding_stamped_text("placed.last_trace") }} as trace_id
from placed
join entries on entries.person_key = placed.person_key and entries.flow_key = placed.flow_key
left join after_dropping on after_dropping.person_key = placed.person_key and after_dropping.flow_key = placed.flow_key
