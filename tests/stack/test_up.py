"""The life of a whole platform, through the command that a newcomer types: up, status, killed, up again, down, reset."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from database.freshness import anything_changed
from stack.home import Home
from tests.conftest import PROJECT

MESOCYCLE = Path(sys.executable).parent / "mesocycle"
pytestmark = pytest.mark.timeout(600)


def mesocycle(home: Home, *arguments: str, timeout: float = 400, check: bool = True) -> str:
    result = subprocess.run(
        [MESOCYCLE, "--home", home.folder, *arguments],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        # Wide: where a line would break depends on the folder's name.
        env={**{name: value for name, value in os.environ.items() if name != "DATABASE_URL"}, "COLUMNS": "400"},
    )
    assert not check or result.returncode == 0, f"{arguments}: {result.stdout}\n{result.stderr}\n{logs(home)}"
    return result.stdout if "--json" in arguments else result.stdout + result.stderr


def logs(home: Home) -> str:
    return "\n".join(f"== {path.name}\n{path.read_text(errors='replace')[-3000:]}" for path in sorted(home.logs_folder.glob("*.log")))


def get(url: str, token: str) -> dict[str, object]:
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"})
    with urllib.request.urlopen(request, timeout=10) as response:
        body: dict[str, object] = json.loads(response.read())
    return body


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    home = Home(tmp_path_factory.mktemp("platform") / "home")
    yield home
    mesocycle(home, "down", check=False)


def everything_of(home: Home) -> list[psutil.Process]:
    """Every process that this platform started, found by its home folder in the environment or its data folder."""
    found = []
    for process in psutil.process_iter():
        try:
            if str(home.folder) in " ".join(process.cmdline()) or process.environ().get("MESOCYCLE_HOME") == str(home.folder):
                found.append(process)
        except psutil.Error:
            continue
    return found


def test_up_starts_an_empty_platform_and_its_printed_addresses_answer(home: Home) -> None:
    text = mesocycle(home, "up", "--no-sample", "--detach")
    assert "Ready" in text
    mesocycle(home, "import", "examples/hevy.csv", "--user", "me")
    with psycopg.connect(mesocycle(home, "connect", "--role", "owner").strip()) as connection:
        assert connection.execute("select count(*) from plans.current_plans").fetchone() == (1,)
        assert not anything_changed(connection), "the import's refresh left work, though it saw the plan that it made"
    token = mesocycle(home, "token", "me").strip()
    api = f"http://127.0.0.1:{home.state()['ports']['api']}"
    summary = get(f"{api}/api/v1/summary/me?range=all", token)
    assert summary["userId"] == "me"
    assert int(str(summary["workouts"])) > 0
    tables = [mesocycle(home, command, "me") for command in ("summary", "records")]
    assert "workouts" in tables[0]
    assert all(re.search(r"\d{4}-\d\d-\d\d", table) and "…" not in table for table in tables), "80 columns cut a date"
    assert "marts.user_summary" in mesocycle(home, "psql", "-c", r"\d marts.user_summary")


def test_a_second_up_says_that_it_runs_already(home: Home) -> None:
    assert "running already" in mesocycle(home, "up", "--no-sample", "--detach")


def test_doctor_finds_nothing_wrong_with_a_healthy_platform(home: Home) -> None:
    assert "✗" not in mesocycle(home, "doctor")


def test_no_secret_is_printed_or_logged(home: Home) -> None:
    secrets = [value for name, value in home.secrets().items() if name.endswith("password")]
    shown = mesocycle(home, "status") + mesocycle(home, "doctor") + mesocycle(home, "connect", "--role", "owner") + logs(home)
    assert not [secret for secret in secrets if secret in shown]


@pytest.mark.parametrize("role", ["owner", "analyst"])
def test_the_printed_connection_string_connects(home: Home, role: str) -> None:
    with psycopg.connect(mesocycle(home, "connect", "--role", role).strip()) as connection:
        assert connection.execute("select count(*) > 0 from marts.user_summary").fetchone() == (True,)


def test_the_scorecard_and_the_monitor_tell_scripts_the_same_criteria(home: Home) -> None:
    scorecard = json.loads(mesocycle(home, "readiness", "--json"))
    assert {"criteria", "isReady", "missing", "asOf"} <= scorecard.keys()
    targets = {row["criterion"]: row["target"] for row in scorecard["criteria"]}
    assert len(targets) >= 7
    run = json.loads(mesocycle(home, "monitor", "--seconds", "3", "--rate", "20", "--json", check=False))
    assert run["requests"] == 60
    assert run["errors"] == 0
    assert {row["criterion"]: row["target"] for row in run["targets"]}.items() <= targets.items()
    assert run["passed"] == all(row["isMet"] for row in run["targets"])


def test_after_everything_was_killed_the_next_up_recovers(home: Home) -> None:
    victims = everything_of(home)
    assert len(victims) > 5
    for process in victims:
        if process.is_running():
            process.kill()
    psutil.wait_procs(victims, timeout=20)
    assert "Not running" in mesocycle(home, "status", check=False)
    mesocycle(home, "up", "--no-sample", "--detach")
    assert "workouts" in mesocycle(home, "summary", "me")


def test_a_killed_service_is_restarted_by_its_supervisor(home: Home) -> None:
    recorded = home.recorded("api")
    assert recorded and recorded.running
    os.kill(recorded.pid, signal.SIGKILL)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        again = home.recorded("api")
        if again and again.pid != recorded.pid and "✗" not in mesocycle(home, "doctor", check=False):
            return
        time.sleep(0.5)
    pytest.fail(f"the API did not come back\n{logs(home)}")


def test_down_stops_everything_and_nothing_else(home: Home) -> None:
    bystander = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"])
    try:
        mesocycle(home, "down")
        deadline = time.monotonic() + 10
        while (left := everything_of(home)) and time.monotonic() < deadline:
            time.sleep(0.2)
        assert left == []
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def test_commands_without_a_running_platform_say_what_to_do(home: Home) -> None:
    assert "Start it with `mesocycle up`." in mesocycle(home, "summary", "me", check=False)


def test_reset_asks_first_and_removes_only_the_home(home: Home) -> None:
    assert home.folder.exists()
    mesocycle(home, "reset", check=False)  # no answer: nothing is removed
    assert home.secrets_file.exists()
    beside = home.folder.parent / "beside.txt"
    beside.write_text("mine")
    mesocycle(home, "reset", "--yes")
    assert not home.folder.exists()
    assert beside.exists()
