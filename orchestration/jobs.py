"""The jobs that schedules, the `mesocycle` command and people in the UI launch."""

import dagster as dg

from orchestration.partitions import ALL_BUCKETS_TAGS

MARTS_JOB = "marts"
PLANS_JOB = "plans"
REFRESH_JOB = "refresh"

_dbt = dg.AssetSelection.groups("staging", "intermediate", "marts")
_plans = dg.AssetSelection.groups("plans")
_source_checks = dg.AssetSelection.checks_for_assets(dg.AssetKey(["app", "plan_requests"]), dg.AssetKey(["app", "rejected_rows"]))

marts_job = dg.define_asset_job(
    MARTS_JOB, selection=_dbt | _source_checks, description="Every dbt model and its tests; plans stay as they are."
)
plans_job = dg.define_asset_job(
    PLANS_JOB, selection=_plans, tags=ALL_BUCKETS_TAGS, description="Training plans of all buckets, users whose inputs changed only."
)
refresh_job = dg.define_asset_job(
    REFRESH_JOB, selection=_dbt | _source_checks | _plans, tags=ALL_BUCKETS_TAGS, description="Everything, in order: models, plans, marts."
)
