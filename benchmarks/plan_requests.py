"""Plans on request, through HTTP against the API and one plan worker: how fast a request is taken, how soon its plan can be read.

Open load: requests are due at even intervals and their latency counts from then, so a server that stalls can't slow the load down and
look better. The peer of the POST is one committed INSERT on the same Postgres: no durable answer can be faster.
"""

import asyncio
import contextlib
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from api.tokens import generate_key_pair, issue_token
from benchmarks.harness import Figures, ThrowawayPostgres, figure, main, throwaway_postgres
from benchmarks.loopback_client import LoopbackClient
from benchmarks.read_api import free_port
from database.connection import Role, connect
from database.population import load_population
from domain.simulation import simulate

USERS = 2_000
MONTHS = 4
POST_RATE = 200
FOLLOWED_RATE = 20
BURST = 1_000
POST_P95_MS, POST_P99_MS, PLAN_P95_MS, BURST_SECONDS = 50.0, 20.0, 1_000.0, 10.0


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(int(len(values) * share), len(values) - 1)]


@contextmanager
def process(command: list[str], environment: dict[str, str], log: str) -> Iterator[subprocess.Popen[bytes]]:
    with open(log, "wb") as output:  # noqa: PTH123
        running = subprocess.Popen(command, env=os.environ | environment, stdout=output, stderr=output)
        try:
            yield running
        finally:
            running.send_signal(signal.SIGTERM)
            try:
                running.wait(15)
            except subprocess.TimeoutExpired:
                running.kill()


class Load:
    """Requests at a rate; counts what failed."""

    def __init__(self, client: LoopbackClient, users: list[str]) -> None:
        self._client = client
        self._users = users
        self._next = 0
        self.errors = 0

    def user(self) -> str:
        self._next += 1
        return self._users[self._next % len(self._users)]

    async def post(self, user: str) -> str | None:
        try:
            answer = await self._client.request("POST", "/api/v1/plans/generate", {"userId": user, "reason": "benchmark"})
        except OSError:
            self.errors += 1
            return None
        if answer.status != 202:
            self.errors += 1
            return None
        return str(answer.json()["statusUrl"])

    async def timed_post(self, due: float) -> float:
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        await self.post(self.user())
        return (time.perf_counter() - due) * 1000

    async def timed_plan(self, due: float) -> float:
        """Milliseconds from the moment the request was due until its plan was read."""
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        user = self.user()
        url = await self.post(user)
        if url is None:
            return float("inf")
        for _ in range(20):
            answer = await self._client.request("GET", url, headers="Prefer: wait=5\r\n")
            if answer.status != 200 or answer.json()["status"] == "failed":
                break
            if answer.json()["status"] == "succeeded":
                plan = await self._client.request("GET", answer.json()["planUrl"])
                if plan.status == 200:
                    return (time.perf_counter() - due) * 1000
                break
        self.errors += 1
        return float("inf")

    async def at_rate(self, rate: int, seconds: float, action: str) -> list[float]:
        start = time.perf_counter() + 0.1
        dues = [start + position / rate for position in range(int(rate * seconds))]
        return list(await asyncio.gather(*(getattr(self, action)(due) for due in dues)))


async def settle(postgres: ThrowawayPostgres, seconds: float = 60) -> float:
    """Seconds until no request is open; raises after `seconds`."""
    started = time.perf_counter()
    with postgres.connect() as connection:
        while time.perf_counter() - started < seconds:
            row = connection.execute("select count(*) from app.plan_requests where status in ('queued', 'running')").fetchone()
            if row and row[0] == 0:
                return time.perf_counter() - started
            await asyncio.sleep(0.02)
    raise TimeoutError("the worker didn't finish")


def committed_insert_ms(postgres: ThrowawayPostgres, runs: int = 200) -> float:
    """P50 of one INSERT with its commit, from a connection that is open."""
    with connect(postgres.urls[Role.OWNER], autocommit=True) as connection:
        connection.execute("create table ops.benchmark_inserts (value int)")
        times = []
        for value in range(runs):
            started = time.perf_counter()
            connection.execute("insert into ops.benchmark_inserts values (%s)", [value])
            times.append((time.perf_counter() - started) * 1000)
        connection.execute("drop table ops.benchmark_inserts")
    return statistics.median(times)


async def measure(port: int, token: str, postgres: ThrowawayPostgres, users: list[str], *, quick: bool) -> Figures:
    rounds, seconds = (1, 5.0) if quick else (3, 15.0)
    p95, p99, plan_p95, bursts = [], [], [], []
    client = LoopbackClient(port, token)
    load = Load(client, users)
    for _ in range(100):
        with contextlib.suppress(OSError):
            if (await client.request("GET", "/readyz")).status == 200:
                break
        await asyncio.sleep(0.1)
    await load.at_rate(20, 2, "timed_plan")  # warm-up: the worker loads its catalogue, the client its connections
    for _ in range(rounds):
        posts = await load.at_rate(POST_RATE, seconds, "timed_post")
        p95.append(percentile(posts, 0.95))
        p99.append(percentile(posts, 0.99))
        await settle(postgres)
        plan_p95.append(percentile(await load.at_rate(FOLLOWED_RATE, seconds, "timed_plan"), 0.95))
        await settle(postgres)
        started = time.perf_counter()
        await asyncio.gather(*(load.post(user) for user in users[:BURST]))
        await settle(postgres)
        bursts.append(time.perf_counter() - started)
    client.close()
    insert = {"name": "one committed INSERT on the same Postgres", "value": committed_insert_ms(postgres)}
    with postgres.connect() as connection:
        row = connection.execute(
            "select count(*) from app.plan_requests where status = 'failed' and failure_code = 'engine.error'"
        ).fetchone()
    failed = int(row[0]) if row else 0
    return {
        "post_p95_ms": figure(p95, "ms", insert, POST_P95_MS),
        "post_p99_ms": figure(p99, "ms", insert, POST_P99_MS),
        "request_to_plan_p95_ms": figure(plan_p95, "ms", None, PLAN_P95_MS),
        "burst_1000_seconds": figure(bursts, "s", None, BURST_SECONDS),
        "errors": figure(load.errors + failed, "requests", None, 0),
    }


def run(quick: bool) -> Figures:
    private_key, key_set = generate_key_pair()
    token = issue_token(private_key, "benchmark", ["service"])
    with throwaway_postgres() as postgres, tempfile.TemporaryDirectory() as logs:
        until = datetime(2026, 6, 1, tzinfo=UTC)
        load_population(postgres.url, simulate(USERS, MONTHS, 1, until))
        with postgres.connect() as connection:
            connection.execute("insert into ops.builds (kind, as_of, finished_at, succeeded) values ('marts', now(), now(), true)")
            query = "select user_id from app.users join app.profiles using (user_key) order by user_key limit %s"
            users = [row[0] for row in connection.execute(query, [USERS]).fetchall()]
            connection.execute("vacuum analyze")
        port = free_port()
        api = {"MESOCYCLE_API_DATABASE_URL": postgres.urls[Role.API], "MESOCYCLE_API_JWKS": key_set}
        worker = {"MESOCYCLE_PIPELINE_URL": postgres.urls[Role.PIPELINE], "DAGSTER_HOME": ""}
        with (
            process([sys.executable, "-m", "api", "--port", str(port), "--workers", "1"], api, f"{logs}/api.log"),
            process([sys.executable, "-m", "orchestration.plan_worker"], worker, f"{logs}/worker.log"),
        ):
            return asyncio.run(measure(port, token, postgres, users, quick=quick))


if __name__ == "__main__":
    main("plan_requests", run)
