"""The state folder: secrets for its owner only, one holder of the lock, processes that are really ours."""

import os
import socket
import stat
from pathlib import Path

import psutil
import pytest

from stack.home import Home, RecordedProcess, free_port
from stack.platform import PlatformError, running_platform


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path / "home")
    home.create()
    return home


def test_secrets_are_made_once_and_only_their_owner_may_read_them(home: Home) -> None:
    secrets = home.secrets()
    assert home.secrets() == secrets
    assert stat.S_IMODE(home.secrets_file.stat().st_mode) == 0o600
    assert len(set(home.passwords().values())) == len(home.passwords())


def test_a_new_home_is_for_its_owner_only(home: Home) -> None:
    assert stat.S_IMODE(home.folder.stat().st_mode) == 0o700


def test_only_one_process_holds_a_home(home: Home) -> None:
    with home.lock() as first, home.lock() as second:
        assert (first, second) == (True, False)
    with home.lock() as again:
        assert again


def test_in_a_home_that_was_never_ready_no_platform_runs(home: Home) -> None:
    home.update_state(ready=False)  # as `mesocycle up --detach` begins
    with pytest.raises(PlatformError, match="No platform runs"):
        running_platform(home)


def test_two_homes_have_different_secrets(home: Home, tmp_path: Path) -> None:
    other = Home(tmp_path / "other")
    other.create()
    assert home.secrets() != other.secrets()


def test_a_reused_process_id_is_not_mistaken_for_ours() -> None:
    ours = RecordedProcess.of(os.getpid())
    assert ours.running == psutil.Process()
    assert RecordedProcess(ours.pid, ours.created - 100).running is None


def test_a_busy_port_is_passed_over() -> None:
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        port = busy.getsockname()[1]
        assert free_port(port, set()) > port


def test_a_port_that_another_service_just_took_is_passed_over() -> None:
    free = free_port(20000, set())
    assert free_port(free, {free}) > free


def test_a_broken_state_file_counts_as_nothing_running(home: Home) -> None:
    home.state_file.write_text("{ half")
    assert home.state() == {}
    assert home.supervisor is None
