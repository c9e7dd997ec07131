"""The jobs that schedules, the `mesocycle` command and people in the UI launch."""

import dagster as dg

from orchestration.partitions import ALL_BUCKETS_TAGS

MARTS_JOB = "marts"
PLANS_JOB = "plans"
REFRESH_JOB = "refresh"
TOTALS_JOB = "totals"

_dbt = dg.AssetSelection.groups("staging", "intermediate", "marts")
_plans = dg.AssetSelection.groups("plans")
_source_checks = dg.AssetSelection.checks_for_assets(dg.AssetKey(["app", "plan_requests"]), dg.AssetKey(["app", "rejected_rows"]))
_totals = dg.AssetSelection.checks(dg.AssetCheckKey(dg.AssetKey(["marts", "user_days"]), "totals_agree_with_raw_rows"))

marts_job = dg.define_asset_job(
    MARTS_JOB, selection=(_dbt | _source_checks) - _totals, description="Every dbt model and its tests; plans stay as they are."
)
totals_job = dg.define_asset_job(
    TOTALS_JOB, selection=_totals, description="Compares the totals of everybody with the raw rows; reads all of them, whatever changed."
)
plans_job = dg.define_asset_job(
    PLANS_JOB, selection=_plans, tags=ALL_BUCKETS_TAGS, description="Training plans of all buckets, users whose inputs changed only."
)
refresh_job = dg.define_asset_job(
    REFRESH_JOB, selection=_dbt | _source_checks | _plans, tags=ALL_BUCKETS_TAGS, description="Everything, in order: models, plans, marts."
)
