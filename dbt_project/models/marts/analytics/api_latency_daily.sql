{{ config(materialized="materialized_view", indexes=[{"columns": ["day_on", "method", "route"], "unique": true}]) }}
-- depends_on: {{ ref("changes") }}
with
    days as (
        select
            (minute at time zone 'UTC')::date as day_on,
            method,
            route,
            bool_or(is_promised) as is_promised,
            sum(requests)::bigint as requests,
            coalesce(sum(requests) filter (where status between 400 and 499), 0)::bigint as client_errors,
            coalesce(sum(requests) filter (where status >= 500), 0)::bigint as server_errors,
            sum(total_ms) as total_ms,
            max(max_ms) as max_ms,
            marts.sum_buckets(buckets) as buckets
        from {{ ref("stg_api_latency") }}
        group by (minute at time zone 'UTC')::date, method, route
    )

select
    day_on,
    method,
    route,
    is_promised,
    requests,
    client_errors,
    server_errors,
    server_errors / requests::double precision as server_error_share,
    total_ms / requests as mean_ms,
    marts.histogram_quantile(buckets, 0.5) as p50_ms,
    marts.histogram_quantile(buckets, 0.95) as p95_ms,
    marts.histogram_quantile(buckets, 0.99) as p99_ms,
    max_ms,
    buckets
from days
