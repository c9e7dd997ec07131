"""Runs the `refresh` job in this process and shows how far it is; the run appears in the Dagster UI like any other."""

import contextlib
import sys
import threading
import uuid
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import dagster as dg
from dagster import DagsterEventType
from dagster._core.execution.plan.objects import StepFailureData
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from orchestration.definitions import defs
from orchestration.jobs import MARTS_JOB, REFRESH_JOB
from orchestration.run import AS_OF_TAG, FULL_TAG, keep_connections


@dataclass(frozen=True)
class RefreshResult:
    """How a refresh ended."""

    run_id: str
    succeeded: bool
    materialized: int
    failures: Sequence[str]


def refresh(*, as_of: datetime | None, full: bool, plans: bool, log_file: Path) -> RefreshResult:
    """Bring everything up to date now. Needs the platform's environment (DAGSTER_HOME and the database URLs).

    Shows its progress on standard output; what Dagster and dbt say goes to `log_file`.
    """
    console = Console(file=sys.stdout, highlight=False)  # named, because sys.stdout is another file while the job runs
    tags = {}
    if as_of is not None:
        tags[AS_OF_TAG] = as_of.isoformat()
    if full:
        tags[FULL_TAG] = "true"
    with console.status("Loading the assets"), warnings.catch_warnings():
        warnings.simplefilter("ignore", category=dg.BetaWarning)  # raised by Dagster's own copies of sensors, not by what we use
        job = defs().resolve_job_def(REFRESH_JOB if plans else MARTS_JOB)
    run_id = str(uuid.uuid4())
    total = len(set(job.asset_layer.executable_asset_keys) & set(job.asset_layer.selected_asset_keys))
    with dg.DagsterInstance.get() as instance:
        keep_connections(instance)
        done = threading.Event()
        watcher = threading.Thread(target=_show_progress, args=(instance, run_id, total, done, console), daemon=True)
        watcher.start()
        try:
            with log_file.open("a") as log, contextlib.redirect_stdout(log), contextlib.redirect_stderr(log):
                result = job.execute_in_process(instance=instance, run_id=run_id, tags=tags, raise_on_error=False)
        finally:
            done.set()
            watcher.join(timeout=5)
        failures = [_reason(event.step_failure_data) for event in result.all_events if event.event_type == DagsterEventType.STEP_FAILURE]
        materialized = len({str(key) for key in _materialized(instance, run_id)})
        return RefreshResult(run_id, result.success, materialized, failures)


def _reason(data: StepFailureData) -> str:
    """What a person needs of a failed step: the message at its root; the trace stands in the UI."""
    if data.user_failure_data and data.user_failure_data.description:
        return data.user_failure_data.description
    error = data.error
    while error is not None and error.cause is not None:
        error = error.cause
    return error.message.strip() if error else "no reason given"


def _materialized(instance: dg.DagsterInstance, run_id: str) -> list[dg.AssetKey]:
    records = instance.get_records_for_run(run_id, of_type=DagsterEventType.ASSET_MATERIALIZATION).records
    return [record.event_log_entry.asset_materialization.asset_key for record in records if record.event_log_entry.asset_materialization]


def _show_progress(instance: dg.DagsterInstance, run_id: str, total: int, done: threading.Event, console: Console) -> None:
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    seen: set[str] = set()
    with Progress(*columns, console=console, transient=not console.is_terminal, disable=not console.is_terminal) as progress:
        task = progress.add_task("Starting", total=total)
        while True:
            ended = done.wait(0.5)
            for key in _materialized(instance, run_id):
                name = key.to_user_string()
                if name not in seen:
                    seen.add(name)
                    progress.update(task, completed=len(seen), description=name)
                    if not console.is_terminal:
                        console.print(f"  {len(seen)}/{total} {name}")
            if ended:
                return
