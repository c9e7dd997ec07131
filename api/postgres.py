"""The API's connections for everything but precomputed payloads: a pool that fails fast and heals at once."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from api.errors import OVERLOADED, UNAVAILABLE, Problem
from api.settings import Settings

LOST = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
"""What a connection may end with. asyncpg raises InternalClientError when the server goes between two messages."""
SERVER_SETTINGS = {
    "application_name": "mesocycle-api",
    "timezone": "UTC",
    "jit": "off",  # compiling costs more than one row is worth
    "idle_in_transaction_session_timeout": "10s",
}


async def open_connection(settings: Settings, **server_settings: str) -> asyncpg.Connection:
    """A connection of the API's role. Gives up after `connect_seconds`."""
    return await asyncpg.connect(
        settings.dsn,
        timeout=settings.connect_seconds,
        command_timeout=settings.query_seconds,
        server_settings=SERVER_SETTINGS | {"statement_timeout": f"{int(settings.query_seconds * 1000)}"} | server_settings,
    )


class Database:
    """`async with database.connection() as connection`: waits shortly, then refuses; a connection in doubt is thrown away."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._free: list[asyncpg.Connection] = []
        self._slots = asyncio.Semaphore(settings.pool_size)
        self._waiting = 0
        self._closed = False

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[asyncpg.Connection]:
        """A connection outside of any transaction. Raises Problem OVERLOADED or UNAVAILABLE."""
        await self._take_slot()
        try:
            connection = await self._connected()
            sound = False
            try:
                yield connection
                sound = True
            except asyncpg.PostgresError as error:
                # The server has answered: the connection is fine unless the server took it away.
                sound = not isinstance(error, asyncpg.PostgresConnectionError | asyncpg.OperatorInterventionError)
                raise
            except Problem:
                sound = True
                raise
            finally:
                # Anything else (a timeout, a cancelled request) may have left a statement running. asyncpg would ask the
                # server to cancel it and wait for that, which never ends when the server is frozen.
                if sound and not connection.is_closed() and not connection.is_in_transaction() and not self._closed:
                    self._free.append(connection)
                else:
                    connection.terminate()
        finally:
            self._slots.release()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[asyncpg.Connection]:
        """The same inside one transaction, which is committed at the end or rolled back on an error."""
        async with self.connection() as connection:
            await connection.execute("begin")
            try:
                yield connection
            except (asyncpg.PostgresError, Problem) as error:
                if not connection.is_closed() and not isinstance(error, asyncpg.OperatorInterventionError):
                    await connection.execute("rollback")
                raise
            # After any other error (a timeout, a cancelled request) the connection is thrown away, which rolls back, too.
            await connection.execute("commit")

    async def fetch(self, query: str, *arguments: Any) -> list[asyncpg.Record]:
        async with self.connection() as connection:
            return list(await connection.fetch(query, *arguments))

    async def fetchrow(self, query: str, *arguments: Any) -> asyncpg.Record | None:
        async with self.connection() as connection:
            return await connection.fetchrow(query, *arguments)

    async def _take_slot(self) -> None:
        if self._slots.locked():
            if self._waiting >= self._settings.pool_waiting:
                raise Problem(OVERLOADED)
            self._waiting += 1
            try:
                async with asyncio.timeout(self._settings.pool_wait_seconds):
                    await self._slots.acquire()
            except TimeoutError:
                raise Problem(OVERLOADED) from None
            finally:
                self._waiting -= 1
        else:
            await self._slots.acquire()

    async def _connected(self) -> asyncpg.Connection:
        while self._free:
            connection = self._free.pop()
            if not connection.is_closed():
                return connection
        try:
            return await open_connection(self._settings)
        except LOST as error:
            if isinstance(error, asyncpg.TooManyConnectionsError):
                raise Problem(OVERLOADED) from None
            raise Problem(UNAVAILABLE) from None

    async def close(self) -> None:
        self._closed = True
        while self._free:
            connection = self._free.pop()
            try:
                await connection.close(timeout=1)
            except LOST:
                connection.terminate()
