"""Precomputed payloads: many requests share one prepared statement, and the last known answers outlive Postgres.

Postgres answers one row by key in a few microseconds; what costs is the way there. So the requests that arrive in one turn of the
event loop (and those that arrive while a query runs) become the rows of one query. Nobody waits for anybody else: a connection takes its
share of what is there and asks, and only then writes the answers of the query before, so that Postgres works meanwhile.
"""

import asyncio
import contextlib
import logging
import time
from collections import OrderedDict, deque
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Final, Protocol

import asyncpg

from api.errors import NOT_BUILT, OVERLOADED, PLAN_NOT_FOUND, UNAVAILABLE, USER_NOT_FOUND, Problem
from api.plan_versions import writers_version
from api.postgres import LOST, open_connection
from api.representation import Build, Representation, of_row, represent
from api.settings import Settings
from database.erasure import ERASED, GONE
from database.marts import READ_BUILD, READ_MANY

log = logging.getLogger("mesocycle.api")


PLAN: Final = "plan"
MOST_AT_ONCE: Final = 512
"""Keys in one query."""
WORTH_A_QUERY: Final = 8
"""Keys; fewer are not shared between connections, because a query costs Postgres as much as so many keys."""
MOST_WAITING: Final = 4096
"""Requests that may wait for the next query; more are refused at once."""
RECONNECT_SECONDS: Final = 0.2
CONFIRMED_SECONDS: Final = 1.0
"""For so long after a query saw the current build, a copy from memory of that build counts as checked."""
OVERHEAD_BYTES: Final = 600
"""What a remembered representation takes besides its body."""


Key = tuple[str, str]
"""(user_id, resource)"""


class Reader(Protocol):
    """Who waits for a payload: a future, or what behaves like one. `done()` says that nobody waits any more."""

    def done(self) -> bool: ...

    def set_result(self, result: Representation, /) -> None: ...

    def set_exception(self, exception: Problem, /) -> None: ...


Batch = list[tuple[Key, Reader]]


class Memory:
    """The representations served last, within a limit of bytes; the oldest leave first."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._items: OrderedDict[Key, Representation] = OrderedDict()  # a dict finds its oldest item the slower the more have left
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._items)

    def get(self, key: Key) -> Representation | None:
        return self._items.get(key)

    def put(self, key: Key, item: Representation) -> None:
        items = self._items
        previous = items.get(key)
        items[key] = item
        if previous is not None:
            items.move_to_end(key)
            self.bytes += len(item.body) - len(previous.body)
        else:
            self.bytes += len(item.body) + OVERHEAD_BYTES
        while self.bytes > self._limit:
            _, oldest = items.popitem(last=False)
            self.bytes -= len(oldest.body) + OVERHEAD_BYTES

    def forget(self, key: Key) -> None:
        previous = self._items.pop(key, None)
        if previous is not None:
            self.bytes -= len(previous.body) + OVERHEAD_BYTES

    @property
    def user_ids(self) -> set[str]:
        return {user_id for user_id, _ in self._items}

    def forget_users(self, user_ids: set[str]) -> None:
        for key in [key for key in self._items if key[0] in user_ids]:
            self.forget(key)


class PayloadReader:
    """Reads payloads of users by key. `start()` and `close()` belong to the application's lifespan."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._pending: deque[tuple[Key, Reader]] = deque()
        self._idle: list[asyncio.Future[None]] = []
        self._is_leaving = False
        self._under_way = 0
        self._connected = 0
        self._reason: Problem | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._builds: dict[int, Build] = {}
        self.memory = Memory(settings.stale_bytes)
        self.build: Build | None = None
        self.confirmed_at = float("-inf")
        self._trusted_since = float("-inf")
        """What was read before may be of somebody who was erased meanwhile."""

    async def start(self) -> None:
        """Begin to connect; waits a moment for the first connection, but doesn't need it."""
        self._loop = asyncio.get_running_loop()
        for _ in range(self._settings.reader_connections):
            self._tasks.append(asyncio.create_task(self._serve()))
        self._tasks.append(asyncio.create_task(self._beat()))
        with contextlib.suppress(Problem, TimeoutError):
            async with asyncio.timeout(self._settings.connect_seconds):
                while not self._connected and self._reason is None:
                    await asyncio.sleep(0.005)

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._fail_pending(Problem(UNAVAILABLE))

    @property
    def is_connected(self) -> bool:
        return self._connected > 0

    def read(self, user_id: str, resource: str) -> "asyncio.Future[Representation]":
        """The user's payload as of now. The future raises Problem USER_NOT_FOUND, NOT_BUILT, UNAVAILABLE or OVERLOADED."""
        future: asyncio.Future[Representation] = asyncio.get_running_loop().create_future()
        self.read_for(future, user_id, resource)
        return future

    def read_for(self, reader: Reader, user_id: str, resource: str) -> None:
        """The same for anybody who takes a result or an exception as a future does."""
        if not self._connected:
            reader.set_exception(self._copy_of(self._reason or Problem(UNAVAILABLE)))
        elif len(self._pending) >= MOST_WAITING:
            reader.set_exception(Problem(OVERLOADED))
        else:
            self._pending.append(((user_id, resource), reader))
            if self._idle and not self._is_leaving:
                self._is_leaving = True
                self._loop.call_soon(self._leave)  # after the other requests of this turn

    def _leave(self) -> None:
        """Wake connections that have nothing to do, as many as what waits is worth."""
        self._is_leaving = False
        for _ in range(min(len(self._idle), -(-len(self._pending) // WORTH_A_QUERY))):
            wake = self._idle.pop()
            if not wake.done():  # else the reader is about to end
                wake.set_result(None)

    def unchanged(self, user_id: str, resource: str) -> Representation | None:
        """The representation served last, if the build that it came from was seen to be the current one within a second."""
        known = self.memory.get((user_id, resource))
        if known is None or self.build is None or known.build_key != self.build.key or known.read_at < self._trusted_since:
            return None
        return known if time.monotonic() - self.confirmed_at < CONFIRMED_SECONDS else None

    def last_known(self, user_id: str, resource: str) -> Representation | None:
        """What was served last, if that isn't too long ago to be served while Postgres is gone."""
        known = self.memory.get((user_id, resource))
        if known is None or time.monotonic() - known.read_at > self._settings.stale_seconds:
            return None
        return known

    async def _serve(self) -> None:
        """One connection's life: connect, answer batches until something breaks, connect again."""
        while True:
            connection = None
            try:
                connection = await open_connection(self._settings, plan_cache_mode="force_generic_plan", default_transaction_read_only="on")
                statement = await connection.prepare(READ_MANY)
                await connection.add_listener(ERASED, self._forget_erased)
                if not self._connected:  # nobody has listened until now
                    self._trusted_since = time.monotonic()
                    gone = await connection.fetch(GONE, list(self.memory.user_ids))
                    self.memory.forget_users({user_id for (user_id,) in gone})
                self._connected += 1
                self._reason = None
                try:
                    while True:
                        batch = await self._next_batch(connection)
                        await self._ask(connection, statement, batch)
                finally:
                    self._connected -= 1
            except asyncpg.UndefinedTableError:
                self._break(Problem(NOT_BUILT))
            except LOST as error:
                if self._reason is None:
                    log.warning("the payload reader lost its connection: %s", type(error).__name__)
                self._break(Problem(UNAVAILABLE))
            except Exception:
                # A defect of ours: without this it would end the reader for good, and silently.
                log.exception("the payload reader failed; it begins anew")
                self._break(Problem(UNAVAILABLE))
            finally:
                if connection is not None:
                    connection.terminate()
            await asyncio.sleep(RECONNECT_SECONDS)

    def _forget_erased(self, _connection: Any, _pid: int, _channel: str, user_id: str) -> None:
        self.memory.forget_users({user_id})
        self._trusted_since = time.monotonic()  # a batch that is under way may have seen the user

    def _break(self, reason: Problem) -> None:
        if not self._connected:
            self._reason = reason
            self._fail_pending(reason)

    def _fail_pending(self, problem: Problem) -> None:
        waiting = list(self._pending)
        self._pending.clear()
        self._fail(waiting, problem)

    def _fail(self, batch: Iterable[tuple[Key, Reader]], problem: Problem) -> None:
        for _, reader in batch:
            if not reader.done():
                reader.set_exception(self._copy_of(problem))

    @staticmethod
    def _copy_of(problem: Problem) -> Problem:
        return Problem(problem.kind, problem.detail, headers=problem.headers)  # one exception object per raise: tracebacks add up

    async def _next_batch(self, connection: Any) -> Batch:
        """The connection's share of what waits, at least one request. Raises ConnectionResetError where the connection has ended."""
        pending = self._pending
        while not pending:
            wake: asyncio.Future[None] = self._loop.create_future()
            self._idle.append(wake)
            try:
                await wake
            finally:
                if wake in self._idle:
                    self._idle.remove(wake)
        if connection.is_closed():
            # Postgres went while nobody asked. Those who wait now needn't be told so: another connection may be sound.
            self._leave()
            raise ConnectionResetError
        # Equal shares keep all connections busy: with one large query Postgres and this process would wait for each other in turn.
        share = -(-(len(pending) + self._under_way) // self._connected)
        size = min(max(share, WORTH_A_QUERY), MOST_AT_ONCE, len(pending))
        return [pending.popleft() for _ in range(size)]

    async def _ask(self, connection: Any, statement: Any, batch: Batch) -> None:
        """Read a batch; its answers are written in the next turn of the loop, when this connection's next query has left."""
        asked_at = time.monotonic()
        self._under_way += len(batch)
        try:
            rows = await statement.fetch([key[0] for key, _ in batch], [key[1] for key, _ in batch])
            build_key = rows[0][0]
            build = self._builds.get(build_key) or await self._learn(connection, build_key)
        except BaseException as error:
            self._fail(batch, Problem(NOT_BUILT) if isinstance(error, asyncpg.UndefinedTableError) else Problem(UNAVAILABLE))
            raise
        finally:
            self._under_way -= len(batch)
        self.confirmed_at = asked_at
        self.build = build
        self._loop.call_soon(self._answer, batch, rows, build, asked_at)

    def _answer(self, batch: Batch, rows: list[Any], build: Build | None, asked_at: float) -> None:
        for (key, reader), (_, user_key, payload, payload_hash) in zip(batch, rows, strict=True):
            if reader.done():
                continue  # its client has gone
            try:
                if user_key is None:
                    self.memory.forget(key)
                    reader.set_exception(Problem(USER_NOT_FOUND))
                elif key[1] == PLAN:
                    self._tell_plan(key, reader, payload, asked_at)
                elif build is None:
                    reader.set_exception(Problem(NOT_BUILT))
                else:
                    found = represent(key[0], key[1], payload, payload_hash, build, asked_at)
                    if asked_at >= self._trusted_since:
                        self.memory.put(key, found)
                    reader.set_result(found)
            except Exception:
                # A defect of ours: without this the others of the batch would wait for ever.
                log.exception("an answer could not be made")
                self._fail([(key, reader)], Problem(UNAVAILABLE))

    def _tell_plan(self, key: Key, reader: Reader, which: str | None, asked_at: float) -> None:
        """The plan if it was served last, else only which one it is: writing it out is the route's work."""
        if which is None:
            reader.set_exception(Problem(PLAN_NOT_FOUND))
            return
        plan_id, _, made_at = which.partition("/")
        known = self.memory.get(key)
        if known is not None and known.build_key == int(plan_id):
            known.read_at = asked_at
            reader.set_result(known)
        else:
            reader.set_result(of_row(int(plan_id), writers_version(), datetime.fromtimestamp(float(made_at), UTC)))

    def remember(self, user_id: str, resource: str, found: Representation) -> None:
        """Keep what a route has written out, unless somebody was erased since it was read."""
        if found.read_at >= self._trusted_since:
            self.memory.put((user_id, resource), found)

    async def _learn(self, connection: Any, build_key: int | None) -> Build | None:
        if build_key is None:
            return None
        row = await connection.fetchrow(READ_BUILD, build_key)
        if row is None:
            return None
        build = Build.of(build_key, row["as_of"], row["finished_at"])
        if len(self._builds) > 100:
            self._builds.clear()
        self._builds[build_key] = build
        return build

    async def _beat(self) -> None:
        """Ask for the current build while no request does, so that 304 answers and /readyz know it."""
        while True:
            await asyncio.sleep(self._settings.pulse_seconds)
            if time.monotonic() - self.confirmed_at > self._settings.pulse_seconds / 2:
                with contextlib.suppress(Problem):
                    await self.read("", "")
