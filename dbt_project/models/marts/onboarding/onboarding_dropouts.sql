{{ config(materialized="view") }}
select
    journeys.person_key,
    journeys.user_key,
    journeys.flow,
    journeys.flow_version,
    journeys.cohort_on,
    journeys.platform,
    journeys.app_version,
    journeys.acquisition_channel,
    journeys.furthest_step,
    journeys.last_step,
    journeys.last_error_code,
    journeys.last_event_at,
    extract(epoch from as_of.as_of - journeys.last_event_at)::double precision / 3600 as hours_since,
    case
        when used.occurred_at < coalesce(journeys.next_event_at, 'infinity')
        then 'app / ' || used.feature
        else journeys.next_event
    end as next_event,
    least(used.occurred_at, journeys.next_event_at) as next_event_at,
    journeys.trace_id
from {{ ref("onboarding_journeys") }} as journeys
cross join (select {{ as_of() }} as as_of) as as_of
left join
    lateral(
        select usage_events.feature, usage_events.occurred_at
        from {{ source("app", "usage_events") }} as usage_events
        where
            usage_events.user_key = journeys.user_key
            and usage_events.occurred_at > journeys.last_event_at
            and usage_events.occurred_at <= as_of.as_of
        order by usage_events.occurred_at, usage_events.event_id
        limit 1
    ) as used
    on true
where journeys.status = 'dropped'
