-- As many people entered, completed, dropped and are in progress as there are journeys of that status.
with
    journeys as (
        select
            flow,
            flow_version,
            count(*) as entered,
            count(*) filter (where status = 'dropped') as dropped,
            count(*) filter (where status = 'in_progress') as in_progress
        from {{ ref("onboarding_journeys") }}
        group by flow, flow_version
    ),
    funnel as (
        select
            flow,
            flow_version,
            grain,
            sum(entered) filter (where position = 1) as entered,
            sum(dropped) filter (where is_required) as dropped,
            sum(in_progress) filter (where is_required) as in_progress
        from {{ ref("onboarding_funnel") }}
        where segment_by = '(all)'
        group by flow, flow_version, grain
    )
select flow, flow_version, grain
from journeys
full join funnel using (flow, flow_version)
where
    journeys.entered is distinct from funnel.entered
    or journeys.dropped is distinct from funnel.dropped
    or journeys.in_progress is distinct from funnel.in_progress
