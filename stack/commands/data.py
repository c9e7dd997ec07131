"""Data in, and brought up to date: import, refresh, forget."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from database.connection import Role, connect
from database.erasure import forget
from domain.vocabulary import WeightUnit
from stack.commands.context import CommandError, console, current_platform, error_console, fail
from stack.platform import Platform

if TYPE_CHECKING:
    from database.imports import ImportReport


def register(app: typer.Typer) -> None:
    app.command("import")(import_files)
    app.command()(refresh)
    app.command("forget")(forget_user)


def import_files(
    files: Annotated[
        list[Path], typer.Argument(help="Exports of Strong, Hevy or FitNotes (CSV).", exists=True, dir_okay=False, readable=True)
    ],
    user: Annotated[str, typer.Option(help="Whose workouts these are: the app's user id. A new user is made where none has it.")],
    weight_unit: Annotated[WeightUnit | None, typer.Option(help="Unit of the loads, for files that don't name it.")] = None,
    timezone: Annotated[str | None, typer.Option(help="IANA zone that the file's local times are in, as in Europe/Berlin.")] = None,
    build: Annotated[bool, typer.Option("--refresh/--no-refresh", help="Bring summaries, records and plans up to date afterwards.")] = True,
) -> None:
    """Read workout logs that Strong, Hevy or FitNotes exported.

    App and variant are recognised by content. Importing a file twice, or a newer export over an older one, changes nothing twice.
    Rows that can't be used are kept in app.rejected_rows with their reason.
    """
    platform = current_platform()
    from database.imports import import_log  # noqa: PLC0415  # brings pandas: a second and 70 MB that other commands don't need
    from domain.workout_logs import WorkoutLogError, read_log  # noqa: PLC0415

    reports: list[ImportReport] = []
    failed = 0
    for path in files:
        try:
            parsed = read_log(path.read_bytes(), file_name=path.name, weight_unit=weight_unit)
            with connect(platform.url(Role.OWNER)) as connection:
                reports.append(import_log(connection, user, parsed, timezone=timezone, file_name=path.name))
        except WorkoutLogError as error:
            failed += 1
            error_console.print(f"[red]✗[/] {escape(f'{path}: {error}')}")
    for report in reports:
        _show(report)
    if any(report.changed for report in reports) and build:
        _refresh(platform, as_of=None, full=False, plans=True)
    if failed:
        raise typer.Exit(1)


def _show(report: "ImportReport") -> None:
    console.print(report.sentence(), markup=False)
    if report.rejected:
        table = Table("rows", "why they were not used (kept in app.rejected_rows)", box=None, pad_edge=False)
        for reason, rows in report.rejected.items():
            table.add_row(f"{rows:,}", escape(reason))
        console.print(table)


def refresh(
    as_of: Annotated[
        str | None, typer.Option("--as-of", help="Instant to take for now, as in 2024-05-01T00:00:00Z; replays history.")
    ] = None,
    full: Annotated[bool, typer.Option("--full", help="Rebuild everything from the raw rows instead of what changed.")] = False,
    plans: Annotated[bool, typer.Option(help="Regenerate training plans too.")] = True,
) -> None:
    """Bring summaries, records, funnels and plans up to date now, with the jobs that the schedules run."""
    _refresh(current_platform(), as_of=as_of, full=full, plans=plans)


def _refresh(platform: Platform, *, as_of: str | None, full: bool, plans: bool) -> None:
    os.environ.update(platform.environment())
    # Dagster costs two seconds to import: only the commands that run it pay.
    from orchestration.refresh import refresh as run_refresh  # noqa: PLC0415
    from orchestration.run import NotAnInstant, parse_as_of  # noqa: PLC0415

    try:
        instant = parse_as_of(as_of) if as_of else None
    except NotAnInstant as error:
        raise CommandError(str(error)) from error
    result = run_refresh(as_of=instant, full=full, plans=plans, log_file=platform.home.logs_folder / "refresh.log")
    if not result.succeeded:
        for failure in result.failures:
            error_console.print(failure, markup=False)
        raise fail(
            f"The refresh failed. Run {result.run_id} in the Dagster UI says where ({platform.address('dagster')}/runs/{result.run_id})."
        )
    console.print(f"[green]✓[/] {result.materialized} assets are up to date.")


def forget_user(
    user: Annotated[str, typer.Argument(metavar="USER", help="The app's user id.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")] = False,
) -> None:
    """Remove everything about a person, from every schema, at once, and prove it. Cannot be undone.

    What stays is a row in app.erasures that says how many rows went from where, without naming the person.
    """
    platform = current_platform()
    if not yes:
        typer.confirm(f"Remove everything about {user}?", abort=True)
    removed = forget(platform.url(Role.OWNER), user)
    if not removed:
        console.print(f"Nothing was stored about {user}.", markup=False)
        return
    table = Table("rows", "removed from", box=None, pad_edge=False)
    for relation, rows in sorted(removed.items()):
        table.add_row(f"{rows:,}", relation)
    console.print(table)
    console.print(f"[green]✓[/] Nothing about {escape(user)} is left in any schema.")
