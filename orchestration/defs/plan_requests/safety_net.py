"""Dagster as the plan worker's safety net: a sensor that has late requests drained, a check that sees overdue ones."""

import dagster as dg
import psycopg

from database.plan_requests import overdue
from orchestration.plan_worker import Worker
from orchestration.resources import Warehouse
from orchestration.run import has_unfinished_run

LATE_SECONDS = 60
"""A living worker needs a second: a request this old means that none lives."""
OVERDUE_SECONDS = 300
FEW_REJECTED_ROWS = 10
"""As many in a day are no reason to warn, whatever share they are."""
DRAIN_JOB = "drain_plan_requests"
PLAN_REQUESTS = dg.AssetKey(["app", "plan_requests"])


@dg.op(description="Works off every plan request that is due, as a plan worker would.")
def drain(context: dg.OpExecutionContext, warehouse: Warehouse) -> None:
    total = Worker(warehouse.pipeline_url).drain()
    context.log.info("%s users planned, %s failures, %.1f s", total.users, total.failures, total.seconds)
    context.add_output_metadata({"users": total.users, "failures": total.failures, "seconds": round(total.seconds, 3)})


@dg.job(name=DRAIN_JOB, description="Plans what the plan worker left waiting.")
def drain_plan_requests() -> None:
    drain()


@dg.sensor(
    job=drain_plan_requests,
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Launches a drain when a plan request is older than a minute: then no plan worker lives.",
)
def late_plan_requests(context: dg.SensorEvaluationContext, warehouse: Warehouse) -> dg.RunRequest | dg.SkipReason:
    with warehouse.connect() as connection:
        late = overdue(connection, LATE_SECONDS)
    if not late:
        return dg.SkipReason("No plan request waits longer than a minute.")
    if has_unfinished_run(context.instance, DRAIN_JOB):
        return dg.SkipReason(f"{late} late plan request(s) are being worked off.")
    return dg.RunRequest(tags={"mesocycle/late_requests": str(late)})


@dg.asset_check(
    asset=PLAN_REQUESTS,
    name="no_request_is_overdue",
    description="No plan request has been open for more than five minutes.",
)
def no_request_is_overdue(warehouse: Warehouse) -> dg.AssetCheckResult:
    with warehouse.connect() as connection:
        count = overdue(connection, OVERDUE_SECONDS)
    return dg.AssetCheckResult(
        passed=count == 0,
        metadata={"overdue_requests": count},
        description=f"{count} request(s) wait longer than five minutes: does a plan worker run? `mesocycle status` tells."
        if count
        else None,
    )


@dg.asset_check(
    asset=dg.AssetKey(["app", "rejected_rows"]),
    name="rejected_rows_are_few",
    description="How many rows could not be used, by source; warns when a day brings more than one in a hundred of what was taken.",
)
def rejected_rows_are_few(warehouse: Warehouse) -> dg.AssetCheckResult:
    with warehouse.connect() as connection:
        rows = connection.execute(
            "select source, count(*), count(*) filter (where rejected_at > now() - interval '1 day') from app.rejected_rows group by source"
        ).fetchall()
        today = sum(row[2] for row in rows)
        # What was taken is counted only where that decides: it means reading all events and workouts.
        passed = today <= FEW_REJECTED_ROWS or today <= _rows_taken_today(connection) / 100
    return dg.AssetCheckResult(
        passed=passed,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"rejected_rows": sum(row[1] for row in rows), "rejected_today": today, "by_source": {row[0]: row[1] for row in rows}},
    )


def _rows_taken_today(connection: psycopg.Connection) -> int:
    row = connection.execute(
        """
        select (select count(*) from app.onboarding_events where received_at > now() - interval '1 day')
          + (select count(*) from app.workouts where created_at > now() - interval '1 day')
        """
    ).fetchone()
    return int(row[0]) if row else 0


@dg.definitions
def safety_net() -> dg.Definitions:
    return dg.Definitions(
        jobs=[drain_plan_requests], sensors=[late_plan_requests], asset_checks=[no_request_is_overdue, rejected_rows_are_few]
    )
