"""The long-lived plan worker: takes requests in batches, plans them in one vectorised call, writes everything in one transaction.

A batch is two transactions. The first marks the requests as running, so that people can see it. The second locks their rows, plans,
and writes plans, states and events together: when a worker dies its locks die with its connection, and another one takes over.
"""

import argparse
import logging
import os
import signal
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol

import psycopg

from database.connection import connect
from database.plan_requests import CHANNEL, BatchReport, Claimed, ClaimLost, Failure, claim, finish, hold
from database.plans import regenerate_for_users

LARGEST_BATCH = 500
POLL_SECONDS = 1.0
"""Requests are announced by NOTIFY; polling finds retries that have become due and the work of dead workers."""
TRANSACTION_SECONDS = 8
"""Longer than any batch takes: a worker that was frozen finds its transaction ended by Postgres, and its work with another."""
RECONNECT_SECONDS = (0.2, 0.5, 1.0, 2.0)

logger = logging.getLogger("mesocycle.plan_worker")


class Planner(Protocol):
    """Plans users from their raw rows and stores the plans, in the caller's transaction; failures by user_key."""

    def __call__(self, connection: psycopg.Connection, user_keys: Sequence[int], as_of: datetime) -> dict[int, Failure]: ...


def plan_users(connection: psycopg.Connection, user_keys: Sequence[int], as_of: datetime) -> dict[int, Failure]:
    """The engine on the users' raw rows; a refusal is a final failure with the engine's reason."""
    refusals = regenerate_for_users(connection, user_keys, as_of=as_of)
    return {user_key: Failure(code=refusal.code, message=refusal.sentence, final=True) for user_key, refusal in refusals.items()}


@dataclass
class Worker:
    """One worker; several may run side by side. `report` hears of every batch."""

    url: str
    planner: Planner = plan_users
    report: Callable[[BatchReport], None] = lambda _: None
    stopping: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Work until `stopping` is set; a lost connection is opened again. A batch that has begun is finished."""
        failures = 0
        while not self.stopping.is_set():
            try:
                with self._open() as connection, connect(self.url, autocommit=True, application_name="mesocycle plan listener") as listener:
                    listener.execute(f"listen {CHANNEL}")
                    failures = 0
                    self._serve(connection, listener)
            except (psycopg.OperationalError, psycopg.InterfaceError, psycopg.InternalError) as error:
                # Lost, or ended by a timeout of the server's, which psycopg calls internal.
                pause = RECONNECT_SECONDS[min(failures, len(RECONNECT_SECONDS) - 1)]
                failures += 1
                logger.warning("Postgres is away (%s); trying again in %s s.", str(error).strip().split("\n", maxsplit=1)[0], pause)
                self.stopping.wait(pause)

    def drain(self) -> BatchReport:
        """Work off what is due now, then return: what Dagster's sensor runs when no worker lives."""
        total = BatchReport()
        with self._open() as connection:
            while (batch := self.work_once(connection)).users:
                total.users += batch.users
                total.failures += batch.failures
                total.seconds += batch.seconds
        return total

    def _open(self) -> psycopg.Connection:
        connection = connect(self.url, application_name="mesocycle plan worker", autocommit=True)
        connection.execute(f"set statement_timeout = '{TRANSACTION_SECONDS}s'")
        connection.execute(f"set idle_in_transaction_session_timeout = '{TRANSACTION_SECONDS // 2}s'")
        if connection.info.server_version >= 170000:
            connection.execute(f"set transaction_timeout = '{TRANSACTION_SECONDS}s'")
        return connection

    def _serve(self, connection: psycopg.Connection, listener: psycopg.Connection) -> None:
        while not self.stopping.is_set():
            if self.work_once(connection).users:
                continue
            for _ in listener.notifies(timeout=POLL_SECONDS, stop_after=1):
                pass

    def work_once(self, connection: psycopg.Connection) -> BatchReport:
        """Take up one batch, if anything is due. Raises only when the connection is lost."""
        token = uuid.uuid4()
        started = time.perf_counter()
        if not claim(connection, token, LARGEST_BATCH):
            return BatchReport()
        try:
            with connection.transaction():
                requests = hold(connection, token)
                as_of = _transaction_time(connection)
                failures = self._plan(connection, requests, as_of)
                finish(connection, token, requests, failures, as_of)
        except ClaimLost as lost:
            logger.warning("%s", lost)
            return BatchReport()
        batch = BatchReport(len(requests), len(failures), time.perf_counter() - started)
        self.report(batch)
        return batch

    def _plan(self, connection: psycopg.Connection, requests: Sequence[Claimed], as_of: datetime) -> dict[int, Failure]:
        """Plan all at once; where that fails, halve until the requests that fail stand alone."""
        user_keys = sorted({request.user_key for request in requests})
        if not user_keys:
            return {}
        try:
            with connection.transaction():  # a savepoint: what a failing half wrote is undone
                return self.planner(connection, user_keys, as_of)
        except (psycopg.OperationalError, psycopg.InterfaceError):
            raise
        except Exception as error:
            if len(user_keys) == 1:
                logger.exception("Planning user_key %s failed.", user_keys[0])
                return {user_keys[0]: Failure(code="engine.error", message=f"The plan could not be made: {error}")}
        middle = len(user_keys) // 2
        failures: dict[int, Failure] = {}
        for half in (set(user_keys[:middle]), set(user_keys[middle:])):
            failures |= self._plan(connection, [request for request in requests if request.user_key in half], as_of)
        return failures


def _transaction_time(connection: psycopg.Connection) -> datetime:
    row = connection.execute("select now()").fetchone()
    assert row is not None
    instant: datetime = row[0]
    return instant.astimezone(UTC)


def main() -> None:
    """Entry point of the process that the stack starts; SIGTERM finishes the batch."""
    argparse.ArgumentParser(
        description="Plan worker: needs MESOCYCLE_PIPELINE_URL; reports to Dagster where DAGSTER_HOME is set."
    ).parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    reporter = None
    if os.environ.get("DAGSTER_HOME"):
        from orchestration.plan_reports import PlanReporter  # noqa: PLC0415  # costs two seconds that a first request should not wait for

        reporter = PlanReporter()
        reporter.start()
    worker = Worker(os.environ["MESOCYCLE_PIPELINE_URL"], report=reporter.add if reporter else lambda _: None)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: worker.stopping.set())
    logger.info("Plan worker is ready.")
    worker.run()
    if reporter:
        reporter.stop()
    logger.info("Plan worker ended.")


if __name__ == "__main__":
    main()
