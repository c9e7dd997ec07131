"""The app's tables as source assets: what the platform reads, described once, in the dbt sources."""

import json

import dagster as dg

from orchestration.dbt import dbt_project

OWNER = "team:app"


@dg.definitions
def tables() -> dg.Definitions:
    manifest = json.loads(dbt_project().manifest_path.read_text())
    sources = [source for source in manifest["sources"].values() if source["source_name"] == "app"]
    return dg.Definitions(
        assets=[
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
        ]
    )
