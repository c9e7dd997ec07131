"""What every asset says about itself: whose it is, what made it, when it is late. A test holds all assets to it."""

from datetime import timedelta

import dagster as dg

OWNER = "team:data"

FRESHNESS = dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=26), warn_window=timedelta(hours=25))
"""A build happens at least once a day, because a day that passes moves every summary's window; in between, builds are skipped
while nothing changes, so a shorter window would call an idle platform late."""


def with_standards(spec: dg.AssetSpec) -> dg.AssetSpec:
    """`spec` with an owner, kinds and, for what the platform makes, a freshness policy; what it says itself stays."""
    layer = spec.key.path[0]
    made_here = layer != "app"
    return spec.replace_attributes(
        owners=spec.owners or [OWNER],
        group_name=layer,
        kinds=spec.kinds | {"postgres"},
        freshness_policy=(spec.freshness_policy or FRESHNESS) if made_here else spec.freshness_policy,
    )
