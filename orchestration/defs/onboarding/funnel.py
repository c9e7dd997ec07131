"""The onboarding funnel in Dagster: its chart, and a warning where a step's conversion fell."""

from collections.abc import Iterator

import dagster as dg

from orchestration.funnel_report import BASELINE_DAYS, COMPARISONS, RECENT_DAYS, TOTALS, Comparison, as_markdown, chart, fallen
from orchestration.resources import Warehouse

KEY = dg.AssetKey(["marts", "onboarding_funnel"])


@dg.multi_asset_check(
    specs=[
        dg.AssetCheckSpec(
            name="conversion_holds",
            asset=KEY,
            description=(
                "No step's conversion, in any segment, lies significantly below its trailing four weeks (two-proportion test over the newest "
                "seven cohort days whose windows are over). Warns with step, segment and the error that stopped most."
            ),
        )
    ]
)
def onboarding_funnel_report(context: dg.AssetCheckExecutionContext, warehouse: Warehouse) -> Iterator[dg.AssetCheckResult]:
    with warehouse.connect() as connection:
        rows = connection.execute(COMPARISONS, {"recent": RECENT_DAYS, "baseline": BASELINE_DAYS}).fetchall()
        totals = connection.execute(TOTALS).fetchall()
    comparisons = [Comparison(*row) for row in rows]
    found = fallen(comparisons)
    charts = {f"chart {flow}": chart_of(flow, totals) for flow in dict.fromkeys(row[0] for row in totals)}
    if charts:
        context.op_execution_context.log_event(
            dg.AssetObservation(KEY, description="People per step, cohorts of the last four weeks", metadata=charts)
        )
    yield dg.AssetCheckResult(
        passed=not found,
        asset_key=KEY,
        check_name="conversion_holds",
        severity=dg.AssetCheckSeverity.WARN,
        description=" ".join(each.sentence() for each in found[:3]) or None,
        metadata={
            "compared": sum(each.is_comparable for each in comparisons),
            "too_few_people": sum(not each.is_comparable for each in comparisons),
            "fallen": [each.sentence() for each in found[:20]],
            **charts,
        },
    )


def chart_of(flow: str, totals: list[tuple[str, str, int, int]]) -> dg.MarkdownMetadataValue:
    own = [row for row in totals if row[0] == flow]
    people = {step: count for _, step, count, _ in own}
    return dg.MetadataValue.md(as_markdown(chart(flow, people, own[0][3]), f"{flow}: people per step"))
