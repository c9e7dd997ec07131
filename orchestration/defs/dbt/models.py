"""Every dbt model, seed and test as assets and checks: one dbt invocation per group of models that plans don't separate."""

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import dagster as dg
from dagster_dbt import DagsterDbtTranslator, DagsterDbtTranslatorSettings, DbtCliResource, dbt_assets
from dagster_dbt.errors import DagsterDbtCliRuntimeError
from packaging.version import Version

from database.builds import build
from database.freshness import plans_moved
from orchestration.dbt import DBT_PROJECT, build_folder, dbt_environment, dbt_project
from orchestration.resources import Warehouse
from orchestration.run import POSTGRES_POOL, build_as_of, is_full, keep_connections

PROJECT = dbt_project()
PLANS = dg.AssetKey(["plans", "plans"])
CHANGES = dg.AssetKey(["staging", "changes"])


class PlansAreOneAsset(DagsterDbtTranslator):
    """Views over `plans.plans` are no assets of their own: a model that reads one of them waits for the plans."""

    def __init__(self) -> None:
        super().__init__(DagsterDbtTranslatorSettings(enable_duplicate_source_asset_keys=True))

    def get_asset_key(self, dbt_resource_props: Mapping[str, Any]) -> dg.AssetKey:
        if dbt_resource_props["resource_type"] == "source" and dbt_resource_props["schema"] == "plans":
            return PLANS
        return super().get_asset_key(dbt_resource_props)


class InstalledDbt(DbtCliResource):
    """dbt as it is installed beside us. Saves each step 4 s of what its parent finds out first: the version, by starting dbt once
    more (which asks the package index for a newer one), and a connection of its own, for metadata that we don't ask for."""

    @property
    def _cli_version(self) -> Version:
        return Version(metadata.version("dbt-core"))

    def _initialize_dbt_core_adapter(self, args: Sequence[str]) -> Any:  # noqa: ARG002  # the parent's signature
        return None


@dbt_assets(
    manifest=PROJECT.manifest_path,
    project=PROJECT,
    name="dbt_models",
    dagster_dbt_translator=PlansAreOneAsset(),
    pool=POSTGRES_POOL,
    retry_policy=dg.RetryPolicy(max_retries=2, delay=5, backoff=dg.Backoff.EXPONENTIAL),
)
def dbt_models(context: dg.AssetExecutionContext, warehouse: Warehouse) -> Iterator[Any]:
    os.environ.update(dbt_environment(warehouse.owner_url))  # the resource hands its own environment on to dbt
    dbt = InstalledDbt(project_dir=str(DBT_PROJECT), profiles_dir=str(DBT_PROJECT), dbt_executable=str(Path(sys.executable).parent / "dbt"))
    # Unit tests are about the SQL, not about the data: CI runs them, a build every minute needn't.
    arguments = ["build", "--exclude-resource-type", "unit_test", *(["--full-refresh"] if is_full(context) else [])]
    keep_connections(context.instance)
    as_of = build_as_of(context)
    look_again = comes_after_plans(context) and has_new_plans(warehouse)
    with build(warehouse.owner_url, kind=build_kind(context), as_of=as_of) as details:
        details["run_id"] = context.run.run_id
        try:
            if look_again and is_full(context):  # what is before the plans was rebuilt in the step before; once is enough
                own = " ".join(key.path[-1] for key in context.selected_asset_keys)
                dbt.cli(["run", "--exclude", own], manifest=PROJECT.manifest_path, target_path=build_folder()).wait()
                look_again = False
            yield from run_everything(context, dbt, arguments) if look_again else run_selected(context, dbt, arguments)
        except DagsterDbtCliRuntimeError as error:
            raise failure_of(error) from None


def run_selected(context: dg.AssetExecutionContext, dbt: DbtCliResource, arguments: Sequence[str]) -> Iterator[Any]:
    """What this step was chosen for, and nothing else."""
    yield from dbt.cli(arguments, context=context, target_path=build_folder()).stream()


def run_everything(context: dg.AssetExecutionContext, dbt: DbtCliResource, arguments: Sequence[str]) -> Iterator[Any]:
    """All models once more, because new plans are changes that the models before them have to hear of, too.

    One invocation, since dbt takes longer to start than models without changes take to see that there are none. Of the events only those
    of this step's own assets are handed on; the others had theirs in the step before.
    """
    invocation = dbt.cli(arguments, manifest=PROJECT.manifest_path, dagster_dbt_translator=PlansAreOneAsset(), target_path=build_folder())
    outputs, checks = context.op_execution_context.selected_output_names, context.selected_asset_check_keys
    for raw in invocation.stream_raw_events():
        for event in raw.to_default_asset_events(
            invocation.manifest, invocation.dagster_dbt_translator, context, invocation.target_path, invocation.project
        ):
            is_own_output = isinstance(event, dg.Output) and event.output_name in outputs
            is_own_check = (
                isinstance(event, dg.AssetCheckResult)
                and event.asset_key
                and dg.AssetCheckKey(event.asset_key, str(event.check_name)) in checks
            )
            if is_own_output or is_own_check:
                yield event


PASSING = ("could not connect", "connection refused", "server closed the connection", "terminating connection", "the database system is")
"""What a database says that is away for a moment: trying again helps. It doesn't help against a wrong model."""


def failure_of(error: DagsterDbtCliRuntimeError) -> dg.Failure:
    """dbt's own message, without the trace of the process around it; tried again only when the database was away."""
    message = str(error).split("Errors parsed from dbt logs:")[-1].strip()
    return dg.Failure(message, allow_retries=any(sign in message.lower() for sign in PASSING))


def build_kind(context: dg.AssetExecutionContext) -> str:
    """`marts` where this step brings the marts up to date, else the layer that it stops at (plans are made in between, then the rest)."""
    layers = {key.path[0] for key in context.selected_asset_keys}
    comes_before_plans = runs_plans(context) and CHANGES in context.selected_asset_keys
    return "marts" if "marts" in layers and not comes_before_plans else "intermediate"


def runs_plans(context: dg.AssetExecutionContext) -> bool:
    """Whether this run regenerates plans, too."""
    return PLANS in context.op_execution_context.job_def.asset_layer.selected_asset_keys


def comes_after_plans(context: dg.AssetExecutionContext) -> bool:
    """Whether this is the second of two steps of one run: what plans are made from was built before them, this is what shows them."""
    return runs_plans(context) and CHANGES not in context.selected_asset_keys


def has_new_plans(warehouse: Warehouse) -> bool:
    """Whether plans came after the search for changes, so that the steps before them have to look once more."""
    with warehouse.connect() as connection:
        return plans_moved(connection)
