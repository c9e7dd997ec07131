"""What every asset must say about itself, and the decisions that a review should see change: keys, schedules, defaults."""

from collections.abc import Iterator

import dagster as dg
import pytest


@pytest.fixture(scope="module")
def definitions(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dg.Definitions]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MESOCYCLE_DBT_TARGET", str(tmp_path_factory.mktemp("dbt")))
        from orchestration.definitions import defs

        yield defs()


@pytest.fixture(scope="module")
def specs(definitions: dg.Definitions) -> list[dg.AssetSpec]:
    return sorted(definitions.resolve_all_asset_specs(), key=lambda spec: spec.key.path)


def test_every_asset_says_what_it_is_whose_it_is_and_what_made_it(specs: list[dg.AssetSpec]) -> None:
    silent = [spec.key.to_user_string() for spec in specs if not (spec.description and spec.owners and spec.kinds and spec.group_name)]
    assert silent == []


def test_everything_that_the_platform_makes_says_when_it_is_late(specs: list[dg.AssetSpec]) -> None:
    assert [spec.key.to_user_string() for spec in specs if spec.group_name != "app" and not spec.freshness_policy] == []


def test_a_schema_is_a_group_is_a_key_prefix(specs: list[dg.AssetSpec]) -> None:
    assert {spec.group_name for spec in specs} == {"app", "staging", "intermediate", "marts", "plans"}
    assert all(spec.key.path[0] == spec.group_name for spec in specs)


def test_the_three_views_of_the_promise_are_there(specs: list[dg.AssetSpec]) -> None:
    keys = {spec.key.to_user_string() for spec in specs}
    assert {"marts/user_summary", "marts/personal_records", "marts/onboarding_funnel", "plans/plans"} <= keys


def test_schedules_and_sensors_run_by_default(definitions: dg.Definitions) -> None:
    schedules = {schedule.name: (schedule.cron_schedule, schedule.default_status) for schedule in definitions.schedules or []}
    assert schedules == {
        "housekeeping_schedule": ("30 4 * * *", dg.DefaultScheduleStatus.RUNNING),
        "marts_schedule": ("* * * * *", dg.DefaultScheduleStatus.RUNNING),
        "plans_schedule": ("0 3 * * *", dg.DefaultScheduleStatus.RUNNING),
        "totals_schedule": ("0 5 * * *", dg.DefaultScheduleStatus.RUNNING),
    }
    assert {sensor.default_status for sensor in definitions.sensors or []} == {dg.DefaultSensorStatus.RUNNING}


def test_writers_of_postgres_share_a_pool(definitions: dg.Definitions) -> None:
    repository = definitions.get_repository_def()
    graph = repository.asset_graph
    made = {key for key in graph.executable_asset_keys if key.path[0] in {"staging", "intermediate", "marts", "plans"}}
    pools = {key.to_user_string(): graph.get(key).pools for key in made}
    assert {name: found for name, found in pools.items() if found != {"postgres"}} == {}


def test_plans_can_run_for_one_bucket_and_for_all_in_one_run(definitions: dg.Definitions) -> None:
    node = definitions.get_repository_def().asset_graph.get(dg.AssetKey(["plans", "plans"]))
    assert node.partitions_def is not None
    assert node.partitions_def.get_partition_keys() == [f"{bucket:02d}" for bucket in range(64)]
    assert node.backfill_policy is not None
    assert node.backfill_policy.policy_type.value == "SINGLE_RUN"


def test_a_refresh_builds_the_training_state_then_plans_then_what_shows_them(definitions: dg.Definitions) -> None:
    job = definitions.resolve_job_def("refresh")
    writers = [node.name for node in job.nodes_in_topological_order if node.name.startswith("dbt_models") or node.name == "plans__plans"]
    assert writers == ["dbt_models", "plans__plans", "dbt_models_2"]
    graph = definitions.get_repository_def().asset_graph
    plans, state = dg.AssetKey(["plans", "plans"]), dg.AssetKey(["intermediate", "training_state"])
    assert state in graph.get(plans).parent_keys
    assert plans in graph.get(dg.AssetKey(["intermediate", "planned_session_completions"])).parent_keys


def test_every_check_runs_in_a_job_that_a_schedule_launches(definitions: dg.Definitions) -> None:
    everything = set(definitions.get_repository_def().asset_graph.asset_check_keys)
    scheduled = {schedule.job_name for schedule in definitions.get_repository_def().schedule_defs}
    checked = {key for name in scheduled for key in definitions.resolve_job_def(name).asset_layer.asset_graph.asset_check_keys}
    assert everything - checked == set()


def test_what_reads_all_raw_rows_is_left_out_of_the_builds_of_every_minute(definitions: dg.Definitions) -> None:
    totals = dg.AssetCheckKey(dg.AssetKey(["marts", "user_days"]), "totals_agree_with_raw_rows")
    checks = {
        name: definitions.resolve_job_def(name).asset_layer.asset_graph.asset_check_keys for name in ("marts", "totals", "refresh", "plans")
    }
    assert totals not in checks["marts"] and totals in checks["refresh"]
    assert set(checks["totals"]) == {totals}
    assert len(checks["marts"]) > 10
