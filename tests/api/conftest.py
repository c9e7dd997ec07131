"""A database whose marts dbt has built from a few real users, the application over it, and tokens for it."""

import asyncio
import datetime
import random
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
import uvicorn

from api.app import create_app
from api.server import configuration
from api.settings import Settings
from api.tokens import generate_key_pair, issue_token
from database.connection import Role
from tests.conftest import Database, clone_database
from tests.dbt_project.population import add_exercises, add_user, add_workout, random_sets
from tests.dbt_project.support import run_dbt

AS_OF = datetime.datetime(2025, 7, 1, 12, tzinfo=datetime.UTC)
USERS = ("lifter", "beginner", "idle", "müller/ü", "auth0|42")


@dataclass(frozen=True)
class Keys:
    """One signing key and the set that verifies it."""

    private: str
    jwks: str

    def token(self, subject: str = "lifter", *scopes: str, lifetime: float = 600, **claims: Any) -> str:
        return issue_token(self.private, subject, scopes or ("user",), lifetime, **claims)

    def header(self, subject: str = "lifter", *scopes: str, **arguments: Any) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token(subject, *scopes, **arguments)}"}


@pytest.fixture(scope="session")
def keys() -> Keys:
    return Keys(*generate_key_pair())


@pytest.fixture(scope="session")
def built_template(postgres, template) -> Iterator[Database]:
    """A database with built marts; tests get it (read only) or a clone of it."""
    made = clone_database(postgres, template)
    database = next(made)
    dice = random.Random(7)
    with database.connect() as connection:
        add_exercises(connection)
        user_keys = {user: add_user(connection, user, "Europe/Berlin" if user == "lifter" else "UTC") for user in USERS}
        for user, workouts in (("lifter", 60), ("beginner", 3), ("müller/ü", 5), ("auth0|42", 1)):
            for _ in range(workouts):
                started = AS_OF - datetime.timedelta(minutes=dice.randrange(1, 200 * 24 * 60))
                add_workout(connection, user_keys[user], started, [*random_sets(dice), (50, 1, "normal", 60, 8, None, None, 8)])
        add_workout(connection, user_keys["lifter"], AS_OF + datetime.timedelta(days=3), [(1, 1, "normal", 60, 8, None, None, None)])
    run_dbt(database, "run", "--select", "+user_payloads", "+user_days", as_of=AS_OF)
    add_build(database)
    with database.connect() as connection:
        add_user(connection, "newcomer")  # signed up after the build
    yield database
    made.close()


def add_build(database: Database, as_of: datetime.datetime = AS_OF) -> None:
    with database.connect() as connection:
        connection.execute("insert into ops.builds (kind, as_of, finished_at, succeeded) values ('marts', %s, now(), true)", [as_of])


@pytest.fixture
def built(postgres, built_template: Database) -> Iterator[Database]:
    """A clone of the built database, for tests that change something; what other tests' answers took isn't in it."""
    made = clone_database(postgres, built_template.url.rsplit("/", 1)[1])
    database = next(made)
    with database.connect() as connection:
        connection.execute("truncate ops.api_latency, ops.api_latency_totals, ops.api_processes")
    yield database
    made.close()


def settings_for(database: Database, keys: Keys, **changes: Any) -> Settings:
    return Settings(database_url=database.urls[Role.API], jwks=keys.jwks, **changes)


@asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the application, inside of its lifespan."""
    application = create_app(settings)
    transport = httpx.ASGITransport(application, raise_app_exceptions=False)
    async with application.router.lifespan_context(application), httpx.AsyncClient(transport=transport, base_url="http://api") as client:
        client.application = application  # type: ignore[attr-defined]
        yield client


@asynccontextmanager
async def listening(settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the application behind its own server on a port, as in production: only so is there a fast lane."""
    application = create_app(settings)
    server = uvicorn.Server(configuration(settings, host="127.0.0.1", port=0, application=application))
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        running = asyncio.create_task(server.serve(sockets=[listener]))
        while not server.started and not running.done():
            await asyncio.sleep(0.01)
        try:
            address = f"http://127.0.0.1:{listener.getsockname()[1]}"
            async with httpx.AsyncClient(base_url=address, timeout=30) as client:
                client.application = application  # type: ignore[attr-defined]
                client.server = server  # type: ignore[attr-defined]
                yield client
        finally:
            server.should_exit = True
            await running
