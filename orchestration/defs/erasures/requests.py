"""Carries out what app.erasures asks for: a person's wish to be forgotten waits for no one's command."""

import dagster as dg

from database.erasure import forget_requested
from orchestration.resources import Warehouse
from orchestration.run import POSTGRES_POOL, has_unfinished_run

ERASURES_JOB = "erasures"


@dg.op(pool=POSTGRES_POOL, description="Forgets every person whose request is open, all in one transaction with their proofs.")
def forget_people(context: dg.OpExecutionContext, warehouse: Warehouse) -> None:
    people = forget_requested(warehouse.owner_url)
    context.log.info("%s people forgotten", people)
    context.add_output_metadata({"people": people})


@dg.job(name=ERASURES_JOB, description="Removes everything about people who asked for it.")
def erasures() -> None:
    forget_people()


@dg.sensor(
    job=erasures,
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Launches the erasures when a request is open.",
)
def open_erasures(context: dg.SensorEvaluationContext, warehouse: Warehouse) -> dg.RunRequest | dg.SkipReason:
    with warehouse.connect_as_owner() as connection:
        row = connection.execute("select count(*) from app.erasures where finished_at is null").fetchone()
    if not row or not row[0]:
        return dg.SkipReason("Nobody asks to be forgotten.")
    if has_unfinished_run(context.instance, ERASURES_JOB):
        return dg.SkipReason("The requests are being carried out.")
    return dg.RunRequest()


@dg.definitions
def requests() -> dg.Definitions:
    return dg.Definitions(jobs=[erasures], sensors=[open_erasures])
