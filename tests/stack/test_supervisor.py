"""Services: restarted when they die, ended with everything that they started."""

import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from stack.home import Home
from stack.supervisor import Service, Supervisor

FAMILY = "import subprocess, sys, time; child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']); time.sleep(600)"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path / "home")
    home.create()
    return home


def within(seconds: float, condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.05)


def test_stopping_ends_a_service_and_its_children(home: Home) -> None:
    supervisor = Supervisor(home, lambda _: None)
    service = Service("family", [sys.executable, "-c", FAMILY], {}, home.folder)
    supervisor.start(service)
    assert service.process
    leader = psutil.Process(service.process.pid)
    within(10, leader.children)
    family = [leader, *leader.children()]
    supervisor.stop()
    assert not [process for process in family if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]
    assert home.state()["processes"] == {}


def test_a_service_that_dies_is_restarted_and_that_is_said(home: Home) -> None:
    said: list[str] = []
    supervisor = Supervisor(home, said.append)
    service = Service("sleeper", [sys.executable, "-c", "import time; time.sleep(600)"], {}, home.folder)
    supervisor.start(service)
    assert service.process
    first = service.process.pid
    thread = threading.Thread(target=supervisor.watch, args=(lambda: None,), kwargs={"interval_seconds": 0.05}, daemon=True)
    thread.start()
    os.kill(first, 9)
    try:
        within(10, lambda: service.process and service.process.pid != first)
        assert "sleeper ended (exit code -9)" in said[0]
    finally:
        supervisor.stop()
        thread.join(timeout=5)


def test_a_service_gets_its_environment_and_its_output_a_log(home: Home) -> None:
    supervisor = Supervisor(home, lambda _: None)
    supervisor.start(Service("speaker", [sys.executable, "-c", "import os; print(os.environ['WORD'])"], {"WORD": "hello"}, home.folder))
    within(10, lambda: (home.logs_folder / "speaker.log").read_text() == "hello\n")
    supervisor.stop()
