"""The harness that all benchmarks share."""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from benchmarks.harness import Figures, UnusableFigure, figure, machine, main, repeat, throwaway_postgres
from database.connection import Role
from tests.conftest import PROJECT


def test_a_figure_is_the_median_of_its_runs_and_says_their_spread() -> None:
    result = figure([3.0, 1.0, 10.0], "s", peer=4.5, limit=2.5)
    assert {key: result[key] for key in ("value", "unit", "peer", "limit", "runs", "spread", "met")} == {
        "value": 3.0,
        "unit": "s",
        "peer": 4.5,
        "limit": 2.5,
        "runs": [3.0, 1.0, 10.0],
        "spread": 9.0,
        "met": False,
    }


@pytest.mark.parametrize(
    ("value", "unit", "limit", "better", "met"),
    [
        (250, "ms", 250, None, True),
        (250.1, "ms", 250, None, False),
        (60_000, "users/s", 60_000, None, True),
        (59_999, "users/s", 60_000, None, False),
        (5.1, "%", 5, "higher", True),
        (4.9, "%", 5, "higher", False),
        (4.9, "%", None, "higher", None),
    ],
)
def test_a_limit_is_kept_in_the_direction_that_is_better(value, unit, limit, better, met) -> None:
    assert figure(value, unit, limit=limit, better=better)["met"] is met


def test_a_verdict_holds_only_where_all_runs_agree() -> None:
    assert figure([True, True], "")["met"] is True
    assert figure([True, False], "")["value"] is False


@pytest.mark.parametrize("runs", [[], [float("nan")], [1.0, float("inf")], ["3"]])
def test_a_figure_without_a_finite_run_is_refused(runs) -> None:
    with pytest.raises(UnusableFigure):
        figure(runs, "s")


def test_warm_up_calls_are_made_but_not_counted() -> None:
    calls: list[str] = []
    seconds = repeat(lambda: calls.append("run") or time.sleep(0.01), runs=3, warmup=2, before=lambda: calls.append("before"))  # type: ignore[func-returns-value]
    assert calls == ["before", "run"] * 5
    assert len(seconds) == 3
    assert all(0.01 <= each < 1 for each in seconds)


def measured(quick: bool) -> Figures:
    return {"sleep_seconds": figure([0.1, 0.3, 0.2] if not quick else [0.1], "s", peer={"name": "cat", "value": 5}, limit=1)}


def test_the_file_has_the_promised_shape(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main("nap", measured, arguments=["--json", str(tmp_path / "new" / "nap.json")])
    report = json.loads((tmp_path / "new" / "nap.json").read_text())
    assert report["benchmark"] == "nap"
    assert set(machine()) == set(report["machine"]) == {"cpu", "cores", "memory_gb", "python", "platform", "load"}
    assert (
        report["figures"]["sleep_seconds"] | {"value": 0.2, "unit": "s", "limit": 1, "runs": [0.1, 0.3, 0.2]}
        == report["figures"]["sleep_seconds"]
    )
    assert list(tmp_path.joinpath("new").iterdir()) == [tmp_path / "new" / "nap.json"]
    assert "sleep_seconds" in capsys.readouterr().out


def test_quick_reaches_the_benchmark_and_a_dash_writes_only_json_to_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    main("nap", measured, arguments=["--quick", "--json", "-"])
    report = json.loads(capsys.readouterr().out)
    assert report["quick"] is True
    assert report["figures"]["sleep_seconds"]["runs"] == [0.1]


def test_a_benchmark_may_take_arguments_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    def add(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("files", nargs="*")

    def run(quick: bool, options: argparse.Namespace) -> Figures:
        return {"files": figure(len(options.files), "files")}

    main("reader", run, add_arguments=add, arguments=["a.csv", "b.csv", "--json", "-"])
    assert json.loads(capsys.readouterr().out)["figures"]["files"]["value"] == 2


def test_a_file_that_cannot_be_written_is_said_before_the_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def never(quick: bool) -> Figures:
        raise AssertionError("must not run")

    with pytest.raises(SystemExit):
        main("nap", never, arguments=["--json", str(tmp_path)])
    assert "names a folder" in capsys.readouterr().err


def test_help_says_what_is_measured(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main("nap", measured, description="How long a nap takes.", arguments=["--help"])
    text = capsys.readouterr().out
    assert "How long a nap takes." in text
    assert "--quick" in text
    assert "--json" in text


def test_the_throwaway_database_is_migrated_durable_and_gone_afterwards() -> None:
    with throwaway_postgres() as postgres:
        with postgres.connect() as connection:
            assert connection.execute("select count(*) from app.users").fetchone() == (0,)
            assert connection.execute("show fsync").fetchone() == ("on",)
        with postgres.connect(Role.API) as connection:
            connection.execute("insert into app.users (user_id) values ('ann')")
        folder, pid = postgres.server.folder, postgres.server.pid
        assert postgres.size_bytes() > 0
    assert pid is not None
    assert not psutil.pid_exists(pid)
    assert not folder.exists()


def test_sigterm_leaves_no_server_behind() -> None:
    program = (
        "import time\n"
        "from benchmarks.harness import main, throwaway_postgres\n"
        "def run(quick):\n"
        "    with throwaway_postgres() as postgres:\n"
        "        print(postgres.server.pid, postgres.server.folder, flush=True)\n"
        "        time.sleep(60)\n"
        "main('sleeper', run, arguments=[])\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program], cwd=PROJECT, stdout=subprocess.PIPE, text=True, env=dict(os.environ))
    assert process.stdout
    line = next(line for line in process.stdout if "mesocycle-benchmark-" in line)
    pid, folder = line.split()
    assert psutil.pid_exists(int(pid))
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 143
    assert not psutil.pid_exists(int(pid))
    assert not Path(folder).exists()
