"""What a run was asked for, in its tags (the instant it takes for now, whether it rebuilds everything), and which runs go on."""

from datetime import UTC, datetime

import dagster as dg

AS_OF_TAG = "mesocycle/as_of"
FULL_TAG = "mesocycle/full"
POSTGRES_POOL = "postgres"
"""Lets one heavy writer at a time at the database (dagster.yaml sets the limit)."""


class NotAnInstant(ValueError):
    """An instant is written like 2024-05-01T00:00:00Z; without an offset it would mean different things in different places."""


def parse_as_of(text: str) -> datetime:
    """An aware instant in UTC from ISO 8601 text; raises NotAnInstant."""
    try:
        instant = datetime.fromisoformat(text)
    except ValueError as error:
        raise NotAnInstant(f"{text!r}: {NotAnInstant.__doc__}") from error
    if instant.tzinfo is None:
        raise NotAnInstant(f"{text!r}: {NotAnInstant.__doc__}")
    return instant.astimezone(UTC)


def build_as_of(context: dg.AssetExecutionContext) -> datetime:
    """The instant that all steps of this run take for now: its tag, else when the run was created."""
    tag = context.run.tags.get(AS_OF_TAG)
    if tag:
        return parse_as_of(tag)
    record = context.instance.get_run_record_by_id(context.run.run_id)
    return record.create_timestamp.astimezone(UTC) if record else datetime.now(UTC)


def is_full(context: dg.AssetExecutionContext) -> bool:
    """Whether this run rebuilds incremental models from the raw rows."""
    return context.run.tags.get(FULL_TAG) == "true"


UNFINISHED = [dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED]


def has_unfinished_run(instance: dg.DagsterInstance, *job_names: str) -> bool:
    """Whether a run of one of these jobs is queued or running."""
    return any(instance.get_run_ids(dg.RunsFilter(job_name=name, statuses=UNFINISHED), limit=1) for name in job_names)


def keep_connections(instance: dg.DagsterInstance) -> None:
    """Hold on to the connections to Dagster's storage, as its webserver does.

    Otherwise each of the thousand statements behind a run's events opens one of its own, 8 ms each: a quarter of a refresh.
    """
    instance.optimize_for_webserver(statement_timeout=60_000, pool_recycle=3600, max_overflow=20)
