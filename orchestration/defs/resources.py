"""Resources, from the environment, read when a run starts."""

import dagster as dg

from orchestration.resources import Warehouse


@dg.definitions
def resources() -> dg.Definitions:
    return dg.Definitions(
        resources={
            "warehouse": Warehouse(
                owner_url=dg.EnvVar("MESOCYCLE_OWNER_URL"),
                pipeline_url=dg.EnvVar("MESOCYCLE_PIPELINE_URL"),
            )
        }
    )
