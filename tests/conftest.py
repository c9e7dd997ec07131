"""Fixtures that all tests share: a real Postgres, migrated once, cloned for whoever asks; the shared test data."""

import itertools
import shutil
import socket
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from database.bootstrap import bootstrap
from database.connection import Role, connect, url_for
from database.migrate import migrate
from stack.embedded_postgres import EmbeddedPostgres

PROJECT = Path(__file__).parent.parent
PASSWORDS = {role: f"test-{role}" for role in Role}
FAST_SETTINGS = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "shared_buffers": "256MB",
    "max_connections": "100",
    "jit": "off",
    "random_page_cost": "1.1",
    "autovacuum_naptime": "10s",
    "timezone": "UTC",
}
"""A test's cluster is thrown away: nothing of it needs to survive a crash."""


LONGEST_FIRST = (
    "stack/test_up.py",
    "dbt_project/onboarding/test_onboarding_marts.py",
    "dbt_project/analytics/test_marts.py",
    "test_platform.py",
    "api/test_openapi.py",
    "dbt_project/test_dashboard.py",
    "dbt_project/test_materialized_view.py",
    "database/test_erasure.py",
    "dbt_project/test_summaries.py",
    "dbt_project/test_training_state.py",
    "dbt_project/test_random_histories.py",
    "api/test_faults.py",
    "database/test_freshness.py",
    "orchestration/test_plan_worker.py",
)
"""Files that take half a minute and more. They begin, so that two workers end together; a file that is missing here costs only time."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    order = {PROJECT / "tests" / name: position for position, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: order.get(item.path, len(order)))


@dataclass(frozen=True)
class Database:
    """A migrated database of one's own; `url` is the owner's."""

    urls: dict[Role, str]
    admin_url: str

    @property
    def url(self) -> str:
        return self.urls[Role.OWNER]

    def connect(self, role: Role = Role.OWNER, *, autocommit: bool = True) -> psycopg.Connection:
        return connect(self.urls[role], autocommit=autocommit)


@pytest.fixture(scope="session")
def postgres() -> Iterator[EmbeddedPostgres]:
    folder = Path(tempfile.mkdtemp(prefix="mesocycle-test-"))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = EmbeddedPostgres(folder / "data", port)
    server.create("test-superuser")
    server.start(FAST_SETTINGS)
    yield server
    server.stop()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def template(postgres: EmbeddedPostgres) -> str:
    """Name of a database that the real migrations built; others are cloned from it."""
    urls = bootstrap(postgres.url("test-superuser"), database="template_mesocycle", passwords=PASSWORDS)
    migrate(urls[Role.OWNER])
    return "template_mesocycle"


def clone_database(postgres: EmbeddedPostgres, template: str) -> Iterator[Database]:
    """A copy of `template`. Names come back into use, because dbt needs no new parse where its profile is that of an earlier run."""
    admin_url = postgres.url("test-superuser")
    name = next(free for number in itertools.count() if (free := f"test_{number}") not in _names_in_use)
    _names_in_use.add(name)
    with connect(admin_url, autocommit=True) as admin:
        admin.execute(
            sql.SQL("create database {} template {} owner {} strategy file_copy").format(
                sql.Identifier(name), sql.Identifier(template), sql.Identifier(Role.OWNER.role_name)
            )
        )
        for role in Role:
            admin.execute(sql.SQL("grant connect on database {} to {}").format(sql.Identifier(name), sql.Identifier(role.role_name)))
    urls = {role: url_for(admin_url, role=role, password=PASSWORDS[role], database=name) for role in Role}
    yield Database(urls, url_for(admin_url, database=name))
    with connect(admin_url, autocommit=True) as admin:
        admin.execute(sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name)))
    _names_in_use.remove(name)


_names_in_use: set[str] = set()


@pytest.fixture
def database(postgres: EmbeddedPostgres, template: str) -> Iterator[Database]:
    """A migrated, empty database for one test."""
    yield from clone_database(postgres, template)


@pytest.fixture(scope="module")
def module_database(postgres: EmbeddedPostgres, template: str) -> Iterator[Database]:
    """A migrated, empty database that one module's tests share."""
    yield from clone_database(postgres, template)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with real exports and neutral cases beside the checkout; tests that need it skip where it's absent."""
    folder = PROJECT.parent / "shared"
    if not (folder / "lifting-logs").is_dir():
        pytest.skip("the shared test data is not beside this checkout")
    return folder
