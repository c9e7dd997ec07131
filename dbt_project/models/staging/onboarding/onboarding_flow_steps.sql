{{ config(materialized="table") }}
-- A table, because the planner has to know that it is small.
select
    dense_rank() over (order by flow, flow_version)::int as flow_key,
    flow,
    flow_version,
    position,
    step,
    is_required,
    window_seconds,
    position = 1 as is_first,
    is_required
    and position = max(position) filter (where is_required) over (partition by flow, flow_version) as is_last,
    (count(*) filter (where is_required) over before)::int as required_before,
    coalesce(max(position) filter (where is_required) over before, 0)::smallint as previous_required_position,
    min(position) filter (where is_required) over later as next_required_position
from {{ ref("onboarding_flows") }}
window
    before as (partition by flow, flow_version order by position rows between unbounded preceding and 1 preceding),
    later as (partition by flow, flow_version order by position rows between 1 following and unbounded following)
