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
-- Percentiles don't add up, so each cohort and segment is counted from its own journeys; a week whose journeys
-- changed, as a whole.
with
    {%- if is_partial() %} weeks as materialized {{ changed_keys(["cohort_week_on"]) }}, {%- endif %}
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
        {%- if is_partial() %} where journeys.cohort_week_on in (select cohort_week_on from weeks) {%- endif %}
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
            percentile_cont(array[0.25, 0.5, 0.75, 0.9, 0.95]) within group (
                order by seconds_from_previous
            ) as percentiles,
            max(last_event_at) as last_event_at
        from facts
        group by {{ onboarding_grouping_sets("flow, flow_version, position") }}
    ),

    -- A step that nobody of a cohort reached has its row of zeros. Added up instead of joined: seven columns look
    -- unique to the planner.
    complete as (
        select
            flow,
            flow_version,
            position,
            grain,
            cohort_on,
            cohort_week_on,
            segment_by,
            segment,
            reached,
            mature_reached,
            completed,
            mature_completed,
            skipped,
            dropped,
            in_progress,
            users_with_errors,
            blocked,
            recovered,
            average_seconds,
            percentiles,
            last_event_at
        from counted
        union all
        select
            counted.flow,
            counted.flow_version,
            flow_steps.position,
            counted.grain,
            counted.cohort_on,
            counted.cohort_week_on,
            counted.segment_by,
            counted.segment,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            null,
            null,
            null
        from counted
        join
            {{ ref("onboarding_flow_steps") }} as flow_steps
            on flow_steps.flow = counted.flow
            and flow_steps.flow_version = counted.flow_version
        where counted.position = 1
    ),

    cells as (
        select
            flow,
            flow_version,
            grain,
            cohort_on,
            max(cohort_week_on) as cohort_week_on,
            segment_by,
            segment,
            position,
            {%- for count in [
                "reached",
                "mature_reached",
                "completed",
                "mature_completed",
                "skipped",
                "dropped",
                "in_progress",
                "users_with_errors",
                "blocked",
                "recovered",
            ] %}
                sum({{ count }})::bigint as {{ count }},
            {%- endfor %}
            max(average_seconds) as average_seconds,
            max(percentiles) as percentiles,
            max(last_event_at) as last_event_at
        from complete
        group by flow, flow_version, grain, cohort_on, segment_by, segment, position
    )

select
    cells.flow,
    cells.flow_version,
    cells.grain,
    cells.cohort_on,
    cells.cohort_week_on,
    cells.segment_by,
    cells.segment,
    cells.position,
    flow_steps.step,
    flow_steps.is_required,
    flow_steps.window_seconds,
    first_value(cells.reached) over cohort as entered,
    first_value(cells.mature_reached) over cohort as mature_entered,
    cells.reached,
    cells.mature_reached,
    cells.completed,
    cells.mature_completed,
    cells.skipped,
    cells.dropped,
    cells.in_progress,
    cells.users_with_errors,
    cells.blocked,
    cells.recovered,
    cells.average_seconds,
    cells.percentiles[1] as p25_seconds,
    cells.percentiles[2] as median_seconds,
    cells.percentiles[3] as p75_seconds,
    cells.percentiles[4] as p90_seconds,
    cells.percentiles[5] as p95_seconds,
    cells.last_event_at
from cells
join
    {{ ref("onboarding_flow_steps") }} as flow_steps
    on flow_steps.flow = cells.flow
    and flow_steps.flow_version = cells.flow_version
    and flow_steps.position = cells.position
window
    cohort as (
        partition by cells.flow, cells.flow_version, cells.grain, cells.cohort_on, cells.segment_by, cells.segment
        order by cells.position
    )
