"""Old runs leave Dagster with their events and logs; what the UI needs to say stays."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from orchestration.defs.automation import housekeeping as module


@dg.asset
def plans(context: dg.AssetExecutionContext) -> None:
    context.log.info("a line for the log")


@pytest.fixture
def instance(tmp_path: Path) -> dg.DagsterInstance:
    return dg.DagsterInstance.local_temp(str(tmp_path))


def run_once(instance: dg.DagsterInstance) -> str:
    return dg.materialize([plans], instance=instance).run_id


def test_old_runs_leave_with_their_events_and_logs(instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(module, "NEWEST_RUNS_KEPT", 1)
    old, new = run_once(instance), run_once(instance)
    assert list(tmp_path.rglob(f"*{old}*"))

    assert module.remove_runs_before(instance, datetime.now(UTC) + timedelta(seconds=1)) == 1

    assert instance.get_run_by_id(old) is None
    assert instance.all_logs(old) == []
    assert not list(tmp_path.rglob(f"*{old}/compute_logs*"))
    assert instance.get_run_by_id(new) is not None
    assert instance.get_latest_materialization_event(dg.AssetKey("plans")) is not None


def test_the_newest_runs_of_a_job_stay_however_old(instance: dg.DagsterInstance) -> None:
    run = run_once(instance)
    assert module.remove_runs_before(instance, datetime.now(UTC) + timedelta(days=1000)) == 0
    assert instance.get_run_by_id(run) is not None


def test_young_runs_and_running_ones_stay(instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "NEWEST_RUNS_KEPT", 1)
    assets = dg.Definitions(assets=[plans], jobs=[dg.define_asset_job("slow")])
    running = instance.create_run_for_job(assets.resolve_job_def("slow"))
    finished = [run_once(instance), run_once(instance)]
    assert module.remove_runs_before(instance, datetime.now(UTC) - timedelta(days=14)) == 0
    assert module.remove_runs_before(instance, datetime.now(UTC) + timedelta(seconds=1)) == 1
    assert instance.get_run_by_id(running.run_id) is not None
    assert [instance.get_run_by_id(run_id) is None for run_id in finished] == [True, False]
