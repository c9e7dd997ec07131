"""The performance monitor: drives the running platform for a while and says whether it keeps its promises."""

import json
import random
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from api.tokens import issue_token
from database.connection import Role, connect
from stack.commands.context import CommandError, console, current_platform
from stack.commands.readiness import shown
from stack.monitor import Load, Measured, Operation, drive, read_targets, report, save, schedule, some_users, wait_for_plans
from stack.platform import LOOPBACK


def register(app: typer.Typer) -> None:
    app.command()(monitor)


def monitor(
    seconds: Annotated[float, typer.Option(help="How long the load lasts.", min=1, max=3600)] = 20,
    rate: Annotated[float, typer.Option(help="Requests per second: reads mostly, some events, a few plan requests.", min=1, max=500)] = 40,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON, for scripts.")] = False,
) -> None:
    """Measure reads, plan requests and onboarding events on the running platform; exit code 1 where a target is missed.

    Plan requests are real ones, for sample users (their inputs are the same, so are their plans). Events go to a flow that counts nowhere.
    """
    platform = current_platform()
    with connect(platform.url(Role.PIPELINE), application_name="mesocycle monitor") as connection:
        targets = read_targets(connection)
        users = some_users(connection)
        connection.commit()
        if not users:
            raise CommandError("There are no users to measure with: `mesocycle import FILE --user USER` makes one.")
        private_key = platform.home.secrets()["private_key"]
        token = issue_token(private_key, subject="monitor", scopes=["service"], lifetime=timedelta(seconds=seconds + 600))
        load = Load(LOOPBACK, platform.ports["api"], token, schedule(seconds, rate, users, random.Random()))
        started_at = datetime.now(UTC)
        with Live(table(load.measured, 0.0), console=console, refresh_per_second=4, transient=True) if not as_json else _Quiet() as live:
            elapsed = drive(load, lambda: live.update(table(load.measured, load.elapsed)))
        if not as_json and load.job_ids:
            console.print(f"[dim]Waiting for {len(set(load.job_ids))} plan jobs …[/]")
        plans = wait_for_plans(connection, load.job_ids)
        result = report(load.measured, plans, targets, seconds=elapsed) | {"startedAt": started_at.isoformat()}
        save(connection, started_at, result)
    if as_json:
        print(json.dumps(result))
    else:
        _show(load.measured, elapsed, result)
        if load.first_error:
            console.print(f"[red]First error:[/] {escape(load.first_error)}")
    if not result["passed"]:
        raise typer.Exit(1)


class _Quiet:
    """Stands where the live table is not wanted."""

    def __enter__(self) -> "_Quiet":
        return self

    def __exit__(self, *_: object) -> None: ...

    def update(self, _: Table) -> None: ...


def table(measured: dict[Operation, Measured], elapsed: float) -> Table:
    """What was measured so far."""
    result = Table(title=f"{elapsed:.0f} s", title_justify="left")
    for name in ("", "requests", "per s", "errors", "P50 ms", "P95 ms", "P99 ms", "max ms"):
        result.add_column(name, justify="left" if not name else "right")
    for operation, one in measured.items():
        count = len(one.milliseconds)
        times = [one.percentile(share) for share in (0.5, 0.95, 0.99, 1.0)]
        result.add_row(
            operation.value,
            f"{count:,}",
            f"{count / elapsed:.1f}" if elapsed else "–",
            f"[red]{one.errors}[/]" if one.errors else "0",
            *("–" if value is None else f"{value:,.1f}" for value in times),
        )
    return result


def _show(measured: dict[Operation, Measured], elapsed: float, result: dict[str, Any]) -> None:
    console.print(table(measured, elapsed))
    plans = result["plans"]
    console.print(f"Plans: {plans['finished']} made, {plans['failed']} failed, {plans['unfinished']} not finished in time.")
    targets = Table()
    for name in ("promise", "target", "measured", ""):
        targets.add_column(name, justify="right" if name in ("target", "measured") else "left")
    for row in result["targets"]:
        verdict = "[green]✓[/]" if row["isMet"] else "[red]✗[/]"
        targets.add_row(row["label"], f"< {shown(row['target'], row['unit'])}", shown(row["value"], row["unit"]), verdict)
    console.print(targets)
