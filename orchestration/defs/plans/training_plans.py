"""Training plans by user bucket: the asset, and the checks on what was stored. The work is in domain.planning and database.plans."""

import dagster as dg

from database import plans
from orchestration.partitions import user_buckets
from orchestration.resources import Warehouse
from orchestration.run import POSTGRES_POOL, build_as_of, is_full

KEY = dg.AssetKey(["plans", "plans"])


@dg.asset(
    key=KEY,
    deps=[
        dg.AssetKey(["intermediate", "training_state"]),
        *(dg.AssetKey(["app", table]) for table in ("users", "profiles", "workouts", "workout_sets")),
    ],
    description=(
        "Four-week training plans, one per user, with a reason for every number. A run regenerates the plans of users whose inputs "
        "changed (a workout, the profile, a new week, the engine); plans of all others stay. History is kept in `plans.plans`."
    ),
    partitions_def=user_buckets,
    backfill_policy=dg.BackfillPolicy.single_run(),
    pool=POSTGRES_POOL,
    kinds={"python", "numpy", "table"},
    metadata={"dagster/table_name": "plans.plans"},
    retry_policy=dg.RetryPolicy(max_retries=2, delay=5, backoff=dg.Backoff.EXPONENTIAL),
)
def training_plans(context: dg.AssetExecutionContext, warehouse: Warehouse) -> dg.MaterializeResult:
    buckets = [int(key) for key in context.partition_keys]
    done = plans.regenerate(warehouse.pipeline_url, as_of=build_as_of(context), buckets=buckets, only_changed=not is_full(context))
    seconds = done.seconds_reading + done.seconds_planning + done.seconds_writing
    return dg.MaterializeResult(
        metadata={
            "users": done.users + done.untouched,
            "planned": done.planned,
            "unchanged": done.unchanged + done.untouched,
            "refused": done.refused,
            "seconds": round(seconds, 3),
            "seconds_reading": round(done.seconds_reading, 3),
            "seconds_planning": round(done.seconds_planning, 3),
            "seconds_writing": round(done.seconds_writing, 3),
            "users_per_second": round(done.users / seconds, 1) if seconds else 0,
            "buckets": len(buckets),
        }
    )


@dg.asset_check(
    asset=KEY, description="A sample of current plans keeps every property, and planning the same inputs again gives the same bytes."
)
def plans_keep_their_properties(warehouse: Warehouse) -> dg.AssetCheckResult:
    with warehouse.connect() as connection:
        found = plans.verify_stored(connection)
    return dg.AssetCheckResult(
        passed=not found.broken and not found.differing,
        severity=dg.AssetCheckSeverity.ERROR,
        metadata={
            "plans_checked": found.plans,
            "broken": {name: users[:20] for name, users in found.broken.items()},
            "differing_users": found.differing[:20],
        },
    )


@dg.asset_check(asset=KEY, description="Every user with a profile has a plan, or a refusal that says why not.")
def everybody_with_a_profile_has_a_plan(warehouse: Warehouse) -> dg.AssetCheckResult:
    with warehouse.connect() as connection:
        missing, expected = plans.count_unplanned(connection)
    return dg.AssetCheckResult(
        passed=missing == 0, severity=dg.AssetCheckSeverity.WARN, metadata={"without_plan": missing, "profiles": expected}
    )
