{{
    config(
        materialized="maintained_table",
        primary_key=["cohort_on", "segment", "position", "segment_by", "grain", "flow", "flow_version"],
        indexes=[{"columns": ["cohort_week_on"]}],
        replaces=["cohort_week_on"],
        pre_hook="{{ onboarding_plan_for_all(groups='cells') }}",
        change_kinds=["onboarding_day_cells"],
    )
}}
{%- set counts = [
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
with
    {%- if is_partial() %} weeks as materialized {{ changed_keys(["cohort_week_on"]) }}, {%- endif %}
    days as not materialized(
        select *
        from {{ ref("onboarding_day_cells") }}
        {%- if is_partial() %} where cohort_week_on in (select cohort_week_on from weeks) {%- endif %}
    ),

    counted as (
        select
            flow,
            flow_version,
            position,
            {{ onboarding_cell_names() }},
            {%- for count in counts %} sum({{ count }})::bigint as {{ count }}, {%- endfor %}
            sum(total_seconds) / nullif(sum(completed), 0)::double precision as average_seconds,
            max(last_event_at) as last_event_at
        from days
        group by {{ onboarding_grouping_sets("flow, flow_version, position") }}
    ),

    -- The day cells are sorted, not their times, which are many more: they come out of their arrays in groups. One
    -- cohort and segment after the other, because grouping sets would sort the times. What differs most comes first.
    timed as (
        {%- for grain in ["day", "week"] %}
            {%- set outer_last = loop.last %}
            {%- set cohort = "cohort_on" if grain == "day" else "cohort_week_on" %}
            {%- for segment_by in onboarding_segments() %}
                {%- set segment = "'(all)'::text" if segment_by == "(all)" else segment_by %}
                select
                    flow,
                    flow_version,
                    position,
                    '{{ grain }}' as grain,
                    {{ cohort }} as cohort_on,
                    '{{ segment_by }}' as segment_by,
                    segment,
                    percentile_cont(array[0.25, 0.5, 0.75, 0.9, 0.95]) within group (order by second) as percentiles
                from
                    (
                        select
                            flow,
                            flow_version,
                            position,
                            {{ cohort }},
                            {{ segment }} as segment,
                            unnest(seconds) as second
                        from days
                        order by {{ cohort }}, segment, position, flow, flow_version
                    ) as times
                group by {{ cohort }}, segment, position, flow, flow_version
                {%- if not (outer_last and loop.last) %}
                    union all
                {%- endif %}
            {%- endfor %}
        {%- endfor %}
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
            {{ counts | join(", ") }},
            average_seconds,
            null::double precision[] as percentiles,
            last_event_at
        from counted
        union all
        select
            flow,
            flow_version,
            position,
            grain,
            cohort_on,
            null,
            segment_by,
            segment,
            {% for _ in counts %} 0, {% endfor %}
            null,
            percentiles,
            null
        from timed
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
            {% for _ in counts %} 0, {% endfor %}
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
            {%- for count in counts %} sum({{ count }})::bigint as {{ count }}, {%- endfor %}
            max(average_seconds) as average_seconds,
            max(percentiles) as percentiles,
            max(last_event_at) as last_event_at
        from complete
        group by flow, flow_version, grain, cohort_on, segment_by, segment, position
    ),

    compared as (
        select
            cells.*,
            flow_steps.step,
            flow_steps.is_required,
            flow_steps.window_seconds,
            first_value(cells.reached) over cohort as entered,
            first_value(cells.mature_reached) over cohort as mature_entered,
            -- Against an optional step a rate would mean nothing: the denominator is the required step before. The last
            -- of them has the least, because in order nobody completes a step without the ones before.
            min(cells.completed) filter (where flow_steps.is_required) over before as completed_before,
            min(cells.mature_completed) filter (where flow_steps.is_required) over before as mature_completed_before,
            lead(cells.reached, 1, cells.completed) over (
                partition by
                    cells.cohort_on,
                    cells.segment,
                    cells.segment_by,
                    cells.grain,
                    cells.flow,
                    cells.flow_version,
                    flow_steps.is_required
                order by cells.position
            ) as reached_next
        from cells
        join
            {{ ref("onboarding_flow_steps") }} as flow_steps
            on flow_steps.flow = cells.flow
            and flow_steps.flow_version = cells.flow_version
            and flow_steps.position = cells.position
        window
            cohort as (
                partition by
                    cells.cohort_on, cells.segment, cells.segment_by, cells.grain, cells.flow, cells.flow_version
                order by cells.position
            ),
            before as (cohort rows between unbounded preceding and 1 preceding)
    ),

    rated as (select *, coalesce(mature_completed_before, mature_entered) as mature_previous from compared)

select
    flow,
    flow_version,
    grain,
    cohort_on,
    cohort_week_on,
    segment_by,
    segment,
    position,
    step,
    is_required,
    window_seconds,
    entered,
    mature_entered,
    reached,
    mature_reached,
    completed,
    mature_completed,
    mature_previous,
    skipped,
    dropped,
    in_progress,
    coalesce(completed_before, entered) as completed_before,
    case when is_required then reached_next end as reached_next,
    mature_completed / nullif(mature_entered, 0)::double precision as conversion_from_start,
    {{ wilson_bound("mature_completed", "mature_entered", "-") }} as conversion_from_start_low,
    {{ wilson_bound("mature_completed", "mature_entered", "+") }} as conversion_from_start_high,
    mature_completed / nullif(mature_previous, 0)::double precision as conversion_from_previous,
    {{ wilson_bound("mature_completed", "mature_previous", "-") }} as conversion_from_previous_low,
    {{ wilson_bound("mature_completed", "mature_previous", "+") }} as conversion_from_previous_high,
    users_with_errors,
    blocked,
    recovered,
    average_seconds,
    percentiles[1] as p25_seconds,
    percentiles[2] as median_seconds,
    percentiles[3] as p75_seconds,
    percentiles[4] as p90_seconds,
    percentiles[5] as p95_seconds,
    last_event_at
from rated
