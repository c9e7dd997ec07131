{{ config(severity="warn") }}
-- Events of the last week whose flow, version or step no flow has: kept in app.onboarding_events, but in no journey.
-- Add the flow to seeds/onboarding_flows.csv, and they count.
select events.flow, events.flow_version, events.step, count(*) as events
from {{ source("app", "onboarding_events") }} as events
left join
    {{ ref("onboarding_flows") }} as flows
    on flows.flow = events.flow
    and flows.flow_version = events.flow_version
    and flows.step = events.step
where events.occurred_at > {{ as_of() }} - interval '7 days' and flows.step is null
group by events.flow, events.flow_version, events.step
