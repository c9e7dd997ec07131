"""Puts the jobs into the code location."""

import dagster as dg

from orchestration.jobs import marts_job, plans_job, refresh_job, totals_job


@dg.definitions
def jobs() -> dg.Definitions:
    return dg.Definitions(
        jobs=[marts_job, plans_job, refresh_job, totals_job],
        # One process for a run: starting a process per step costs 3-4 s each and buys nothing, dbt is one step.
        executor=dg.in_process_executor,
    )
