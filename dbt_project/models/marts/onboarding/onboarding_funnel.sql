{{
    config(
        materialized="materialized_view",
        pre_hook="{{ onboarding_plan_for_all(true, groups='view') }}",
        indexes=[
            {
                "columns": ["cohort_on", "segment", "position", "segment_by", "grain", "flow", "flow_version"],
                "unique": true,
            }
        ],
        source_version=version_of(["onboarding_funnel_cells", "onboarding_errors"]),
    )
}}
-- What must hold in each row is checked where the cells are written, of those that changed. Here is what lies between
-- cohorts.
with
    cells as not materialized(select * from {{ ref("onboarding_funnel_cells") }}),

    through as (
        select flow, flow_version, max(last_event_at) as data_through
        from cells
        where segment_by = '(all)' and grain = 'week'
        group by flow, flow_version
    )

select
    cells.flow,
    cells.flow_version,
    cells.grain,
    cells.cohort_on,
    cells.segment_by,
    cells.segment,
    cells.position,
    cells.step,
    cells.is_required,
    cells.entered,
    cells.mature_entered,
    cells.reached,
    cells.completed,
    cells.skipped,
    cells.dropped,
    cells.in_progress,
    cells.mature_reached,
    cells.mature_completed,
    cells.mature_previous,
    cells.conversion_from_start,
    cells.conversion_from_start_low,
    cells.conversion_from_start_high,
    cells.conversion_from_previous,
    cells.conversion_from_previous_low,
    cells.conversion_from_previous_high,
    cells.conversion_from_start - before.conversion_from_start as conversion_from_start_change,
    cells.conversion_from_previous - before.conversion_from_previous as conversion_from_previous_change,
    cells.average_seconds,
    cells.p25_seconds,
    cells.median_seconds,
    cells.p75_seconds,
    cells.p90_seconds,
    cells.p95_seconds,
    cells.users_with_errors,
    cells.blocked,
    cells.recovered,
    errors.error_code as top_error,
    coalesce(errors.users, 0) as top_error_users,
    cells.window_seconds,
    through.data_through
from cells
join through on through.flow = cells.flow and through.flow_version = cells.flow_version
left join
    cells as before
    on before.flow = cells.flow
    and before.flow_version = cells.flow_version
    and before.grain = cells.grain
    and before.cohort_on = cells.cohort_on - case cells.grain when 'day' then 1 else 7 end
    and before.segment_by = cells.segment_by
    and before.segment = cells.segment
    and before.position = cells.position
left join
    {{ ref("onboarding_errors") }} as errors
    on errors.flow = cells.flow
    and errors.flow_version = cells.flow_version
    and errors.grain = cells.grain
    and errors.cohort_on = cells.cohort_on
    and errors.segment_by = cells.segment_by
    and errors.segment = cells.segment
    and errors.position = cells.position
    and errors.is_top
