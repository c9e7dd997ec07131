"""A check on the scorecard: red while a promise that was kept is broken."""

import dagster as dg

from orchestration.resources import Warehouse

SCORECARD = dg.AssetKey(["marts", "readiness_scorecard"])
LOOK_BACK_DAYS = 28
"""A promise that was kept within four weeks and isn't any more is lost; one that was never kept is only not there yet."""


@dg.asset_check(
    asset=SCORECARD,
    name="no_met_criterion_is_lost",
    description="Red while a promise that was kept within the last 28 days is not kept now; the scorecard's evidence query says why.",
)
def no_met_criterion_is_lost(warehouse: Warehouse) -> dg.AssetCheckResult:
    with warehouse.connect() as connection:
        rows = connection.execute(
            """
            select criterion, label, value, target, is_met,
              not is_met and coalesce(last_met_on >= (as_of at time zone 'UTC')::date - %s, false) as is_lost, last_met_on, verdict
            from marts.readiness_scorecard order by position
            """,
            [LOOK_BACK_DAYS],
        ).fetchall()
    lost = [row for row in rows if row[5]]
    table = ["| criterion | value | target | verdict |", "|---|---|---|---|"]
    table += [
        f"| {label} | {'–' if value is None else f'{value:.4g}'} | {target:g} | {verdict} |"
        for _, label, value, target, *_, verdict in rows
    ]
    return dg.AssetCheckResult(
        passed=not lost,
        severity=dg.AssetCheckSeverity.ERROR,
        description=" ".join(f"{label} was met until {last_met_on}." for _, label, *_, last_met_on, _ in lost) or None,
        metadata={
            "scorecard": dg.MetadataValue.md("\n".join(table)),
            "met": sum(bool(row[4]) for row in rows),
            "criteria": len(rows),
            "lost": [row[0] for row in lost],
        },
    )


@dg.definitions
def scorecard() -> dg.Definitions:
    return dg.Definitions(asset_checks=[no_met_criterion_is_lost])
