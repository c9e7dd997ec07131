"""The code location: everything under defs/, held to the standards."""

import warnings
from pathlib import Path

import dagster as dg

from orchestration.standards import with_standards


@dg.definitions
def defs() -> dg.Definitions:
    with warnings.catch_warnings():
        # map_asset_specs is marked as a preview; a test looks at what it did to every asset, so a change would be seen.
        warnings.simplefilter("ignore", category=dg.PreviewWarning)
        return dg.load_from_defs_folder(path_within_project=Path(__file__).parent).map_asset_specs(func=with_standards)
