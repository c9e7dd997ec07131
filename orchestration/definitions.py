"""The code location: everything under defs/, held to the standards."""

from pathlib import Path

import dagster as dg

from orchestration.standards import with_standards


@dg.definitions
def defs() -> dg.Definitions:
    return dg.load_from_defs_folder(path_within_project=Path(__file__).parent).map_asset_specs(func=with_standards)
