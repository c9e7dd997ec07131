"""Asset checks: summaries and weeks of a rotating sample, and totals of everybody, against raw rows by a second implementation."""

import dagster as dg
import psycopg

from database.builds import between_builds
from orchestration.reconciliation import Reconciliation, compare_totals, reconcile, reconcile_weeks
from orchestration.resources import Warehouse


@dg.asset_check(
    asset=dg.AssetKey(["marts", "user_summary"]),
    name="agrees_with_raw_rows",
    description="A sample of users, another one for each build, computed a second time from raw rows in pandas.",
)
def user_summary_agrees_with_raw_rows(warehouse: Warehouse) -> dg.AssetCheckResult:
    with warehouse.connect() as connection:
        return _result_of(reconcile(connection, rotation=_rotation(connection)))


@dg.asset_check(
    asset=dg.AssetKey(["marts", "user_weeks"]),
    name="agrees_with_raw_rows",
    description="The weeks of the same sample, computed a second time from raw rows in pandas.",
)
def user_weeks_agree_with_raw_rows(warehouse: Warehouse) -> dg.AssetCheckResult:
    with warehouse.connect() as connection:
        return _result_of(reconcile_weeks(connection, rotation=_rotation(connection)))


def _rotation(connection: psycopg.Connection) -> int:
    row = connection.execute("select coalesce(max(build_key), 0) from ops.builds").fetchone()
    return int(row[0]) if row else 0


def _result_of(result: Reconciliation) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        passed=result.agrees,
        severity=dg.AssetCheckSeverity.ERROR,
        description="; ".join(result.examples[:3]) or None,
        metadata={
            "users": result.users,
            "rows": result.rows,
            "rows_that_differ_by_column": dg.MetadataValue.json({column: count for column, count in result.differences.items() if count}),
        },
    )


@dg.asset_check(
    asset=dg.AssetKey(["marts", "user_days"]),
    name="totals_agree_with_raw_rows",
    description="Workouts and working sets of everybody: as many in the mart as in the raw rows that the last build saw.",
)
def user_days_totals_agree_with_raw_rows(warehouse: Warehouse) -> dg.AssetCheckResult:
    with between_builds(warehouse.pipeline_url) as connection:  # a build beside it would be seen half done
        totals = compare_totals(connection)
    return dg.AssetCheckResult(
        passed=all(raw == mart for raw, mart in totals.values()),
        severity=dg.AssetCheckSeverity.WARN,
        metadata={f"{name}_{side}": value for name, pair in totals.items() for side, value in zip(("raw", "mart"), pair, strict=True)},
    )
