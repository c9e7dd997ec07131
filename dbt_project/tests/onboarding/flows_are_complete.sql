-- Positions from 1 without gaps, a required first and last step, each name once, one window: what journeys take for
-- granted.
select flow, flow_version
from {{ ref("onboarding_flows") }}
group by flow, flow_version
having
    min(position) <> 1
    or max(position) <> count(*)
    or count(distinct position) <> count(*)
    or count(distinct step) <> count(*)
    or count(distinct window_seconds) <> 1
    or not bool_and(is_required) filter (where position = 1)
    or max(position) filter (where is_required) <> max(position)
