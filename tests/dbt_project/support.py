"""How tests run dbt: in this process, against the test's own database, with a target folder of its own."""

import atexit
import datetime
import functools
import os
import shutil
import tempfile
from pathlib import Path

from dbt.cli.main import dbtRunner, dbtRunnerResult

from database.connection import connect
from orchestration.dbt import DBT_PROJECT, dbt_environment


class DbtFailed(AssertionError):
    """dbt ended with errors; the message holds each failed node's."""


def run_dbt(
    database, *arguments: str, as_of: str | datetime.datetime | None = None, expect_success: bool = True, project: Path = DBT_PROJECT
) -> dbtRunnerResult:
    """Run `dbt <arguments>` against `database` (anything with the owner's `.url`, or the URL itself).

    `as_of` is written to ops.build_clock first (where it's None, the clock stays as it is, or is now where there is none).
    """
    url = database if isinstance(database, str) else database.url
    if as_of is not None:
        set_clock(url, as_of)
    before = dict(os.environ)
    folder = _target_folder(url, project)
    try:
        os.environ.update(dbt_environment(url), DBT_TARGET_PATH=folder, DBT_LOG_PATH=folder, DBT_SEND_ANONYMOUS_USAGE_STATS="false")
        result = dbtRunner().invoke(
            [*arguments, "--project-dir", str(project), "--profiles-dir", str(DBT_PROJECT), "--quiet", "--no-use-colors"]
        )
    finally:
        os.environ.clear()
        os.environ.update(before)
    if expect_success and not result.success:
        raise DbtFailed(failures(result))
    return result


@functools.cache
def _target_folder(url: str, project: Path) -> str:
    """One per database's name and project: dbt parses again only what changed since its last run."""
    folder = tempfile.mkdtemp(prefix="dbt-target-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def failures(result: dbtRunnerResult) -> str:
    """What went wrong, one line per node."""
    if result.exception:
        return str(result.exception)
    return "\n".join(
        f"{r.node.name}: {r.status}: {r.message}" for r in getattr(result.result, "results", []) if r.status not in ("success", "pass")
    )


def statuses(result: dbtRunnerResult) -> dict[str, str]:
    """Each node's status by name."""
    return {r.node.name: str(r.status) for r in result.result.results}


def set_clock(url: str, as_of: str | datetime.datetime) -> None:
    """Set the instant that the next build takes for now."""
    with connect(url) as connection:
        connection.execute(
            "insert into ops.build_clock (as_of) values (%s) on conflict (is_current) do update set as_of = excluded.as_of, set_at = now()",
            [as_of],
        )
