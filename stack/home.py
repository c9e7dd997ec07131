"""The one folder that holds all state of a platform: its paths, secrets, ports, and which processes it started."""

import contextlib
import fcntl
import json
import os
import secrets
import socket
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from api.tokens import generate_key_pair
from database.connection import Role

PROJECT = Path(__file__).parent.parent
ENVIRONMENT_VARIABLE = "MESOCYCLE_HOME"
DEFAULT_FOLDER = Path(".mesocycle")


@dataclass(frozen=True)
class RecordedProcess:
    """A process that the platform started, named so that a reused process id is not mistaken for it."""

    pid: int
    created: float

    @classmethod
    def of(cls, pid: int) -> "RecordedProcess":
        return cls(pid, psutil.Process(pid).create_time())

    @property
    def running(self) -> psutil.Process | None:
        """The process, or None where it has ended."""
        try:
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.created) < 1.0
            return process if same and process.status() != psutil.STATUS_ZOMBIE else None
        except psutil.NoSuchProcess:
            return None


class Home:
    """State folder of one platform. Nothing outside of it (and an existing Postgres, if given) is ever written."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.expanduser().resolve()

    @property
    def postgres_folder(self) -> Path:
        return self.folder / "postgres" / "data"

    @property
    def dagster_folder(self) -> Path:
        return self.folder / "dagster"

    @property
    def dbt_folder(self) -> Path:
        return self.folder / "dbt"

    @property
    def logs_folder(self) -> Path:
        return self.folder / "logs"

    @property
    def secrets_file(self) -> Path:
        return self.folder / "secrets.json"

    @property
    def state_file(self) -> Path:
        return self.folder / "state.json"

    def create(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)  # logs may quote what people imported
        for folder in (self.dagster_folder, self.dbt_folder, self.logs_folder, self.postgres_folder.parent):
            folder.mkdir(parents=True, exist_ok=True)
        ignore = self.folder / ".gitignore"
        if not ignore.exists():
            ignore.write_text("*\n")

    @contextlib.contextmanager
    def lock(self) -> Iterator[bool]:
        """Hold the platform's lock; yields False where another process holds it. The kernel frees it when its holder dies."""
        self.create()
        with (self.folder / "lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                yield False
                return
            yield True

    # Secrets

    def secrets(self) -> dict[str, str]:
        """Passwords and signing keys, generated at first use into a file that only its owner may read."""
        values: dict[str, str]
        if self.secrets_file.exists():
            values = json.loads(self.secrets_file.read_text())
        else:
            private_key, public_key = generate_key_pair()
            values = {"superuser_password": secrets.token_urlsafe(24), "private_key": private_key, "public_key": public_key}
        # All roles', or those of the roles that an upgrade brought.
        if missing := {f"{role}_password" for role in Role} - values.keys():
            values |= {name: secrets.token_urlsafe(24) for name in missing}
            write_private(self.secrets_file, json.dumps(values, indent=1))
        return values

    def passwords(self) -> dict[Role, str]:
        values = self.secrets()
        return {role: values[f"{role}_password"] for role in Role}

    # State

    def state(self) -> dict[str, Any]:
        """What is running: `ports`, `processes`, `supervisor`, `external_url`, `ready`. Empty where nothing ever ran."""
        try:
            loaded: dict[str, Any] = json.loads(self.state_file.read_text())
        except (OSError, ValueError):
            return {}
        return loaded

    def update_state(self, **changes: Any) -> None:
        write_private(self.state_file, json.dumps({**self.state(), **changes}, indent=1))

    def recorded(self, name: str) -> RecordedProcess | None:
        """A process by name, `supervisor` included."""
        state = self.state()
        entry = state.get("supervisor") if name == "supervisor" else state.get("processes", {}).get(name)
        return RecordedProcess(**entry) if entry else None

    @property
    def supervisor(self) -> psutil.Process | None:
        """The running supervisor, or None."""
        recorded = self.recorded("supervisor")
        return recorded.running if recorded else None


def free_port(preferred: int, taken: set[int]) -> int:
    """`preferred`, or the next port above it that nothing on 127.0.0.1 listens on and that isn't in `taken`."""
    for port in range(preferred, preferred + 500):
        if port in taken:
            continue
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise OSError(f"No free port between {preferred} and {preferred + 500}.")


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner may read."""
    # Written beside and renamed: a reader never sees half a file, and the permission is there from the first byte.
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    Path(name).replace(path)
