"""Plan jobs as the API sees them: record a request, read a status, and wait for a change without holding a connection."""

import asyncio
import contextlib
import hashlib
import logging
import re
import uuid
from collections import defaultdict
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any, Final

import asyncpg
import orjson
from uuid_utils.compat import uuid7

from api.errors import JOB_NOT_FOUND, KEY_REUSED, USER_NOT_FOUND, Problem
from api.postgres import Database, open_connection
from api.settings import Settings

log = logging.getLogger("mesocycle.api")

CHANNEL: Final = "plan_jobs"
LONGEST_WAIT_SECONDS: Final = 30
WAIT: Final = re.compile(r"(?:^|[,;])\s*wait\s*=\s*\"?(\d{1,6})\"?", re.IGNORECASE)
STATUS_QUERY: Final = "select * from app.plan_request_status($1::uuid[])"


async def request_plan(
    database: Database, user_id: str, *, reason: str | None, caller: str, idempotency_key: str | None
) -> tuple[uuid.UUID, str, datetime]:
    """(job id, status, requested at) of the job that now stands for this request; one round trip.

    Problems: USER_NOT_FOUND; KEY_REUSED where the key came with another body before.
    """
    body_hash = hashlib.sha256(orjson.dumps([user_id, reason])).digest()
    row = await database.fetchrow(
        "select * from app.request_plan($1, $2, $3, $4, $5, $6)", user_id, uuid7(), reason, caller, idempotency_key, body_hash
    )
    assert row is not None
    if row["outcome"] == "unknown_user":
        raise Problem(USER_NOT_FOUND, f"No user has the id {user_id!r}.")
    if row["outcome"] == "key_conflict":
        raise Problem(KEY_REUSED)
    return row["job_id"], row["status"], row["requested_at"]


async def read_job(database: Database, job_id: uuid.UUID) -> asyncpg.Record:
    """One job; Problem JOB_NOT_FOUND."""
    row = await database.fetchrow(STATUS_QUERY, [job_id])
    if row is None:
        raise Problem(JOB_NOT_FOUND, f"No job has the id {job_id}.")
    return row


def wanted_wait(prefer: str | None) -> int:
    """Seconds that `Prefer: wait=N` (RFC 7240) asks for, at most LONGEST_WAIT_SECONDS; 0 where it doesn't ask."""
    found = WAIT.search(prefer or "")
    return min(int(found[1]), LONGEST_WAIT_SECONDS) if found else 0


class JobChanges:
    """Tells waiting status calls that their job changed: one connection listens, one query answers everybody who waits."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._settings = settings
        self._database = database
        self._waiting: dict[uuid.UUID, dict[asyncio.Future[None], str]] = defaultdict(dict)
        """By job: who waits, and the status that each of them saw."""
        self._wake = asyncio.Event()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Listen as long as the block runs; a lost connection is opened again."""
        tasks = [asyncio.create_task(self._listen()), asyncio.create_task(self._answer())]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for futures in self._waiting.values():
                for future in futures:
                    future.cancel()

    async def wait(self, job_id: uuid.UUID, status: str, seconds: float) -> None:
        """Return when the job's status is no longer `status`, or after `seconds`."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[job_id][future] = status
        self._wake.set()  # it may have changed between the caller's look and this line
        try:
            async with asyncio.timeout(seconds):
                await future
        except TimeoutError:
            pass
        finally:
            del self._waiting[job_id][future]
            if not self._waiting[job_id]:
                del self._waiting[job_id]

    async def _listen(self) -> None:
        while True:
            connection: Any = None
            try:
                connection = await open_connection(self._settings)
                await connection.add_listener(CHANNEL, lambda *_: self._wake.set())
                self._wake.set()  # whatever was announced while nobody listened
                while not connection.is_closed():
                    await asyncio.sleep(1.0)
            except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
                await asyncio.sleep(0.5)
            finally:
                if connection is not None:
                    connection.terminate()

    async def _answer(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            if not self._waiting:
                continue
            try:
                rows = await self._database.fetch(STATUS_QUERY, list(self._waiting))
            except (Problem, OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
                log.warning("waiting status calls could not be answered: %s", error)
                await asyncio.sleep(0.5)
                self._wake.set()
                continue
            for row in rows:
                for future, seen in self._waiting.get(row["job_id"], {}).items():
                    if row["status"] != seen and not future.done():
                        future.set_result(None)
            await asyncio.sleep(0.02)  # a busy worker announces many batches: one look serves them all
