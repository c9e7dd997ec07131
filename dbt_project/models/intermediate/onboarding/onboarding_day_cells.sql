{{
    config(
        materialized="maintained_table",
        primary_key=[
            "cohort_on",
            "flow",
            "flow_version",
            "position",
            "platform",
            "app_version",
            "acquisition_channel",
        ],
        indexes=[{"columns": ["cohort_week_on"]}],
        replaces=["cohort_on"],
        rebuild_share=0.5,
        pre_hook="{{ onboarding_plan_for_all(groups='hashed') }}",
        change_kinds=["onboarding_journeys", "onboarding_steps"],
        emits=["cohort_week_on"],
    )
}}
-- The finest grain: every coarser cohort and segment is added up from here. Percentiles don't add up, so the times
-- are kept themselves.
with
    {%- if is_partial() %} days as materialized {{ changed_keys(["cohort_on"]) }}, {%- endif %}
    facts as (
        select
            steps.flow,
            steps.flow_version,
            steps.position,
            journeys.cohort_on,
            journeys.cohort_week_on,
            journeys.platform,
            journeys.app_version,
            journeys.acquisition_channel,
            journeys.is_mature,
            steps.outcome,
            steps.done_at is not null as is_done,
            steps.errors > 0 as has_errors,
            steps.is_recovered,
            steps.seconds_from_previous,
            steps.last_event_at,
            case
                when steps.is_required
                then steps.position = journeys.furthest_position
                else steps.step = journeys.last_step
            end as is_furthest,
            journeys.status
        from {{ ref("onboarding_journeys") }} as journeys
        join
            {{ ref("onboarding_steps") }} as steps
            on steps.person_key = journeys.person_key
            and steps.flow = journeys.flow
            and steps.flow_version = journeys.flow_version
        {%- if is_partial() %} where journeys.cohort_on in (select cohort_on from days) {%- endif %}
    )

select
    flow,
    flow_version,
    position,
    cohort_on,
    cohort_week_on,
    platform,
    app_version,
    acquisition_channel,
    count(*) as reached,
    count(*) filter (where is_mature) as mature_reached,
    count(*) filter (where is_done) as completed,
    count(*) filter (where is_done and is_mature) as mature_completed,
    count(*) filter (where outcome = 'skipped') as skipped,
    count(*) filter (where is_furthest and status = 'dropped') as dropped,
    count(*) filter (where is_furthest and status = 'in_progress') as in_progress,
    count(*) filter (where has_errors) as users_with_errors,
    count(*) filter (where outcome = 'blocked') as blocked,
    count(*) filter (where is_recovered) as recovered,
    sum(seconds_from_previous) as total_seconds,
    max(last_event_at) as last_event_at,
    coalesce(array_agg(seconds_from_previous) filter (where is_done), '{}') as seconds
from facts
group by flow, flow_version, position, cohort_on, cohort_week_on, platform, app_version, acquisition_channel
