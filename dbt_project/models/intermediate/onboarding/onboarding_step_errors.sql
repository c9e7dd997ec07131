{{
    config(
        materialized="maintained_table",
        primary_key=["person_key", "flow", "flow_version", "position", "error_code"],
        indexes=[{"columns": ["cohort_week_on"]}],
        replaces=["person_key"],
        change_kinds=["person"],
        emits=["cohort_on", "cohort_week_on"],
        pre_hook="{{ onboarding_plan_for_all() }}",
    )
}}
-- depends_on: {{ ref("changes") }}
-- depends_on: {{ ref("stg_onboarding_events") }}
-- depends_on: {{ ref("onboarding_trace") }}
-- Errors in order: from the step being reached on, inside the window, for an optional step not after the next
-- required one.
with
    {{ onboarding_opening(is_partial(), trace_is_enough()) }},

    errors as (
        select person_key, flow_key, position, occurred_at, coalesce(error_code, '(none)') as error_code
        from events
        where event_type = 'error'
    )

select
    steps.person_key,
    steps.flow,
    steps.flow_version,
    steps.position,
    errors.error_code,
    steps.cohort_on,
    steps.cohort_week_on,
    count(*)::int as hits,
    min(errors.occurred_at) as first_at,
    bool_or(steps.outcome = 'blocked') as is_blocked,
    bool_or(steps.done_at is not null) as is_done,
    coalesce(min(steps.done_at) >= min(errors.occurred_at), false) as is_recovered,
    case
        when min(steps.done_at) >= min(errors.occurred_at)
        then extract(epoch from min(steps.done_at) - min(errors.occurred_at))::double precision
    end as seconds_to_recover
from errors
join
    {{ ref("onboarding_flow_steps") }} as flow_steps
    on flow_steps.flow_key = errors.flow_key
    and flow_steps.position = errors.position
join
    {{ ref("onboarding_steps") }} as steps
    on steps.person_key = errors.person_key
    and steps.flow = flow_steps.flow
    and steps.flow_version = flow_steps.flow_version
    and steps.position = errors.position
where errors.occurred_at between steps.reached_at and steps.last_event_at
group by
    steps.person_key,
    steps.flow,
    steps.flow_version,
    steps.position,
    errors.error_code,
    steps.cohort_on,
    steps.cohort_week_on
