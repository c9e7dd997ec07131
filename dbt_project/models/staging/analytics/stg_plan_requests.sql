-- As the platform knew them at as_of: what came later is still open, or isn't there yet.
select
    requests.job_id,
    requests.user_key,
    coalesce(requests.reason, '(none)') as reason,
    case when requests.finished_at > clock.as_of then 'running' else requests.status end as status,
    requests.attempts,
    requests.requested_at,
    case when requests.started_at <= clock.as_of then requests.started_at end as started_at,
    case when requests.finished_at <= clock.as_of then requests.finished_at end as finished_at,
    case
        when requests.finished_at <= clock.as_of and requests.status = 'failed' then requests.failure_code
    end as failure_code
from {{ source("app", "plan_requests") }} as requests
join {{ change_cursor() }} as clock on requests.requested_at <= clock.as_of
