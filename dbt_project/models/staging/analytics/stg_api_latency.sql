-- How the platform runs is no source of the app, so it's named like the build clock.
-- Whether an answer counts for the promises: the app's resources do; health checks, metrics and calls that were asked
-- to wait don't.
select
    minute,
    method,
    route,
    status,
    requests,
    total_ms,
    max_ms,
    buckets,
    (route like '/api/%' or route in ('/generate', '/status/{jobId}')) and route not like '% (waiting)' as is_promised
from {{ var("api_latency", "ops.api_latency") }}
where minute <= {{ as_of() }}
