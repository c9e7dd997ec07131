"""Users in 64 buckets by `user_key % 64`: what a run of plans covers."""

import dagster as dg

from database.plans import BUCKETS

user_buckets = dg.StaticPartitionsDefinition([f"{bucket:02d}" for bucket in range(BUCKETS)])

ALL_BUCKETS_TAGS = {
    "dagster/asset_partition_range_start": "00",
    "dagster/asset_partition_range_end": f"{BUCKETS - 1:02d}",
}
"""Tags of a single run that covers every bucket (the assets' backfill policy is a single run)."""
