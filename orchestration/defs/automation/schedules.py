"""When things run by themselves: marts whenever something changed, plans and totals every night. Crons of the first two are settings."""

import os

import dagster as dg

from database.freshness import anything_changed
from orchestration.jobs import MARTS_JOB, PLANS_JOB, REFRESH_JOB, marts_job, plans_job, totals_job
from orchestration.resources import Warehouse
from orchestration.run import has_unfinished_run

MARTS_CRON = os.environ.get("MESOCYCLE_MARTS_CRON", "* * * * *")
"""Every minute: a tick costs one query unless something changed, and a logged set must show within two minutes."""
PLANS_CRON = os.environ.get("MESOCYCLE_PLANS_CRON", "0 3 * * *")


@dg.schedule(
    job=marts_job,
    cron_schedule=MARTS_CRON,
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Brings the marts up to date when the app wrote something or a user's day began; else it only says so.",
)
def marts_schedule(context: dg.ScheduleEvaluationContext, warehouse: Warehouse) -> dg.RunRequest | dg.SkipReason:
    if has_unfinished_run(context.instance, MARTS_JOB, REFRESH_JOB):
        return dg.SkipReason("The last build of the marts is still running.")
    with warehouse.connect() as connection:
        if not anything_changed(connection):
            return dg.SkipReason("Nothing changed since the last build.")
    return dg.RunRequest()


@dg.schedule(
    job=plans_job,
    cron_schedule=PLANS_CRON,
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Regenerates the plans of users whose inputs changed.",
)
def plans_schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
    if has_unfinished_run(context.instance, PLANS_JOB, REFRESH_JOB):
        return dg.SkipReason("The last regeneration is still running.")
    return dg.RunRequest()


totals_schedule = dg.ScheduleDefinition(
    name="totals_schedule",
    job=totals_job,
    cron_schedule="0 5 * * *",  # after the night's plans
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Compares the totals of everybody with the raw rows, every night.",
)
