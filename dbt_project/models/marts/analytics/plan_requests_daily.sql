{{ config(materialized="materialized_view", indexes=[{"columns": ["day_on"], "unique": true}]) }}
-- depends_on: {{ ref("changes") }}
with
    requests as (
        select
            (requested_at at time zone 'UTC')::date as day_on,
            -- A refusal is the engine's answer, with a reason for the person who asked; nothing went wrong.
            case when status = 'failed' and failure_code like 'refused.%' then 'refused' else status end as status,
            attempts,
            failure_code,
            extract(epoch from finished_at - requested_at)::double precision * 1000 as total_ms,
            extract(epoch from started_at - requested_at)::double precision * 1000 as waiting_ms
        from {{ ref("stg_plan_requests") }}
    ),

    days as (
        select
            day_on,
            count(*) as requests,
            count(*) filter (where status = 'succeeded') as succeeded,
            count(*) filter (where status = 'refused') as refused,
            count(*) filter (where status = 'failed') as failed,
            count(*) filter (where status in ('succeeded', 'refused', 'failed')) as finished,
            count(*) filter (where status in ('queued', 'running')) as still_open,
            count(*) filter (where attempts > 1) as retried,
            percentile_cont(0.5) within group (order by total_ms) filter (where status = 'succeeded') as p50_ms,
            percentile_cont(0.95) within group (order by total_ms) filter (where status = 'succeeded') as p95_ms,
            percentile_cont(0.99) within group (order by total_ms) filter (where status = 'succeeded') as p99_ms,
            max(total_ms) filter (where status = 'succeeded') as max_ms,
            percentile_cont(0.95) within group (order by waiting_ms) as waiting_p95_ms
        from requests
        group by day_on
    ),

    failures as (
        select day_on, jsonb_object_agg(failure_code, failures order by failure_code) as failures_by_code
        from
            (
                select day_on, coalesce(failure_code, '(none)') as failure_code, count(*) as failures
                from requests
                where status in ('refused', 'failed')
                group by day_on, coalesce(failure_code, '(none)')
            ) as codes
        group by day_on
    ),

    histograms as (
        select days.day_on, array_agg(coalesce(hits.requests, 0) order by bucket.number) as buckets
        from days
        cross join generate_series(1, cardinality(marts.latency_bounds_ms()) + 1) as bucket(number)
        left join
            (
                -- width_bucket counts a bound to the bucket above; upper bounds are inclusive here.
                select
                    day_on,
                    width_bucket(total_ms, marts.latency_bounds_ms())
                    + case when total_ms = any(marts.latency_bounds_ms()) then 0 else 1 end as number,
                    count(*) as requests
                from requests
                where status = 'succeeded'
                group by 1, 2
            ) as hits
            on hits.day_on = days.day_on
            and hits.number = bucket.number
        group by days.day_on
    )

select
    days.day_on,
    days.requests,
    days.succeeded,
    days.refused,
    days.failed,
    days.finished,
    days.still_open,
    days.retried,
    days.failed / nullif(days.finished, 0)::double precision as failure_share,
    coalesce(failures.failures_by_code, '{}') as failures_by_code,
    days.p50_ms,
    days.p95_ms,
    days.p99_ms,
    days.max_ms,
    days.waiting_p95_ms,
    histograms.buckets
from days
join histograms on histograms.day_on = days.day_on
left join failures on failures.day_on = days.day_on
