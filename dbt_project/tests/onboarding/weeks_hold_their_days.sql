-- A week's people are its days' people.
select flow, flow_version, cohort_week_on, segment_by, segment, position
from {{ ref("onboarding_funnel_cells") }}
group by flow, flow_version, cohort_week_on, segment_by, segment, position
having
    sum(reached) filter (where grain = 'day') is distinct from sum(reached) filter (where grain = 'week')
    or sum(completed) filter (where grain = 'day') is distinct from sum(completed) filter (where grain = 'week')
