"""The read API against a bare ASGI application, FastAPI + SQLAlchemy and fastify + pg: one row by key, in turn, in one run.

100,000 users, uniformly random, 32 connections. The service under load, whichever it is, has one core; Postgres and the load generator
are bound to the rest, because the scheduler would put a backend beside the service it answers, now and then, and not for all alike. Ratios
compare requests per second with the bare application's in the same round; the figure is the median of the rounds. `…_cpu_…` ratios
compare the processes' CPU seconds per request and hold on a busy machine, too.
"""

import http.client
import json
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from api.tokens import generate_key_pair, issue_token
from benchmarks.harness import Figures, ThrowawayPostgres, figure, main, throwaway_postgres
from database.connection import Role

HERE = Path(__file__).parent
USERS = 100_000
CONNECTIONS = 32
PEERS = HERE / "read_api_peers"
NODE_MODULES = HERE / "results" / "fastify"

POPULATE = """
insert into app.users (user_id) select 'user-' || n from generate_series(1, %(users)s) as n;
create table marts.user_payloads (
  user_key bigint not null, resource text not null, payload text not null, primary key (user_key, resource)
);
grant select on marts.user_payloads to mesocycle_api;
insert into marts.user_payloads
select user_key, 'summary/30d', json_build_object(
  'range', '30d', 'workouts', user_key %% 20, 'activeDays', user_key %% 19, 'trainingMinutes', 733.5, 'sets', user_key %% 400,
  'reps', 1926, 'volumeKg', 98431.5 + user_key, 'avgRpe', 7.9, 'exercises', 14, 'recordEvents', 5, 'currentStreakWeeks', 9,
  'longestStreakWeeks', 21, 'firstWorkoutAt', '2026-02-02T17:04:00Z', 'lastWorkoutAt', '2026-02-27T17:31:00Z', 'previousWorkouts', 11,
  'previousVolumeKg', 90120.25, 'volumeChangePct', 9.22, 'plannedSessions', 13, 'completedSessions', 11, 'adherence', 0.846,
  'setsByMuscle', json_build_object('chest', 42.5, 'triceps', 31, 'quads', 40, 'glutes', 22.5, 'lats', 38, 'biceps', 27, 'abs', 12)
)::text from app.users;
insert into ops.builds (kind, as_of, finished_at, succeeded) values ('marts', now(), now(), true);
"""


@dataclass
class Service:
    """A running server and what to ask it."""

    name: str
    port: int
    process: subprocess.Popen
    requests: Path
    rates: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    p99: list[float] = field(default_factory=list)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(name: str, command: list[str], port: int, environment: dict[str, str], requests: Path) -> Iterator[Service]:
    """The server while the block runs, bound to one core where there are several."""
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, env=os.environ | environment, stdout=log, stderr=log)
        try:
            os.sched_setaffinity(process.pid, the_services_core())
            for _ in range(200):
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        break
                if process.poll() is not None:
                    log.seek(0)
                    raise RuntimeError(f"{name} did not start: {log.read().decode()[-2000:]}")
                time.sleep(0.05)
            yield Service(name, port, process, requests)
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


def uvicorn(application: str, port: int, *, protocol: str = "auto") -> list[str]:
    options = {"port": port, "access_log": False, "server_header": False, "proxy_headers": False, "log_level": "warning", "http": protocol}
    return [sys.executable, "-c", f"import uvicorn; uvicorn.run({application!r}, **{options!r})"]


def write_requests(path: Path, headers: list[str], per_user: dict[int, str] | None = None) -> Path:
    """What to send, and beside it the script that makes wrk send it: a GET for a random user of all, or of those in `per_user`.

    The file holds JSON: the parts before and after the user's number for all users, else whole requests, one a line.
    """
    before, after = "GET /api/v1/summary/user-", "\r\n".join(["?range=30d HTTP/1.1", "Host: 127.0.0.1", *headers])
    script = path.with_suffix(".lua")
    beginning = "math.randomseed(os.time())\nlocal random = math.random\n"
    if per_user is None:
        parts = [before, after + "\r\n\r\n"]
        path.write_text(json.dumps({"parts": parts, "users": USERS}))
        first, last = (json.dumps(part) for part in parts)
        script.write_text(f"{beginning}request = function() return {first} .. random({USERS}) .. {last} end\n")
        return path
    lines = [f"{before}{user}{after}\r\n{extra}\r\n\r\n" for user, extra in per_user.items()]
    path.write_text("\n".join(json.dumps(line) for line in lines))
    raw = path.with_suffix(".raw")
    raw.write_text("\x00".join(lines))
    script.write_text(
        f'{beginning}local requests = {{}}\nlocal file = io.open("{raw}", "rb")\nlocal text = file:read("*a")\nfile:close()\n'
        'for one in text:gmatch("[^%z]+") do requests[#requests + 1] = one end\n'
        "local count = #requests\nrequest = function() return requests[random(count)] end\n"
    )
    return path


def some_users(count: int) -> list[int]:
    """Users in no order, each once."""
    return [1 + (position * 7919) % USERS for position in range(count)]


def load(service: Service, seconds: int) -> tuple[float, float, float]:
    """(requests per second, server's CPU seconds per request, P99 in ms) under CONNECTIONS connections; raises on any failed request."""
    server = psutil.Process(service.process.pid)
    before = sum(server.cpu_times()[:2])
    others = the_other_cores()
    if shutil.which("wrk"):
        command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--latency", "-s", str(service.requests.with_suffix(".lua"))]
        command.append(f"http://127.0.0.1:{service.port}/")
    else:
        command = [sys.executable, "-m", "benchmarks.read_api_peers.client", str(service.port), str(service.requests), str(seconds)]
        command.append(str(CONNECTIONS))
    client = subprocess.run(
        command, capture_output=True, text=True, check=True, preexec_fn=lambda: os.sched_setaffinity(0, others), timeout=seconds + 60
    )
    cpu = sum(server.cpu_times()[:2]) - before
    if shutil.which("wrk"):
        if "Non-2xx" in client.stdout or "Socket errors" in client.stdout:
            raise RuntimeError(f"{service.name}: {client.stdout}")
        requests = int(re.search(r"(\d+) requests in", client.stdout)[1])  # type: ignore[index]
        rate = float(re.search(r"Requests/sec:\s+([\d.]+)", client.stdout)[1])  # type: ignore[index]
        number, unit = re.search(r"99%\s+([\d.]+)(us|ms|s)", client.stdout).groups()  # type: ignore[union-attr]
        return rate, cpu / requests, float(number) * {"us": 0.001, "ms": 1, "s": 1000}[unit]
    answer = json.loads(client.stdout)
    if answer["errors"]:
        raise RuntimeError(f"{service.name}: {answer['errors']} failed requests")
    return answer["requests"] / answer["seconds"], cpu / answer["requests"], answer["p99_ms"]


def etags(port: int, token: str, users: list[int]) -> dict[int, str]:
    """If-None-Match headers by user."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    found = {}
    for user in users:
        connection.request("GET", f"/api/v1/summary/user-{user}?range=30d", headers={"Authorization": f"Bearer {token}"})
        response = connection.getresponse()
        response.read()
        found[user] = f"If-None-Match: {response.headers['ETag']}"
    connection.close()
    return found


def fastify() -> Path | None:
    """Folder with fastify and pg installed, or None where node or its packages aren't to be had."""
    if not (shutil.which("node") and shutil.which("npm")):
        return None
    if not (NODE_MODULES / "node_modules" / "fastify").exists():
        NODE_MODULES.mkdir(parents=True, exist_ok=True)
        (NODE_MODULES / "package.json").write_text("{}")
        installed = subprocess.run(
            ["npm", "install", "--no-audit", "--no-fund", "fastify@5", "pg@8"], cwd=NODE_MODULES, capture_output=True, check=False
        )
        if installed.returncode:
            return None
    shutil.copy(PEERS / "fastify_app.mjs", NODE_MODULES)
    return NODE_MODULES


def run(quick: bool) -> Figures:
    seconds, rounds = (2, 3) if quick else (5, 7)
    with throwaway_postgres() as postgres, tempfile.TemporaryDirectory() as folder:
        populate(postgres)
        keep_aside(postgres)
        return measure(postgres, Path(folder), seconds, rounds, quick=quick)


def the_services_core() -> set[int]:
    """Where each service runs; all cores where there is only one."""
    return {max(os.sched_getaffinity(0))}


def the_other_cores() -> set[int]:
    return os.sched_getaffinity(0) - the_services_core() or os.sched_getaffinity(0)


def keep_aside(postgres: ThrowawayPostgres) -> None:
    """Bind Postgres to the other cores; its new processes begin where the first one is."""
    first = psutil.Process(postgres.server.pid)
    for process in (first, *first.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            process.cpu_affinity(sorted(the_other_cores()))


def populate(postgres: ThrowawayPostgres) -> None:
    with postgres.connect() as connection:
        for statement in POPULATE.split(";\n"):
            if statement.strip():
                connection.execute(statement, {"users": USERS} if "users)s" in statement or "%%" in statement else None)
        connection.execute("vacuum analyze app.users")
        connection.execute("vacuum analyze marts.user_payloads")


def measure(postgres: ThrowawayPostgres, folder: Path, seconds: int, rounds: int, *, quick: bool) -> Figures:
    private, jwks = generate_key_pair()
    token = issue_token(private, "app-server", ["service"], 7200)
    bearer = f"Authorization: Bearer {token}"
    database = postgres.urls[Role.API]
    plain = write_requests(folder / "plain.txt", [bearer])
    some = some_users(1_000 if quick else 20_000)
    own_tokens = {user: f"Authorization: Bearer {issue_token(private, f'user-{user}', ['user'], 7200)}" for user in some}
    with_own = write_requests(folder / "own.txt", [], own_tokens)
    ours_environment = {"MESOCYCLE_API_DATABASE_URL": database, "MESOCYCLE_API_JWKS": jwks}
    ports = [free_port() for _ in range(4)]
    with ExitStack() as stack:
        peer = {"PEER_DATABASE_URL": database, "PEER_BODY_BYTES": "730"}
        bare = stack.enter_context(running("bare", uvicorn("benchmarks.read_api_peers.bare:app", ports[0]), ports[0], peer, plain))
        command = [sys.executable, "-m", "api", "--port", str(ports[1]), "--workers", "1"]
        ours = stack.enter_context(running("ours", command, ports[1], ours_environment, plain))
        tags = etags(ports[1], token, some)
        unchanged = Service("304", ours.port, ours.process, write_requests(folder / "tags.txt", [bearer], tags))
        own_service = Service("own tokens", ours.port, ours.process, with_own)
        services = [bare, ours, unchanged, own_service]
        orm = stack.enter_context(
            running("sqlalchemy", uvicorn("benchmarks.read_api_peers.sqlalchemy_app:app", ports[2]), ports[2], peer, plain)
        )
        services.append(orm)
        node = None
        if modules := fastify():
            command = ["node", str(modules / "fastify_app.mjs")]
            node = stack.enter_context(running("fastify", command, ports[3], peer | {"PEER_PORT": str(ports[3])}, plain))
            services.append(node)
        for service in services:
            if service is unchanged:
                continue  # warm by the requests that asked for the tags
            load(service, 2 if service is ours else 1)  # prepared statements, node's compiler, our memory for last known answers
        memory_before = psutil.Process(ours.process.pid).memory_info().rss
        for number in range(rounds):
            for service in services:
                if quick and number and service not in (bare, ours, unchanged):
                    continue  # what has no goal is measured once
                rate, cpu, p99 = load(service, seconds if service in (bare, ours) else max(1, seconds // 2))
                service.rates.append(rate)
                service.cpu.append(cpu)
                service.p99.append(p99)
        memory_after = psutil.Process(ours.process.pid).memory_info().rss

    def ratios(service: Service) -> list[float]:
        return [mine / base for mine, base in zip(service.rates, bare.rates, strict=False)]

    def cpu_ratios(service: Service) -> list[float]:
        return [base / mine for mine, base in zip(service.cpu, bare.cpu, strict=False)]

    node_peer = {"name": "fastify + pg", "value": statistics.median(ratios(node))} if node else None
    figures = {
        "summary_ratio_to_bare": figure(ratios(ours), "of bare ASGI", node_peer, 0.55, better="higher"),
        "not_modified_ratio_to_bare": figure(ratios(unchanged), "of bare ASGI", None, 0.60, better="higher"),
        "summary_p99_ms": figure(ours.p99, "ms", {"name": "bare", "value": statistics.median(bare.p99)}, 5.0),
        "sqlalchemy_ratio_to_bare": figure(ratios(orm), "of bare ASGI", better="higher"),
        "own_tokens_ratio_to_bare": figure(ratios(own_service), "of bare ASGI", better="higher"),
        "summary_cpu_ratio_to_bare": figure(cpu_ratios(ours), "of bare ASGI", better="higher"),
        "not_modified_cpu_ratio_to_bare": figure(cpu_ratios(unchanged), "of bare ASGI", better="higher"),
        "summary_requests_per_second": figure(ours.rates, "requests/s", {"name": "bare", "value": statistics.median(bare.rates)}),
        "memory_growth_mb": figure((memory_after - memory_before) / 2**20, "MB"),
    }
    if node:
        figures["peer_ratio_to_bare"] = figure(ratios(node), "of bare ASGI", better="higher")
    return figures


if __name__ == "__main__":
    main("read_api", run)
