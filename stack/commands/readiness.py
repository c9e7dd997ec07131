"""Is version 3 ready, and why not: the scorecard in the terminal."""

import json
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from database.connection import Role, connect
from database.readiness import READ
from stack.commands.context import console, current_platform


def register(app: typer.Typer) -> None:
    app.command()(readiness)


def readiness(
    as_json: Annotated[bool, typer.Option("--json", help="The scorecard as JSON, as GET /api/v1/readiness answers it.")] = False,
    evidence: Annotated[bool, typer.Option(help="Print the query behind each value, too.")] = False,
) -> None:
    """Print the scorecard: each promise of version 3, its value now, and whether it is kept."""
    with connect(current_platform().url(Role.ANALYST)) as connection:
        row = connection.execute(READ).fetchone()
    text: str = row[0] if row else "{}"
    if as_json:
        print(text)
        return
    show(json.loads(text), evidence=evidence)


def show(scorecard: dict[str, Any], *, evidence: bool = False) -> None:
    """The scorecard as a table, and its verdict."""
    table = Table(title=f"Readiness as of {scorecard['asOf']}", title_justify="left")
    for name, justify in (("", "left"), ("target", "right"), ("now", "right"), ("trend", "right"), ("began at", "right")):
        table.add_column(name, justify=justify)  # type: ignore[arg-type]
    table.add_column("verdict")
    table.add_column("since", no_wrap=True)
    for row in scorecard["criteria"]:
        unit = row["unit"]
        sign = "<" if row["direction"] == "below" else "≥"
        colour = {"better": "green", "worse": "red"}.get(row["trendMeans"], "dim")
        trend = "–" if row["trend"] is None else f"[{colour}]{shown(row['trend'], unit, signed=True)}[/]"
        verdict = {"met": "[green]✓ met[/]", "missed": "[red]✗ missed[/]"}.get(row["verdict"], "[yellow]? no data[/]")
        table.add_row(
            f"{escape(row['label'])} [dim]({row['windowDays']} d)[/]",
            f"{sign} {shown(row['target'], unit)}",
            shown(row["value"], unit),
            trend,
            shown(row["baseline"], unit),
            verdict,
            row["sinceOn"],
        )
    console.print(table)
    if evidence:
        for row in scorecard["criteria"]:
            console.print(f"\n[bold]{escape(row['label'])}[/]\n{escape(row['evidence'])}")
    met = sum(row["isMet"] for row in scorecard["criteria"])
    if scorecard["isReady"]:
        console.print(f"[green]Ready:[/] all {met} promises are kept.")
    else:
        console.print(f"[red]Not ready:[/] {met} of {len(scorecard['criteria'])} promises are kept.")


def shown(value: float | None, unit: str, *, signed: bool = False) -> str:
    """A value with its unit, as people write it."""
    if value is None:
        return "–"
    sign = "+" if signed else ""
    if unit == "share":
        return f"{100 * value:{sign}.1f} %"
    if unit == "ms":
        return f"{value:{sign},.1f} ms" if abs(value) < 100 else f"{value:{sign},.0f} ms"
    return f"{value:{sign},.0f}"
