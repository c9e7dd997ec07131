"""A bounded load on a running platform, and what it measured against the promises: reads, plan requests, onboarding events."""

import http.client
import json
import math
import random
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final
from urllib.parse import quote

import psycopg
from psycopg.types.json import Jsonb

WORKERS: Final = 8
"""Connections, each with one request at a time: the load stays bounded even where the platform doesn't keep up."""
TIMEOUT_SECONDS: Final = 20.0
PLANS_WAIT_SECONDS: Final = 30.0
MONITORED_FLOW: Final = "monitor"
"""No flow of the app: the funnel doesn't know it, so probes count nowhere."""


class Operation(StrEnum):
    SUMMARY = "read summary"
    RECORDS = "read records"
    PLAN_REQUEST = "request plan"
    EVENT = "onboarding event"


SHARES: Final = {Operation.SUMMARY: 0.6, Operation.RECORDS: 0.25, Operation.PLAN_REQUEST: 0.05, Operation.EVENT: 0.10}
RANGES: Final = ("7d", "30d", "90d", "365d", "all")
CRITERIA: Final = ("plan_request_p95", "api_p95", "plan_ready_p95", "error_share")
"""What can be measured from outside within seconds; targets are those of the scorecard."""


@dataclass
class Measured:
    """Answers to one operation: milliseconds of each, and how many were errors."""

    milliseconds: list[float] = field(default_factory=list)
    errors: int = 0

    def percentile(self, share: float) -> float | None:
        return percentile(self.milliseconds, share)


def percentile(values: Sequence[float], share: float) -> float | None:
    """The smallest value that at least `share` of the values don't exceed (nearest rank); None where there is none."""
    if not values:
        return None
    return sorted(values)[max(math.ceil(share * len(values)) - 1, 0)]


@dataclass(frozen=True)
class Arrival:
    """A request of the schedule: when it is due (seconds after the start) and what it is."""

    due: float
    operation: Operation
    user_id: str
    summary_range: str


def schedule(seconds: float, per_second: float, users: Sequence[str], dice: random.Random) -> list[Arrival]:
    """Evenly spaced arrivals, independent of how fast answers come: a slow platform can't make its own load lighter."""
    operations, weights = list(SHARES), list(SHARES.values())
    return [
        Arrival(number / per_second, dice.choices(operations, weights)[0], dice.choice(users), dice.choice(RANGES))
        for number in range(max(int(seconds * per_second), 1))
    ]


class Load:
    """Sends a schedule to an API and measures each answer from the instant that the request was due."""

    def __init__(self, host: str, port: int, token: str, arrivals: Sequence[Arrival]) -> None:
        self._host, self._port, self._token = host, port, token
        self._arrivals = arrivals
        self._next = 0
        self._lock = threading.Lock()
        self.stopping = threading.Event()
        self.measured = {operation: Measured() for operation in Operation}
        self.job_ids: list[uuid.UUID] = []
        self.first_error: str | None = None
        self._started = 0.0
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        self._started = time.perf_counter()
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(WORKERS)]
        for thread in self._threads:
            thread.start()

    @property
    def running(self) -> bool:
        return any(thread.is_alive() for thread in self._threads)

    @property
    def elapsed(self) -> float:
        return time.perf_counter() - self._started

    def _work(self) -> None:
        connection = http.client.HTTPConnection(self._host, self._port, timeout=TIMEOUT_SECONDS)
        while not self.stopping.is_set():
            with self._lock:
                if self._next >= len(self._arrivals):
                    break
                arrival = self._arrivals[self._next]
                self._next += 1
            if self.stopping.wait(max(arrival.due - self.elapsed, 0)):
                break
            status, body = self._send(connection, arrival)
            milliseconds = (self.elapsed - arrival.due) * 1000
            with self._lock:
                result = self.measured[arrival.operation]
                result.milliseconds.append(milliseconds)
                if status not in (200, 202):
                    result.errors += 1
                    self.first_error = (
                        self.first_error or f"{arrival.operation}: {status or 'no answer'} {body[:200].decode(errors='replace')}"
                    )
                elif arrival.operation is Operation.PLAN_REQUEST:
                    self.job_ids.append(uuid.UUID(json.loads(body)["jobId"]))
        connection.close()

    def _send(self, connection: http.client.HTTPConnection, arrival: Arrival) -> tuple[int, bytes]:
        method, path, body = self._request(arrival)
        headers = {"Authorization": f"Bearer {self._token}"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        try:
            connection.request(method, path, body=body, headers=headers)
            response = connection.getresponse()
            return response.status, response.read()
        except (OSError, http.client.HTTPException) as error:
            connection.close()  # the next request opens another one
            return 0, repr(error).encode()

    def _request(self, arrival: Arrival) -> tuple[str, str, str | None]:
        user = quote(arrival.user_id, safe="")
        match arrival.operation:
            case Operation.SUMMARY:
                return "GET", f"/api/v1/summary/{user}?range={arrival.summary_range}", None
            case Operation.RECORDS:
                return "GET", f"/api/v1/records/{user}", None
            case Operation.PLAN_REQUEST:
                return "POST", "/api/v1/plans/generate", json.dumps({"userId": arrival.user_id, "reason": "monitor"})
            case Operation.EVENT:
                event = {
                    "eventId": str(uuid.uuid4()),
                    "anonymousId": "mesocycle-monitor",
                    "flow": MONITORED_FLOW,
                    "step": "probe",
                    "eventType": "completed",
                    "occurredAt": datetime.now(UTC).isoformat(),
                }
                return "POST", "/api/v1/onboarding/step", json.dumps(event)


@dataclass(frozen=True)
class Plans:
    """What became of the plan jobs of a run: milliseconds from request to plan, failures, and what was still open at the end."""

    milliseconds: Sequence[float]
    failed: int
    unfinished: int


def wait_for_plans(connection: psycopg.Connection, job_ids: Sequence[uuid.UUID], *, seconds: float = PLANS_WAIT_SECONDS) -> Plans:
    """The jobs once they are finished, or as they are after `seconds`."""
    jobs = list(set(job_ids))
    deadline = time.monotonic() + seconds
    while True:
        rows = connection.execute(
            """
            select
              case when status = 'failed' and failure_code like 'refused.%%' then 'refused' else status end,
              extract(epoch from finished_at - requested_at)::float8 * 1000
            from app.plan_requests
            where job_id = any(%s)
            """,
            [jobs],
        ).fetchall()
        connection.commit()
        unfinished = sum(status not in ("succeeded", "refused", "failed") for status, _ in rows)
        if not unfinished or time.monotonic() > deadline:
            times = [milliseconds for status, milliseconds in rows if status == "succeeded"]
            return Plans(times, sum(status == "failed" for status, _ in rows), unfinished)
        time.sleep(0.1)


def report(
    measured: Mapping[Operation, Measured], plans: Plans, targets: Mapping[str, Mapping[str, Any]], *, seconds: float
) -> dict[str, Any]:
    """The run as JSON: operations, plans, and each target with the value and whether it was met. `targets` are rows of marts.metrics."""
    every = [value for result in measured.values() for value in result.milliseconds]
    requests, errors = len(every), sum(result.errors for result in measured.values())
    finished = len(plans.milliseconds) + plans.failed + plans.unfinished
    total = requests + finished
    values = {
        "plan_request_p95": measured[Operation.PLAN_REQUEST].percentile(0.95),
        "api_p95": percentile(every, 0.95),
        # A plan that never came is no fast plan: as long as one is missing, nobody knows how long it takes.
        "plan_ready_p95": None if plans.unfinished else percentile(plans.milliseconds, 0.95),
        "error_share": (errors + plans.failed + plans.unfinished) / total if total else None,
    }
    judged = []
    for criterion in CRITERIA:
        target, value = targets[criterion], values[criterion]
        judged.append(
            {
                "criterion": criterion,
                "label": target["label"],
                "unit": target["unit"],
                "target": target["target"],
                "value": _rounded(value, 5),
                "isMet": value is not None and value < target["target"],
            }
        )
    return {
        "seconds": round(seconds, 3),
        "requests": requests,
        "errors": errors,
        "operations": [
            {
                "operation": operation.value,
                "requests": len(result.milliseconds),
                "errors": result.errors,
                "perSecond": round(len(result.milliseconds) / seconds, 2) if seconds else 0.0,
                **{f"p{round(100 * share)}Ms": _rounded(result.percentile(share)) for share in (0.5, 0.95, 0.99)},
                "maxMs": _rounded(max(result.milliseconds, default=None)),
            }
            for operation, result in measured.items()
        ],
        "plans": {
            "finished": len(plans.milliseconds),
            "failed": plans.failed,
            "unfinished": plans.unfinished,
            **{f"p{round(100 * share)}Ms": _rounded(percentile(plans.milliseconds, share)) for share in (0.5, 0.95, 0.99)},
        },
        "targets": judged,
        "passed": all(row["isMet"] for row in judged),
    }


def _rounded(value: float | None, digits: int = 3) -> float | None:
    return None if value is None else round(value, digits)


def read_targets(connection: psycopg.Connection) -> dict[str, dict[str, Any]]:
    """label, unit and target of the criteria, as the scorecard has them."""
    rows = connection.execute("select metric, label, unit, target from marts.metrics where metric = any(%s)", [list(CRITERIA)]).fetchall()
    return {metric: {"label": label, "unit": unit, "target": target} for metric, label, unit, target in rows}


def some_users(connection: psycopg.Connection, at_most: int = 200) -> list[str]:
    """Ids of users to read and plan for, spread over all of them."""
    rows: Iterable[tuple[str]] = connection.execute(
        "select user_id from app.users order by md5(user_key::text) limit %s", [at_most]
    ).fetchall()
    return [user_id for (user_id,) in rows]


def save(connection: psycopg.Connection, started_at: datetime, result: Mapping[str, Any]) -> int:
    """Write the run to ops.monitor_runs; returns its key."""
    row = connection.execute(
        "insert into ops.monitor_runs (started_at, passed, requests, errors, report) values (%s, %s, %s, %s, %s) returning run_key",
        [started_at, result["passed"], result["requests"], result["errors"], Jsonb(dict(result))],
    ).fetchone()
    connection.commit()
    assert row is not None
    return int(row[0])


def drive(load: Load, show: Callable[[], None], *, interval_seconds: float = 0.25) -> float:
    """Run the load to its end (or until Ctrl-C, which ends it early); returns how many seconds it took."""
    load.start()
    try:
        while load.running:
            time.sleep(interval_seconds)
            show()
    except KeyboardInterrupt:
        load.stopping.set()
        while load.running:
            time.sleep(0.05)
    return load.elapsed
