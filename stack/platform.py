"""Starts the platform step by step, and says what it does: Postgres, schema, sample data, Dagster, API, first build."""

import os
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psutil
import psycopg

from database.bootstrap import bootstrap, database_name
from database.connection import Role, connect, url_for
from database.migrate import migrate
from orchestration.dbt import prepare_manifest
from stack.embedded_postgres import EmbeddedPostgres, server_settings
from stack.home import PROJECT, Home, free_port
from stack.supervisor import Service, Supervisor, stop_processes

DATABASE = "mesocycle"
STORAGE_DATABASE = "mesocycle_dagster"
PREFERRED_PORTS = {"postgres": 5432, "dagster": 3000, "api": 8000}
LOOPBACK = "127.0.0.1"


class PlatformError(RuntimeError):
    """The platform could not be started; the message says what to do."""


@dataclass(frozen=True)
class Options:
    """What `mesocycle up` was asked for."""

    sample: bool = True
    ports: Mapping[str, int] | None = None
    external_url: str | None = None
    api_workers: int | None = None


class Platform:
    """One platform in one home folder. `say` prints a line for a person; `external_url` is an administrator's of an existing Postgres."""

    def __init__(self, home: Home, say: Callable[[str], None], external_url: str | None = None) -> None:
        self.home = home
        self._say = say
        self.supervisor = Supervisor(home, say)
        self.ports: dict[str, int] = {}
        self.external_url = external_url

    @classmethod
    def recorded(cls, home: Home) -> "Platform":
        """The platform as its home's state tells it, running or not."""
        state = home.state()
        platform = cls(home, lambda _: None, state.get("external_url"))
        platform.ports = dict(state.get("ports", {}))
        return platform

    # Addresses

    @property
    def postgres(self) -> EmbeddedPostgres:
        return EmbeddedPostgres(self.home.postgres_folder, self.ports["postgres"])

    @property
    def admin_url(self) -> str:
        return self.external_url or self.postgres.url(self.home.secrets()["superuser_password"])

    @property
    def database(self) -> str:
        """Name of the platform's database."""
        return database_name(self.external_url) if self.external_url else DATABASE

    def url(self, role: Role, database: str | None = None) -> str:
        """A role's URL of the platform's database (or of another one of the same server)."""
        return url_for(self.admin_url, role=role, password=self.home.passwords()[role], database=database or self.database)

    @property
    def storage_url(self) -> str:
        return self.url(Role.PIPELINE, STORAGE_DATABASE)

    def address(self, service: str) -> str:
        return f"http://{LOOPBACK}:{self.ports[service]}"

    def environment(self) -> dict[str, str]:
        """What every process of the platform reads; nothing else tells them where things are."""
        secrets = self.home.secrets()
        return {
            "MESOCYCLE_HOME": str(self.home.folder),
            "MESOCYCLE_OWNER_URL": self.url(Role.OWNER),
            "MESOCYCLE_PIPELINE_URL": self.url(Role.PIPELINE),
            "MESOCYCLE_DAGSTER_STORAGE_URL": self.storage_url,
            "MESOCYCLE_COMPUTE_LOGS": str(self.home.dagster_folder / "compute_logs"),
            "MESOCYCLE_DBT_TARGET": str(self.home.dbt_folder),
            "DAGSTER_HOME": str(self.home.dagster_folder),
            "DAGSTER_DISABLE_TELEMETRY": "1",
            "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
            "DO_NOT_TRACK": "1",
            "MESOCYCLE_API_DATABASE_URL": self.url(Role.API),
            "MESOCYCLE_API_JWKS": secrets["public_key"],
            "PYTHONUNBUFFERED": "1",
        }

    # Steps

    def recover(self) -> None:
        """End what an earlier supervisor left running (it was killed): exactly the processes that it recorded."""
        leftovers = []
        for name in self.home.state().get("processes", {}):
            recorded = self.home.recorded(name)
            if recorded and recorded.running:
                leftovers.append(recorded.pid)
        if leftovers:
            self._say(f"Ending {len(leftovers)} process(es) that an earlier run left behind.")
            stop_processes(leftovers)
        self.home.update_state(processes={}, ready=False)

    def choose_ports(self, wanted: Mapping[str, int] | None) -> None:
        """The wanted ports, else those of last time, else the usual ones; where one is busy, the next free one, said aloud."""
        before = self.home.state().get("ports", {})
        for name, usual in PREFERRED_PORTS.items():
            if name == "postgres":
                if self.external_url:
                    continue
                running = EmbeddedPostgres(self.home.postgres_folder, usual).running_port
                if running is not None:
                    self.ports[name] = running
                    continue
            preferred = (wanted or {}).get(name) or before.get(name) or usual
            port = free_port(preferred, set(self.ports.values()))
            if port != preferred:
                self._say(f"Port {preferred} is busy: {name} takes {port}.")
            self.ports[name] = port
        self.home.update_state(ports=self.ports)

    def start_postgres(self) -> str:
        self.home.update_state(external_url=self.external_url)
        if self.external_url:
            with connect(self.external_url) as connection:
                return f"PostgreSQL {connection.info.parameter_status('server_version')} (yours)"
        memory, cpus = psutil.virtual_memory().total, os.cpu_count() or 1
        self.postgres.create(self.home.secrets()["superuser_password"])
        self.postgres.start(server_settings(memory_bytes=memory, cpus=cpus))
        with connect(self.admin_url) as connection:
            return f"PostgreSQL {connection.info.parameter_status('server_version')} on {LOOPBACK}:{self.ports['postgres']}"

    def prepare_database(self) -> str:
        from database.catalogue import publish_catalogue  # noqa: PLC0415  # brings pandas: a second and 70 MB that other commands don't need

        bootstrap(self.admin_url, database=self.database, passwords=self.home.passwords(), storage_database=STORAGE_DATABASE)
        migrate(self.url(Role.OWNER))
        with connect(self.url(Role.OWNER)) as connection:
            exercises = publish_catalogue(connection)
        return f"Schema is at the newest migration; {exercises} catalogue exercises"

    def load_sample_users(self) -> str:
        from database.population import load_sample  # noqa: PLC0415

        with connect(self.url(Role.OWNER)) as connection:
            row = connection.execute("select count(*) from app.users").fetchone()
        if row and row[0]:  # whoever began empty, or with their own people, gets no strangers later
            return f"{row[0]:,} users are there already"
        report = load_sample(self.url(Role.OWNER), until=datetime.now(UTC))
        return f"{report.users:,} sample users, {report.workouts:,} workouts, {report.sets:,} sets"

    @property
    def needs_first_build(self) -> bool:
        with connect(self.url(Role.OWNER)) as connection:
            row = connection.execute("select count(*) from ops.builds where succeeded and kind = 'marts'").fetchone()
        return not (row and row[0])

    def prepare_dagster(self) -> str:
        (self.home.dagster_folder / "dagster.yaml").write_text((PROJECT / "dagster.yaml").read_text())
        os.environ["MESOCYCLE_DBT_TARGET"] = str(self.home.dbt_folder)
        prepare_manifest(self.url(Role.OWNER))
        return "dbt project is parsed"

    def start_services(self, api_workers: int | None) -> None:
        """What people wait for: the Dagster UI and the API."""
        environment = self.environment()
        python, workspace = Path(sys.executable), PROJECT / "workspace.yaml"
        tools = python.parent
        services: dict[str, list[str | Path]] = {
            "dagster-webserver": [tools / "dagster-webserver", "-h", LOOPBACK, "-p", str(self.ports["dagster"]), "-w", workspace],
            "api": [python, "-m", "api", "--port", str(self.ports["api"]), "--workers", str(api_workers or os.cpu_count() or 1)],
        }
        for name, command in services.items():
            self.supervisor.start(Service(name, command, environment, PROJECT))

    def start_background(self) -> None:
        """Schedules, sensors and the plan worker. Last, because they load Dagster as the webserver does: at once, all take longer."""
        environment, python = self.environment(), Path(sys.executable)
        services: dict[str, list[str | Path]] = {
            "plan-worker": [python, "-m", "orchestration.plan_worker"],
            "dagster-daemon": [python.parent / "dagster-daemon", "run", "-w", PROJECT / "workspace.yaml"],
        }
        for name, command in services.items():
            self.supervisor.start(Service(name, command, environment, PROJECT))

    def keep_postgres_alive(self) -> None:
        """Start Postgres again where it was killed; an existing Postgres of yours is never touched."""
        if self.external_url is None and self.postgres.pid is None and not self.supervisor.stopping.is_set():
            self._say("PostgreSQL ended; starting it again.")
            self.start_postgres()

    def stop(self) -> None:
        """End the services, then Postgres."""
        self.supervisor.stop()
        if self.external_url is None and "postgres" in self.ports:
            self.postgres.stop()
        self.home.update_state(ready=False, supervisor=None)


def wait_for(url: str, seconds: float, *, stopping: Callable[[], bool] = lambda: False) -> bool:
    """Whether `url` answers with success within `seconds`."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and not stopping():
        try:
            with urllib.request.urlopen(url, timeout=5) as response:  # a loopback address of our own
                if response.status == 200:
                    return True
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    return False


def running_platform(home: Home) -> Platform:
    """The platform of `home` as its state tells it, for commands that talk to it; raises PlatformError where it doesn't run."""
    platform = Platform.recorded(home)
    if platform.external_url is None and ("postgres" not in platform.ports or platform.postgres.pid is None):
        raise PlatformError(f"No platform runs in {home.folder}. Start it with `mesocycle up`.")
    try:
        connect(platform.url(Role.OWNER)).close()
    except psycopg.OperationalError as error:
        raise PlatformError(f"Postgres doesn't answer ({str(error).strip()}). `mesocycle doctor` says more.") from error
    return platform
