"""Without a plan worker, Dagster notices late requests, drains them, and says so."""

import dagster as dg
import pytest

from database.connection import Role
from orchestration.resources import Warehouse
from tests.conftest import Database
from tests.orchestration.test_plan_worker import add_users, request, states


@pytest.fixture
def warehouse(database: Database) -> Warehouse:
    return Warehouse(owner_url=database.url, pipeline_url=database.urls[Role.PIPELINE])


def age_requests(database: Database, interval: str) -> None:
    with database.connect() as connection:
        connection.execute(f"update app.plan_requests set requested_at = now() - interval '{interval}'")


def test_late_requests_launch_a_run_that_drains_them(database: Database, warehouse: Warehouse) -> None:
    from orchestration.defs.plan_requests.safety_net import drain_plan_requests, late_plan_requests

    add_users(database, "ann")
    _, job = request(database, "ann")
    with dg.DagsterInstance.ephemeral() as instance:
        context = dg.build_sensor_context(instance=instance, resources={"warehouse": warehouse})
        assert isinstance(late_plan_requests(context), dg.SkipReason)  # it is young: a worker would be on its way
        age_requests(database, "2 minutes")
        context = dg.build_sensor_context(instance=instance, resources={"warehouse": warehouse})
        assert isinstance(late_plan_requests(context), dg.RunRequest)
        result = drain_plan_requests.execute_in_process(instance=instance, resources={"warehouse": warehouse})
        assert result.success
    assert states(database)[job][0] == "succeeded"


def test_the_check_fails_when_a_request_is_older_than_five_minutes(database: Database, warehouse: Warehouse) -> None:
    from orchestration.defs.plan_requests.safety_net import no_request_is_overdue

    add_users(database, "ann")
    request(database, "ann")
    assert no_request_is_overdue(warehouse=warehouse).passed
    age_requests(database, "6 minutes")
    assert not no_request_is_overdue(warehouse=warehouse).passed


def test_what_dagster_could_not_be_told_is_in_the_next_report(monkeypatch: pytest.MonkeyPatch) -> None:
    from database.plan_requests import BatchReport
    from orchestration.plan_reports import PLANS_ASSET, PlanReporter

    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    reporter = PlanReporter()
    reporter.add(BatchReport(users=5))
    with pytest.raises(dg.DagsterError):
        reporter.flush()  # there is no Dagster yet
    reporter.add(BatchReport(users=7))
    with dg.DagsterInstance.ephemeral() as reporter.instance:
        assert reporter.flush()
        (record,) = reporter.instance.fetch_materializations(PLANS_ASSET, limit=10).records
    metadata = record.asset_materialization.metadata  # type: ignore[union-attr]
    assert (metadata["users"].value, metadata["batches"].value) == (12, 2)


def test_batches_are_reported_to_dagster_as_one_materialisation(database: Database) -> None:
    from database.plan_requests import BatchReport
    from orchestration.plan_reports import PLANS_ASSET, PlanReporter

    with dg.DagsterInstance.ephemeral() as instance:
        reporter = PlanReporter(instance=instance)
        assert not reporter.flush()  # nothing happened, nothing is said
        for _ in range(100):
            reporter.add(BatchReport(users=5, failures=1, seconds=0.1))
        assert reporter.flush()
        records = instance.fetch_materializations(PLANS_ASSET, limit=10).records
    assert len(records) == 1
    metadata = records[0].asset_materialization.metadata  # type: ignore[union-attr]
    assert (metadata["users"].value, metadata["failures"].value, metadata["batches"].value) == (500, 100, 100)
