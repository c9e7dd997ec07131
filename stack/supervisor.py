"""Child processes of the platform: start them, watch them, restart what died, stop them all."""

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from stack.home import Home, RecordedProcess

GRACE_SECONDS = 8.0
RESTART_PAUSES = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0)


@dataclass
class Service:
    """One long-running process: how to start it."""

    name: str
    command: Sequence[str | Path]
    environment: Mapping[str, str]
    folder: Path
    process: subprocess.Popen[bytes] | None = None
    deaths: list[float] = field(default_factory=list)


class Supervisor:
    """Owns the services that it started. Each runs in a session of its own, so that Ctrl-C reaches only the supervisor."""

    def __init__(self, home: Home, say: Callable[[str], None]) -> None:
        self._home = home
        self._say = say
        self._services: list[Service] = []
        self.stopping = threading.Event()

    def start(self, service: Service) -> None:
        """Start `service`, its output going to `logs/<name>.log`, and remember its process id on disk."""
        log_path = self._home.logs_folder / f"{service.name}.log"
        with log_path.open("ab") as log:
            service.process = subprocess.Popen(
                [str(part) for part in service.command],
                env={**os.environ, **service.environment},
                cwd=service.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        if service not in self._services:
            self._services.append(service)
        with contextlib.suppress(psutil.NoSuchProcess):
            recorded = RecordedProcess.of(service.process.pid)
            processes = self._home.state().get("processes", {})
            self._home.update_state(processes={**processes, service.name: vars(recorded)})

    def watch(self, keep_alive: Callable[[], None], interval_seconds: float = 0.5) -> None:
        """Until `stopping` is set: restart services that ended, with growing pauses, and call `keep_alive` (Postgres)."""
        while not self.stopping.wait(interval_seconds):
            keep_alive()
            for service in self._services:
                if service.process is not None and service.process.poll() is not None and not self.stopping.is_set():
                    self._restart(service)

    def _restart(self, service: Service) -> None:
        assert service.process is not None
        now = time.monotonic()
        service.deaths = [death for death in service.deaths if now - death < 120] + [now]
        pause = RESTART_PAUSES[min(len(service.deaths), len(RESTART_PAUSES)) - 1]
        log = self._home.logs_folder / f"{service.name}.log"
        self._say(f"{service.name} ended (exit code {service.process.returncode}); restarting it in {pause:g} s. Its log: {log}")
        end_leftovers(service.process.pid)
        if not self.stopping.wait(pause):
            self.start(service)

    def stop(self) -> None:
        """End every service with everything that it started: politely, then after a grace period by force."""
        self.stopping.set()
        stop_processes([service.process.pid for service in self._services if service.process is not None])
        self._home.update_state(processes={})


def stop_processes(pids: Sequence[int]) -> None:
    """End the sessions that these processes lead, with all descendants."""
    everything: dict[int, psutil.Process] = {}
    for pid in pids:
        with contextlib.suppress(psutil.NoSuchProcess):
            leader = psutil.Process(pid)
            everything |= {process.pid: process for process in [*leader.children(recursive=True), leader]}
        everything |= {process.pid: process for process in _session_members(pid)}
    for pid in pids:
        with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    _, alive = psutil.wait_procs(list(everything.values()), timeout=GRACE_SECONDS)
    for process in alive:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(alive, timeout=5)


def end_leftovers(leader_pid: int) -> None:
    """Kill what a dead service left behind in its session (a killed uvicorn leaves its workers on the port)."""
    leftovers = _session_members(leader_pid)
    for process in leftovers:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(leftovers, timeout=5)


def _session_members(session: int) -> list[psutil.Process]:
    members = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError, PermissionError):
            if os.getsid(process.pid) == session:
                members.append(process)
    return members
