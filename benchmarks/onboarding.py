"""Onboarding at 10 million events of 1.25 million people: ingest over HTTP, full build, increment after 1 % new events, beside ClickHouse.

ClickHouse runs in this process (chdb) on the same events, in the same run: windowFunnel over the required steps, the journey cut out by
its first entry as the definition says. Building the marts is another job than counting a funnel (it writes every journey and step with
its times, errors and outcome, with keys and indexes), so the macro, which answers the very question that windowFunnel does, is measured,
too. Seconds of a build are those in which one of onboarding's models is executed. The increment's share is one of the seconds that Postgres
worked, because what dbt itself needs per model (0.1 s) is the same for ten events and for ten million. People who dropped and come back, 1 % of
everybody and from all days, are a second increment: it touches every cohort. With --quick the materialised views,
which are as large for few people as for many, weigh more in it than at full size.
"""

import asyncio
import contextlib
import dataclasses
import datetime
import json
import multiprocessing
import os
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from api.tokens import generate_key_pair, issue_token
from benchmarks.harness import Figures, ThrowawayPostgres, figure, main, throwaway_postgres
from benchmarks.read_api import free_port
from database.connection import Role, connect, url_for

PEOPLE = 1_250_000
AS_OF = datetime.datetime(2025, 1, 1, tzinfo=datetime.UTC)
YEAR_SECONDS = 366 * 86400
REQUIRED = ("welcome", "account", "goal", "experience", "equipment", "schedule", "plan_preview")
WINDOW_SECONDS = 1209600
MODELS = ("+onboarding_funnel", "+onboarding_errors", "+onboarding_dropouts", "+user_days", "+user_zones")
"""The capture of changes needs the summaries' tables to stand; they are built before and cost nothing here."""

SEED = """
insert into app.users (user_id, time_zone) select 'user-' || n, 'UTC' from generate_series(%(first)s::int, %(last)s::int) as n
"""

# A person goes from step to step with the same chance; each step is started, mostly once, and completed after seconds or days.
# 4 % of steps fail once, 2 % of journeys hold an event out of order, 3 % come back after the window, 10 % begin without an account.
# Rows lie in the order of time and keys in that of arrival, as they do where people and events come one after the other.
EVENTS = """
insert into app.onboarding_events (
  event_id, user_key, anonymous_id, session_id, step, event_type, occurred_at, received_at, error_code, platform, app_version,
  acquisition_channel, traceparent
)
select
  gen_random_uuid(), case when is_anonymous and position <= 2 then null else user_key end,
  case when is_anonymous then 'device-' || user_key end, 'session-' || user_key, step, event_type, occurred_at, occurred_at, error_code,
  platform, app_version, channel, '00-' || md5(user_key::text) || '-' || substr(md5(step || user_key), 1, 16) || '-01'
from (
  select people.*, steps.position, steps.step, happened.event_type, happened.error_code,
    people.entered_at + (steps.position - 1) * people.pace + happened.after as occurred_at
  from (
    select user_key,
      %(since)s::timestamptz
        + (user_key - %(first)s + random()) / (%(last)s - %(first)s + 1) * %(seconds)s * interval '1 second' as entered_at,
      random() < 0.1 as is_anonymous,
      (array['ios', 'ios', 'android', 'web', null])[1 + floor(random() * 5)::int] as platform,
      (array['3.1', '3.2', '3.3', '3.4'])[1 + floor(random() * 4)::int] as app_version,
      (array['ads', 'friend', 'search', null])[1 + floor(random() * 4)::int] as channel,
      case when random() < 0.1 then interval '20 hours' else (4 + random() * 60) * interval '1 second' end as pace,
      1 + least(7, floor(ln(1 - random()) / ln(0.80)))::int as reached,
      random() as luck
    from app.users where user_key between %(first)s and %(last)s
  ) as people
  join staging.benchmark_steps as steps on steps.position <= people.reached
  cross join lateral (
    values ('started', interval '0', null::text), ('completed', people.pace * (0.2 + random() * 0.7), null),
      ('error', people.pace * 0.1, (array['network', 'timeout', 'email_taken'])[1 + floor(random() * 3)::int]),
      ('started', %(window)s * interval '1 second', null), ('completed', interval '-10 hours', null)
  ) as happened (event_type, after, error_code)
  where case
    when happened.event_type = 'error' then random() < 0.04
    when happened.event_type = 'started' and happened.after > interval '1 day' then steps.position = 1 and people.luck < 0.03
    when happened.after < interval '0' then steps.position = 3 and people.luck > 0.98
    when happened.event_type = 'completed' then steps.position < people.reached or people.reached = 8
    else true end
) as trace
where occurred_at < %(until)s::timestamptz
order by occurred_at
"""

LINKS = """
insert into app.identity_links (anonymous_id, user_key)
select anonymous_id, max(user_key) from app.onboarding_events where anonymous_id is not null and user_key is not null
group by anonymous_id on conflict do nothing
"""


def populate(connection: psycopg.Connection, people: int) -> int:
    """Everybody of the year; returns the number of events."""
    with connection.transaction():
        connection.execute("select setseed(0.5)")
        connection.execute(
            "create table staging.benchmark_steps (position int, step text); insert into staging.benchmark_steps "
            "select position, step from unnest(array['welcome', 'account', 'goal', 'experience', 'equipment', 'schedule', 'notifications', "
            "'plan_preview']) with ordinality as steps (step, position)"
        )
        connection.execute(SEED, {"first": 1, "last": people})
        definitions = connection.execute(
            "select indexname, indexdef from pg_indexes where schemaname = 'app' and tablename = 'onboarding_events' "
            "and indexname <> 'onboarding_events_pkey'"
        ).fetchall()
        for name, _ in definitions:
            connection.execute(f"drop index app.{name}")  # type: ignore[arg-type]
        values = {"first": 1, "last": people, "window": WINDOW_SECONDS + 1, "until": AS_OF}
        connection.execute(EVENTS, values | {"since": AS_OF - datetime.timedelta(seconds=YEAR_SECONDS), "seconds": YEAR_SECONDS})
        connection.execute(LINKS)
        for _, definition in definitions:
            connection.execute(definition)
    connection.execute("vacuum analyze")
    return count(connection)


def add_one_percent(connection: psycopg.Connection, people: int, events: int) -> int:
    """New events, 1 %: mostly of people who come after the year's end, some of people who are under way, a few late ones."""
    wanted = events // 100
    newcomers = int(wanted * 0.8 * people / events)
    with connection.transaction():
        connection.execute("select setseed(0.25)")
        connection.execute(SEED, {"first": people + 1, "last": people + newcomers})
        seconds = YEAR_SECONDS // 100
        values = {
            "first": people + 1,
            "last": people + newcomers,
            "window": WINDOW_SECONDS + 1,
            "until": AS_OF + datetime.timedelta(days=40),
        }
        connection.execute(EVENTS, values | {"since": AS_OF, "seconds": seconds})
        missing = wanted - (count(connection) - events)
        connection.execute(
            """
            insert into app.onboarding_events (event_id, user_key, step, event_type, occurred_at)
            select gen_random_uuid(), journeys.user_key, 'account', 'completed', journeys.entered_at + interval '5 days'
            from marts.onboarding_journeys as journeys
            where journeys.user_key is not null and journeys.entered_at > %s::timestamptz - interval '5 days'
            order by journeys.user_key limit %s
            """,
            [AS_OF, missing],
        )
        connection.execute(LINKS)
    connection.execute("analyze app.onboarding_events")
    return count(connection) - events


def bring_back(connection: psycopg.Connection, people: int) -> int:
    """Of those who dropped long ago, as many as 1 % of everybody look at their plan: no other order of keys than chance's."""
    with connection.transaction():
        connection.execute("select setseed(0.75)")
        returned = connection.execute(
            """
            insert into app.onboarding_events (event_id, user_key, flow, step, event_type, occurred_at)
            select gen_random_uuid(), user_key, 'first_workout', 'plan_viewed', 'completed', %s
            from marts.onboarding_journeys where status = 'dropped' and user_key is not null and matured_at < %s
            order by random() limit %s
            """,
            [AS_OF, AS_OF - datetime.timedelta(days=60), people // 100],
        ).rowcount
    connection.execute("analyze app.onboarding_events")
    return returned


def empty_copy(server: ThrowawayPostgres, name: str) -> ThrowawayPostgres:
    """The server's database under another name: the load generator's events stay out of what is built."""
    with connect(server.admin_url, autocommit=True) as connection:
        connection.execute(
            sql.SQL("create database {} template mesocycle owner {}").format(sql.Identifier(name), sql.Identifier(Role.OWNER.role_name))
        )
    return dataclasses.replace(server, urls={Role.OWNER: url_for(server.url, database=name)})


def count(connection: psycopg.Connection) -> int:
    row = connection.execute("select count(*) from app.onboarding_events").fetchone()
    assert row
    return int(row[0])


def read_project(postgres: ThrowawayPostgres) -> None:
    """What dbt does before its first build: import and parse everything."""
    from tests.dbt_project.support import run_dbt

    run_dbt(postgres, "parse")


def build(postgres: ThrowawayPostgres, as_of: datetime.datetime) -> tuple[float, float, dict[str, float]]:
    """(seconds in which one of onboarding's models was executed, seconds that Postgres worked on statements, seconds per model)."""
    from tests.dbt_project.support import run_dbt

    before = database_seconds(postgres)
    result = run_dbt(
        postgres, "build", "--select", *MODELS, "--exclude-resource-type", "test", "--exclude-resource-type", "unit_test", as_of=as_of
    )
    worked = database_seconds(postgres) - before
    spans = {}
    for node in result.result.results:  # type: ignore[union-attr]
        for timing in node.timing:
            if timing.name == "execute" and ("onboarding" in node.node.name or node.node.name == "changes"):
                spans[node.node.name] = (timing.started_at, timing.completed_at)
    wall, until = 0.0, min(start for start, _ in spans.values())
    for start, end in sorted(spans.values()):
        wall += max((end - max(start, until)).total_seconds(), 0)
        until = max(until, end)
    return wall, worked, {name: (end - start).total_seconds() for name, (start, end) in spans.items()}


def database_seconds(postgres: ThrowawayPostgres) -> float:
    """Seconds that the database's sessions spent in statements; a session tells when it ends, which dbt's have then."""
    time.sleep(0.3)
    with postgres.connect() as connection:
        row = connection.execute("select active_time / 1000 from pg_stat_database where datname = current_database()").fetchone()
    assert row
    return float(row[0])


def mart_counts(connection: psycopg.Connection) -> list[int]:
    """Who completed each required step, over all cohorts; first, who entered."""
    rows = connection.execute(
        "select position, sum(completed)::bigint, sum(entered)::bigint from marts.onboarding_funnel "
        "where flow = 'onboarding' and grain = 'day' and segment_by = '(all)' and is_required group by position order by position"
    ).fetchall()
    return [int(rows[0][2]), *(int(row[1]) for row in rows)]


def macro_sql() -> str:
    from tests.dbt_project.onboarding.funnel_macro import render

    # The mart's question: any event of the first step enters, completions go on.
    events = """(
        select person_key as user_id, step, occurred_at from (
            select coalesce(e.user_key, l.user_key, app.anonymous_key(e.anonymous_id)) as person_key, e.occurred_at,
                unnest(case when e.step = 'welcome' and e.event_type = 'completed' then array['entered', 'welcome']
                    when e.step = 'welcome' then array['entered'] when e.event_type = 'completed' then array[e.step] end) as step
            from app.onboarding_events e left join app.identity_links l on l.anonymous_id = e.anonymous_id and e.user_key is null
        ) as named
    )"""
    return render(events, ["entered", *REQUIRED], window_seconds=WINDOW_SECONDS)


def clickhouse(connection: psycopg.Connection, folder: Path, runs: int) -> tuple[list[float], list[int]]:
    """(seconds of each run, who took each step) by windowFunnel on the same events, loaded before."""
    import pyarrow as pa
    import pyarrow.parquet
    from chdb import session

    codes = {name: number for number, name in enumerate(REQUIRED, start=1)}
    with connection.transaction(), connection.cursor("events", binary=True) as cursor:
        cursor.itersize = 200_000
        cursor.execute(
            "select coalesce(e.user_key, l.user_key, app.anonymous_key(e.anonymous_id)), (extract(epoch from e.occurred_at) * 1000000)::bigint, "
            "e.step, e.event_type = 'completed' "
            "from app.onboarding_events e left join app.identity_links l on l.anonymous_id = e.anonymous_id and e.user_key is null"
        )
        tables = []
        while batch := cursor.fetchmany(200_000):
            person, at, step, done = zip(*batch, strict=True)
            tables.append(
                pa.table(
                    {
                        "person": pa.array(person, pa.int64()),
                        "at": pa.array(at, pa.uint64()),
                        "step": pa.array([codes.get(name, 0) for name in step], pa.uint8()),
                        "done": pa.array(done, pa.bool_()),
                    }
                )
            )
    file = folder / "events.parquet"
    pyarrow.parquet.write_table(pa.concat_tables(tables), file)
    database = session.Session(str(folder / "clickhouse"))
    database.query("create database onboarding")
    columns = "person Int64, at UInt64, step UInt8, done Bool"
    database.query(f"create table onboarding.events ({columns}) engine = MergeTree order by (person, at)")
    database.query(f"insert into onboarding.events select * from file('{file}', Parquet)")
    conditions = ", ".join(["step = 1", *(f"step = {number} and done" for number in codes.values())])
    window = WINDOW_SECONDS * 1_000_000
    query = (
        f"select level, count() as people from (select person, windowFunnel({window})(at, {conditions}) as level from ("
        f"select *, minIf(at, step = 1) over (partition by person) as entered_at, countIf(step = 1) over (partition by person) as entries "
        f"from onboarding.events) where entries > 0 and at between entered_at and entered_at + {window} group by person) group by level"
    )
    plain = (
        f"select level, count() as people from (select person, windowFunnel({window})(at, {conditions}) as level "
        "from onboarding.events group by person) group by level"
    )
    seconds = []
    for _ in range(runs):
        start = time.perf_counter()
        database.query(plain, "JSONCompact")
        seconds.append(time.perf_counter() - start)
    levels = json.loads(str(database.query(query, "JSONCompact")))["data"]
    database.close()
    reached = {int(level): int(people) for level, people in levels}
    return seconds, [sum(people for level, people in reached.items() if level >= step) for step in range(1, len(REQUIRED) + 2)]


async def _client(port: int, bodies: list[bytes], latencies: list[float], failures: list[bytes]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for body in bodies:
        start = time.perf_counter()
        writer.write(body)
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
        await reader.readexactly(length)
        latencies.append(time.perf_counter() - start)
        if not head.startswith(b"HTTP/1.1 202"):
            failures.append(head)
    writer.close()


def _load(port: int, plans: list[list[bytes]], answer: Any) -> None:
    async def everybody() -> tuple[float, list[float], int]:
        latencies: list[float] = []
        failures: list[bytes] = []
        start = time.perf_counter()
        await asyncio.gather(*(_client(port, plan, latencies, failures) for plan in plans))
        return time.perf_counter() - start, latencies, len(failures)

    answer.put(asyncio.run(everybody()))


def load(port: int, plans: list[list[bytes]]) -> tuple[float, list[float]]:
    """(seconds, latencies in seconds) of the requests, one connection per plan, from a process of its own."""
    fork = multiprocessing.get_context("fork")  # a new interpreter would import everything again, seconds each time
    answer = fork.Queue()
    process = fork.Process(target=_load, args=(port, plans, answer))
    process.start()
    seconds, latencies, failures = answer.get(timeout=120)
    process.join()
    if failures:
        raise RuntimeError(f"{failures} requests failed")
    return seconds, latencies


def request(token: str, body: Any) -> bytes:
    text = json.dumps(body).encode()
    head = f"POST /api/v1/onboarding/step HTTP/1.1\r\nHost: api\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\n"
    return head.encode() + f"Content-Length: {len(text)}\r\n\r\n".encode() + text


def an_event(chance: random.Random) -> dict[str, Any]:
    return {
        "eventId": str(uuid.UUID(int=chance.getrandbits(128), version=4)),
        "userId": f"user-{chance.randrange(50_000)}",
        "sessionId": f"{chance.getrandbits(64):x}",
        "step": chance.choice(REQUIRED),
        "eventType": chance.choice(["started", "completed"]),
        "occurredAt": datetime.datetime.now(datetime.UTC).isoformat(),
        "durationMs": 1500,
        "platform": "ios",
        "appVersion": "3.4",
        "traceparent": f"00-{chance.getrandbits(127) + 1:032x}-{chance.getrandbits(63) + 1:016x}-01",
    }


@contextlib.contextmanager
def serving(postgres: ThrowawayPostgres, jwks: str) -> Iterator[int]:
    """Port of an API that starts while the block goes on; `wait_for` it."""
    port = free_port()
    environment = {"MESOCYCLE_API_DATABASE_URL": postgres.urls[Role.API], "MESOCYCLE_API_JWKS": jwks}
    environment["MESOCYCLE_API_WRITES_PER_MINUTE"] = "10000000"
    command = [sys.executable, "-m", "api", "--port", str(port), "--workers", "2"]
    process = subprocess.Popen(command, env=os.environ | environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield port
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()


def wait_for(port: int, token: str, seconds: float = 60) -> None:
    """Until the API's workers answer, also on a busy machine."""
    until = time.monotonic() + seconds
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5):
            break
        if time.monotonic() > until:
            raise RuntimeError("The API did not start.")
        time.sleep(0.1)
    # Before the first round no connection to Postgres is open and no statement prepared.
    chance = random.Random()
    load(port, [[request(token, an_event(chance)) for _ in range(10)] for _ in range(16)])


def ingest(port: int, token: str, rounds: int, *, scale: float) -> Figures:
    batch_rates, single_rates, single_p99 = [], [], []
    for number in range(rounds):
        chance = random.Random(number)
        batches = int(60 * scale)
        plans = [
            [request(token, {"sentAt": datetime.datetime.now(datetime.UTC).isoformat(), "events": [an_event(chance) for _ in range(500)]})
             for _ in range(batches // 4)]
            for _ in range(4)
        ]  # fmt: skip
        seconds, latencies = load(port, plans)
        batch_rates.append(len(latencies) * 500 / seconds)
        singles = [[request(token, an_event(chance)) for _ in range(int(250 * scale))] for _ in range(16)]
        seconds, latencies = load(port, singles)
        single_rates.append(len(latencies) / seconds)
        single_p99.append(statistics.quantiles(latencies, n=100)[98] * 1000)
    return {
        "batch_events_per_second": figure(batch_rates, "events/s", limit=3000),
        "single_requests_per_second": figure(single_rates, "requests/s", limit=800),
        "single_p99_ms": figure(single_p99, "ms", limit=50),
    }


def run(quick: bool) -> Figures:
    people = PEOPLE // 50 if quick else PEOPLE
    private, jwks = generate_key_pair()
    token = issue_token(private, "app", ("service",), 3600)
    with throwaway_postgres() as server:
        postgres = empty_copy(server, "builds")
        with serving(server, jwks) as port, postgres.connect() as connection:
            reading = threading.Thread(target=read_project, args=[postgres])
            reading.start()
            events = populate(connection, people)
            reading.join()
            wait_for(port, token)
            figures = ingest(port, token, 1 if quick else 3, scale=0.4 if quick else 2)
        return figures | builds(postgres, people, events)


def builds(postgres: ThrowawayPostgres, people: int, events: int) -> Figures:
    with tempfile.TemporaryDirectory() as folder, postgres.connect() as connection:
        full, full_worked, models = build(postgres, AS_OF)
        print(f"{events:,} events of {people:,} people; full build {full:.1f} s, Postgres' part {full_worked:.1f} s", file=sys.stderr)
        show(models)
        start = time.perf_counter()
        macro = [int(row[2]) for row in connection.execute(macro_sql().encode()).fetchall()]
        macro_seconds = time.perf_counter() - start
        peer_seconds, expected = clickhouse(connection, Path(folder), 3)
        is_equal = mart_counts(connection) == expected == macro
        added = add_one_percent(connection, people, events)
        increment, increment_worked, models = build(postgres, AS_OF + datetime.timedelta(seconds=YEAR_SECONDS // 100))
        print(f"{added:,} new events; increment {increment:.1f} s, Postgres' part {increment_worked:.1f} s", file=sys.stderr)
        show(models)
        returned = bring_back(connection, people)
        returning, _, models = build(postgres, AS_OF + datetime.timedelta(seconds=YEAR_SECONDS // 100))
        print(f"{returned:,} people came back; increment {returning:.1f} s", file=sys.stderr)
        show(models)
    peer = {"name": "windowFunnel, chdb", "value": statistics.median(peer_seconds)}
    return {
        "events": figure(events, "events", better="higher"),
        "full_build_seconds": figure(full, "s", peer=peer),
        "ratio_to_chdb": figure(full / statistics.median(peer_seconds), "×"),
        "funnel_macro_seconds": figure(macro_seconds, "s", peer=peer),
        "funnel_macro_ratio_to_chdb": figure(macro_seconds / statistics.median(peer_seconds), "×"),
        "incremental_seconds": figure(increment, "s"),
        "incremental_share": figure(increment_worked / full_worked, "of the full build", limit=0.1),
        "returning_seconds": figure(returning, "s", peer={"name": "full build", "value": full}),
        "counts_equal": figure(is_equal, "verdict"),
    }


def show(models: dict[str, float]) -> None:
    for name, seconds in sorted(models.items(), key=lambda item: -item[1])[:12]:
        print(f"  {name}: {seconds:.2f} s", file=sys.stderr)


if __name__ == "__main__":
    main("onboarding", run, description=__doc__)
