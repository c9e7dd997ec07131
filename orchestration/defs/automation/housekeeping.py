"""Keeps Dagster's own history from growing for ever: old runs leave with their events and their logs."""

from datetime import UTC, datetime, timedelta

import dagster as dg

HOUSEKEEPING_JOB = "housekeeping"
RETENTION_DAYS = 14
"""As long as dagster.yaml keeps the ticks of schedules. A busy app builds its marts 1,440 times a day."""
NEWEST_RUNS_KEPT = 20
"""Of each job, however old: the UI goes on showing when an asset that rarely runs was made, and how its last runs went."""

FINISHED = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]


@dg.op(description=f"Removes finished runs older than {RETENTION_DAYS} days, except the newest {NEWEST_RUNS_KEPT} of each job.")
def forget_old_runs(context: dg.OpExecutionContext) -> None:
    removed = remove_runs_before(context.instance, datetime.now(UTC) - timedelta(days=RETENTION_DAYS))
    context.log.info("%s old runs removed", removed)
    context.add_output_metadata({"runs": removed})


def remove_runs_before(instance: dg.DagsterInstance, before: datetime) -> int:
    """Deletes finished runs created before that instant with their events and captured output; returns how many.

    The newest runs of each job stay, see NEWEST_RUNS_KEPT. An asset's latest materialisation stays known in any case, Dagster holds it with the
    asset.
    """
    old = instance.get_runs(filters=dg.RunsFilter(statuses=FINISHED, created_before=before))
    kept: set[str] = set()
    for name in {run.job_name for run in old}:
        kept.update(instance.get_run_ids(dg.RunsFilter(job_name=name), limit=NEWEST_RUNS_KEPT))
    removed = [run.run_id for run in old if run.run_id not in kept]
    for run_id in removed:
        instance.compute_log_manager.delete_logs(prefix=[run_id])
        instance.delete_run(run_id)
    return len(removed)


@dg.job(name=HOUSEKEEPING_JOB, description="Removes what Dagster remembers of old runs.")
def housekeeping() -> None:
    forget_old_runs()


housekeeping_schedule = dg.ScheduleDefinition(
    name="housekeeping_schedule",
    job=housekeeping,
    cron_schedule="30 4 * * *",  # after the night's plans
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Removes old runs, their events and their logs, every night.",
)


@dg.definitions
def housekeeping_definitions() -> dg.Definitions:
    return dg.Definitions(jobs=[housekeeping], schedules=[housekeeping_schedule])
