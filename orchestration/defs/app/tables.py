"""The app's tables as source assets: what the platform reads, described once, in the dbt sources."""

import json

import dagster as dg

from orchestration.dbt import dbt_project

OWNER = "team:app"

BESIDE_DBT = {
    "imports": "Each exported file that was read: what it was and what became of it. One row per user and content.",
    "plan_events": "What happened to plan requests, as an append-only log of events. One row per event.",
    "plan_requests": "Requests for a new plan and what became of them. One row per job.",
    "rejected_rows": "Rows that could not be used, kept with their reason. One row per refused row.",
}
"""Tables that people and checks look at but no model reads."""


@dg.definitions
def tables() -> dg.Definitions:
    manifest = json.loads(dbt_project().manifest_path.read_text())
    sources = [source for source in manifest["sources"].values() if source["source_name"] == "app"]
    described = {source["name"] for source in sources}
    beside = [
        dg.AssetSpec(key=["app", name], group_name="app", description=text, owners=[OWNER], kinds={"postgres", "table"})
        for name, text in BESIDE_DBT.items()
        if name not in described
    ]
    return dg.Definitions(
        assets=[
            *beside,
            *(
                dg.AssetSpec(
                    key=["app", source["name"]],
                    group_name="app",
                    description=source["description"],
                    owners=[OWNER],
                    kinds={"postgres", "table"},
                    metadata={
                        "dagster/column_schema": dg.TableSchema(
                            columns=[
                                dg.TableColumn(column["name"], type=column.get("data_type") or "", description=column["description"])
                                for column in source["columns"].values()
                            ]
                        ),
                        "dagster/table_name": f"{source['schema']}.{source['name']}",
                    },
                )
                for source in sources
            ),
        ]
    )
