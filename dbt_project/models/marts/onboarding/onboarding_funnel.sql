{{
    config(
        materialized="materialized_view",
        pre_hook="set local enable_nestloop = off; set local enable_mergejoin= off",
        indexes=[
            {
                "columns": ["flow", "flow_version", "grain", "cohort_on", "segment_by", "segment", "position"],
                "unique": true,
            }
        ],
        source_version=version_of(["onboarding_funnel_cells", "onboarding_error_cells"]),
        audits=[
            {
                "name": "reached is next, dropped or in progress",
                "sql": "select flow, grain, cohort_on, segment, position from (select *, lead(reached, 1, completed) over (partition by flow, flow_version, grain, cohort_on, segment_by, segment order by position) as next from {relation} where is_required) steps where reached <> next + dropped + in_progress",
            },
            {
                "name": "required counts never rise",
                "sql": "select flow, grain, cohort_on, segment, position from (select *, lag(completed) over (partition by flow, flow_version, grain, cohort_on, segment_by, segment order by position) as before from {relation} where is_required) steps where completed > reached or reached > coalesce(before, entered)",
            },
            {
                "name": "times lie in the window",
                "sql": "select flow, cohort_on, segment, position from {relation} where p25_seconds < 0 or p95_seconds > window_seconds",
            },
        ],
    )
}}
with
    cells as (select * from {{ ref("onboarding_funnel_cells") }}),

    top_errors as (
        select distinct
            on (flow, flow_version, grain, cohort_on, segment_by, segment, position)
            flow,
            flow_version,
            grain,
            cohort_on,
            segment_by,
            segment,
            position,
            error_code as top_error,
            users as top_error_users
        from {{ ref("onboarding_error_cells") }}
        order by
            flow, flow_version, grain, cohort_on, segment_by, segment, position, users desc, blocked desc, error_code
    ),

    -- Against an optional step a rate would mean nothing: the denominator is the required step before.
    -- The last of them has the least, because in order nobody completes a step without the ones before.
    based as (
        select
            *,
            coalesce(
                min(mature_completed) filter (where is_required) over (
                    partition by flow, flow_version, grain, cohort_on, segment_by, segment
                    order by position
                    rows between unbounded preceding and 1 preceding
                ),
                mature_entered
            ) as mature_previous
        from cells
    ),

    rated as (
        select
            *,
            mature_completed / nullif(mature_entered, 0)::double precision as conversion_from_start,
            mature_completed / nullif(mature_previous, 0)::double precision as conversion_from_previous
        from based
    ),

    -- The cohort of the period before, where there was one. A window, because a join of all cells with themselves on
    -- seven columns is
    -- estimated at one row and then done by nested loops.
    compared as (
        select
            *,
            case when is_next then lag(conversion_from_start) over cohorts end as conversion_from_start_before,
            case when is_next then lag(conversion_from_previous) over cohorts end as conversion_from_previous_before
        from
            (
                select *, lag(cohort_on) over cohorts = cohort_on - case grain when 'day' then 1 else 7 end as is_next
                from rated
                window
                    cohorts as (
                        partition by flow, flow_version, grain, segment_by, segment, position order by cohort_on
                    )
            ) as neighbours
        window cohorts as (partition by flow, flow_version, grain, segment_by, segment, position order by cohort_on)
    )

select
    rated.flow,
    rated.flow_version,
    rated.grain,
    rated.cohort_on,
    rated.segment_by,
    rated.segment,
    rated.position,
    rated.step,
    rated.is_required,
    rated.entered,
    rated.mature_entered,
    rated.reached,
    rated.completed,
    rated.skipped,
    rated.dropped,
    rated.in_progress,
    rated.mature_reached,
    rated.mature_completed,
    rated.mature_previous,
    rated.conversion_from_start,
    {{ wilson_bound("rated.mature_completed", "rated.mature_entered", "-") }} as conversion_from_start_low,
    {{ wilson_bound("rated.mature_completed", "rated.mature_entered", "+") }} as conversion_from_start_high,
    rated.conversion_from_previous,
    {{ wilson_bound("rated.mature_completed", "rated.mature_previous", "-") }} as conversion_from_previous_low,
    {{ wilson_bound("rated.mature_completed", "rated.mature_previous", "+") }} as conversion_from_previous_high,
    rated.conversion_from_start - rated.conversion_from_start_before as conversion_from_start_change,
    rated.conversion_from_previous - rated.conversion_from_previous_before as conversion_from_previous_change,
    rated.average_seconds,
    rated.p25_seconds,
    rated.median_seconds,
    rated.p75_seconds,
    rated.p90_seconds,
    rated.p95_seconds,
    rated.users_with_errors,
    rated.blocked,
    rated.recovered,
    top_errors.top_error,
    coalesce(top_errors.top_error_users, 0) as top_error_users,
    rated.window_seconds,
    max(rated.last_event_at) over (partition by rated.flow, rated.flow_version) as data_through
from compared as rated
left join
    top_errors
    on top_errors.flow = rated.flow
    and top_errors.flow_version = rated.flow_version
    and top_errors.grain = rated.grain
    and top_errors.cohort_on = rated.cohort_on
    and top_errors.segment_by = rated.segment_by
    and top_errors.segment = rated.segment
    and top_errors.position = rated.position
