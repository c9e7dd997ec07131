"""Analysts: the API's latency histograms as data, runs of the performance monitor, and two functions for histograms.

The API may only call `ops.record_api_latency`. A batch carries its process and a number, so that one that is sent again (because the
answer to the first was lost) counts once. Histograms add up, percentiles don't: that is why buckets are kept, not percentiles.
"""

from alembic import op

from database.migrations.scripts import run_script

revision = "0007"
down_revision = "0005"

HISTOGRAMS = """
create function marts.latency_bounds_ms() returns double precision[] language sql immutable parallel safe
  return array[0.1, 0.25, 0.5, 1, 1.5, 2, 3, 4, 5, 7.5, 10, 15, 20, 25, 30, 40, 50, 75, 100, 150, 200, 250, 300, 400, 500, 750,
    1000, 1500, 2000, 3000, 4000, 5000, 7500, 10000, 15000, 30000]::double precision[];
comment on function marts.latency_bounds_ms is 'Upper bounds of the histogram buckets, inclusive, ms. The promises (50 ms, 2 s) are among them, so keeping them is decided exactly.';

create function marts.add_buckets(a bigint[], b bigint[]) returns bigint[] language sql immutable parallel safe
  return case when a is null then b when b is null then a else (
    select array_agg(coalesce(x, 0) + coalesce(y, 0) order by n) from unnest(a, b) with ordinality as pair (x, y, n)
  ) end;
comment on function marts.add_buckets is 'Two histograms added bucket by bucket.';

create aggregate marts.sum_buckets(bigint[]) (sfunc = marts.add_buckets, stype = bigint[], combinefunc = marts.add_buckets, parallel = safe);
comment on aggregate marts.sum_buckets(bigint[]) is 'Adds histograms, so that percentiles can be taken over any days and routes together.';

create function marts.histogram_quantile(buckets bigint[], quantile double precision) returns double precision
language sql immutable parallel safe
begin atomic
  with counted as (
    select n, hits, sum(hits) over (order by n) as up_to, sum(hits) over () as total
    from unnest(buckets) with ordinality as bucket (hits, n)
  ),
  found as (
    select n, hits, up_to - hits as below, total
    from counted
    where total > 0 and hits > 0 and up_to >= quantile * total
    order by n
    limit 1
  )
  select case
    -- The open bucket has no upper end: its lower one is all that is known.
    when n > cardinality(marts.latency_bounds_ms()) then (marts.latency_bounds_ms())[cardinality(marts.latency_bounds_ms())]
    else coalesce((marts.latency_bounds_ms())[n - 1], 0)
      + ((marts.latency_bounds_ms())[n] - coalesce((marts.latency_bounds_ms())[n - 1], 0)) * greatest(quantile * total - below, 0) / hits
  end
  from found;
end;
comment on function marts.histogram_quantile is
  'A percentile (0 to 1) of a latency histogram, ms: linear inside its bucket; null without requests. marts.sum_buckets adds histograms first.';
"""

LATENCY = """
create table ops.api_latency (
  minute timestamptz not null,
  method text not null,
  route text not null,
  status smallint not null,
  requests bigint not null,
  total_ms double precision not null,
  max_ms double precision not null,
  buckets bigint[] not null,
  primary key (minute, method, route, status),
  constraint buckets_hold_every_request check (cardinality(buckets) = 37)
);
comment on table ops.api_latency is 'The API''s answers and how long they took. One row per minute, method, route and status, over all processes.';
comment on column ops.api_latency.route is 'Path template: no ids in it.';
comment on column ops.api_latency.buckets is 'Requests per bucket of marts.latency_bounds_ms(); the last one is open.';

create table ops.api_latency_totals (
  method text not null,
  route text not null,
  status smallint not null,
  requests bigint not null,
  total_ms double precision not null,
  max_ms double precision not null,
  buckets bigint[] not null,
  primary key (method, route, status)
);
comment on table ops.api_latency_totals is 'Sums of ops.api_latency over all time: counters that Prometheus reads. One row per method, route and status.';

create table ops.api_processes (
  process_id uuid primary key,
  last_batch bigint not null,
  seen_at timestamptz not null default now()
);
comment on table ops.api_processes is 'Number of the last batch of latencies that each API process has delivered. One row per process.';

create function ops.record_api_latency(p_process uuid, p_batch bigint, p_rows jsonb) returns boolean
language plpgsql security definer set search_path = ops, pg_temp as $$
begin
  insert into ops.api_processes as p (process_id, last_batch) values (p_process, p_batch)
  on conflict (process_id) do update set last_batch = excluded.last_batch, seen_at = now() where p.last_batch < excluded.last_batch;
  if not found then
    return false;
  end if;
  insert into ops.api_latency as l (minute, method, route, status, requests, total_ms, max_ms, buckets)
  select minute, method, route, status, requests, total_ms, max_ms, buckets
  from jsonb_to_recordset(p_rows) as r (minute timestamptz, method text, route text, status smallint, requests bigint,
    total_ms double precision, max_ms double precision, buckets bigint[])
  order by minute, method, route, status  -- always in one order: two processes that deliver at once must not wait for each other
  on conflict (minute, method, route, status) do update set
    requests = l.requests + excluded.requests, total_ms = l.total_ms + excluded.total_ms,
    max_ms = greatest(l.max_ms, excluded.max_ms), buckets = marts.add_buckets(l.buckets, excluded.buckets);
  insert into ops.api_latency_totals as t (method, route, status, requests, total_ms, max_ms, buckets)
  select method, route, status, sum(requests), sum(total_ms), max(max_ms), marts.sum_buckets(buckets)
  from jsonb_to_recordset(p_rows) as r (method text, route text, status smallint, requests bigint,
    total_ms double precision, max_ms double precision, buckets bigint[])
  group by method, route, status
  order by method, route, status
  on conflict (method, route, status) do update set
    requests = t.requests + excluded.requests, total_ms = t.total_ms + excluded.total_ms,
    max_ms = greatest(t.max_ms, excluded.max_ms), buckets = marts.add_buckets(t.buckets, excluded.buckets);
  return true;
end $$;
comment on function ops.record_api_latency is 'Adds one batch of an API process; false where that batch (or a later one) was delivered before.';
"""

MONITOR = """
create table ops.monitor_runs (
  run_key bigint generated always as identity primary key,
  started_at timestamptz not null,
  finished_at timestamptz not null default now(),
  passed boolean not null,
  requests bigint not null,
  errors bigint not null,
  report jsonb not null
);
comment on table ops.monitor_runs is 'Runs of `mesocycle monitor`: the load it drove and what it measured against the targets. One row per run.';
"""

GRANTS = """
revoke execute on function ops.record_api_latency from public;
grant execute on function ops.record_api_latency to mesocycle_api;
grant select on ops.api_latency_totals to mesocycle_api;
grant insert on ops.monitor_runs to mesocycle_pipeline;
"""


def upgrade() -> None:
    for part in (HISTOGRAMS, LATENCY, MONITOR, GRANTS):
        run_script(op.get_bind(), part)
