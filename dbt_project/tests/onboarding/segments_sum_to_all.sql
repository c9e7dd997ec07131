-- Every person of a cohort is in exactly one segment of each kind.
select flow, flow_version, grain, cohort_on, position
from
    (
        select
            flow,
            flow_version,
            grain,
            cohort_on,
            position,
            segment_by,
            sum(entered) as entered,
            sum(reached) as reached,
            sum(completed) as completed,
            sum(dropped) as dropped,
            sum(in_progress) as in_progress
        from {{ ref("onboarding_funnel") }}
        group by flow, flow_version, grain, cohort_on, position, segment_by
    ) as sums
group by flow, flow_version, grain, cohort_on, position
having count(*) <> 4 or count(distinct(entered, reached, completed, dropped, in_progress)) <> 1
