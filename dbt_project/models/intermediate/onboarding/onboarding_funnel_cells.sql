{{
    config(
        materialized="maintained_table",
        primary_key=["flow", "flow_version", "grain", "cohort_on", "segment_by", "segment", "position"],
        indexes=[{"columns": ["cohort_week_on"]}],
        replaces=["cohort_week_on"],
        pre_hook="{{ onboarding_plan_for_all() }}",
        change_kinds=["onboarding_journeys", "onboarding_steps"],
    )
}}
-- Percentiles don't add up, so each cohort and segment is counted from its own journeys; a week whose journeys changed, as a whole.
with
    {%- if is_partial() %}
    weeks as materialized {{ changed_keys(["cohort_week_on"]) }},
    {%- endif %}
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
                when steps.is_required then steps.position = journeys.furthest_position
                else steps.step = journeys.last_step
            end as is_furthest,
            journeys.status
        from {{ ref("onboarding_journeys") }} as journeys
        join {{ ref("onboarding_steps") }} as steps
            on steps.person_key = journeys.person_key and steps.flow = journeys.flow and steps.flow_version = journeys.flow_version
        {%- if is_partial() %}
        where journeys.cohort_week_on in (select cohort_week_on from weeks)
        {%- endif %}
    ),

    counted as (
        select
            flow,
            flow_version,
            position,
            {{ onboarding_cell_names() }},
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
            avg(seconds_from_previous) as average_seconds,
            percentile_cont(array[0.25, 0.5, 0.75, 0.9, 0.95]) within group (order by seconds_from_previous) as percentiles,
            max(last_event_at) as last_event_at
        from facts
        group by {{ onboarding_grouping_sets("flow, flow_version, position") }}
    ),

    -- A step that nobody of a cohort reached has its row of zeros.
    entered as (
        select
            counted.flow, counted.flow_version, counted.grain, counted.cohort_on, counted.cohort_week_on, counted.segment_by, counted.segment,
            flow_steps.position,
            flow_steps.step,
            flow_steps.is_required,
            flow_steps.window_seconds,
            counted.reached as entered,
            counted.mature_reached as mature_entered
        from counted
        join {{ ref("onboarding_flow_steps") }} as flow_steps
            on flow_steps.flow = counted.flow and flow_steps.flow_version = counted.flow_version
        where counted.position = 1
    )

select
    entered.flow,
    entered.flow_version,
    entered.grain,
    entered.cohort_on,
    entered.cohort_week_on,
    entered.segment_by,
    entered.segment,
    entered.position,
    entered.step,
    entered.is_required,
    entered.window_seconds,
    entered.entered,
    entered.mature_entered,
    coalesce(counted.reached, 0) as reached,
    coalesce(counted.mature_reached, 0) as mature_reached,
    coalesce(counted.completed, 0) as completed,
    coalesce(counted.mature_completed, 0) as mature_completed,
    coalesce(counted.skipped, 0) as skipped,
    coalesce(counted.dropped, 0) as dropped,
    coalesce(counted.in_progress, 0) as in_progress,
    coalesce(counted.users_with_errors, 0) as users_with_errors,
    coalesce(counted.blocked, 0) as blocked,
    coalesce(counted.recovered, 0) as recovered,
    counted.average_seconds,
    counted.percentiles[1] as p25_seconds,
    counted.percentiles[2] as median_seconds,
    counted.percentiles[3] as p75_seconds,
    counted.percentiles[4] as p90_seconds,
    counted.percentiles[5] as p95_seconds,
    counted.last_event_at
from entered
left join counted
    on counted.flow = entered.flow
    and counted.flow_version = entered.flow_version
    and counted.grain = entered.grain
    and counted.cohort_on = entered.cohort_on
    and counted.segment_by = entered.segment_by
    and counted.segment = entered.segment
    and counted.position = entered.position
