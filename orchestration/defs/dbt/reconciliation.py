"""Asset checks: summaries of a rotating sample, and totals of everybody, against raw rows by a second implementation."""

import dagster as dg

from orchestration.reconciliation import compare_totals, reconcile
from orchestration.resources import Warehouse


@dg.asset_check(
    asset=dg.AssetKey(["marts", "user_summary"]),
    name="agrees_with_raw_rows",
    description="A sample of users, another one for each build, computed a second time from raw rows in pandas.",
)
def user_summary_agrees_with_raw_rows(warehouse: Warehouse) -> dg.AssetCheckResult:
    with warehouse.connect() as connection:
        row = connection.execute("select coalesce(max(build_key), 0) from ops.builds").fetchone()
        result = reconcile(connection, rotation=int(row[0]) if row else 0)
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
    with warehouse.connect() as connection:
        totals = compare_totals(connection)
    return dg.AssetCheckResult(
        passed=all(raw == mart for raw, mart in totals.values()),
        severity=dg.AssetCheckSeverity.WARN,
        metadata={f"{name}_{side}": value for name, pair in totals.items() for side, value in zip(("raw", "mart"), pair, strict=True)},
    )
