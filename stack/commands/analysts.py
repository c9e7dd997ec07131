"""For analysts: marts as files, and the documentation site."""

import functools
import http.server
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from database.connection import Role, connect
from orchestration.dbt import DBT_PROJECT, dbt_environment
from stack.commands.context import CommandError, console, current_platform
from stack.exports import ExportFormat, UnknownMart, find_mart
from stack.exports import export as write_export
from stack.home import free_port


def register(app: typer.Typer) -> None:
    app.command()(export)
    app.command()(docs)


def export(
    mart: Annotated[str, typer.Argument(help="Name of the mart, as in user_summary.")],
    form: Annotated[ExportFormat, typer.Option("--format", help="Parquet keeps types; CSV opens anywhere.")] = ExportFormat.PARQUET,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="File to write; <mart>.<format> unless given.")] = None,
) -> None:
    """Write a mart into a file, streamed: memory stays small whatever its size."""
    platform = current_platform()
    url = platform.url(Role.ANALYST)
    with connect(url) as connection:
        try:
            found = find_mart(connection, mart)
        except UnknownMart as error:
            raise CommandError(str(error)) from error
        target = output or Path(f"{found.name}.{form}")
        if not target.parent.is_dir():
            raise CommandError(f"There is no folder {target.parent}.")
        with Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed:,.0f}/{task.total:,.0f} rows"),
            TimeRemainingColumn(),
            console=console,
        ) as bar:
            task = bar.add_task(found.name, total=found.rows)
            rows = write_export(url, connection, found, target, form, lambda done: bar.update(task, completed=done))
    console.print(f"{rows:,} rows of marts.{found.name} in {target} ({target.stat().st_size / 1e6:,.1f} MB)")


def docs(
    port: Annotated[int, typer.Option(help="Preferred port.")] = 8080,
    serve: Annotated[bool, typer.Option(help="Serve the site after making it; else only say where it lies.")] = True,
) -> None:
    """Make the dbt documentation site (every column, every test, lineage to the API) and serve it on this machine."""
    platform = current_platform()
    target = platform.home.dbt_folder / "docs"
    command = [Path(sys.executable).parent / "dbt", "--quiet", "docs", "generate", "--static", "--project-dir", DBT_PROJECT]
    command += ["--profiles-dir", DBT_PROJECT, "--target-path", target]
    with console.status("Collecting columns and lineage"):
        result = subprocess.run(
            [*map(str, command), "--log-path", str(target)],
            env={**os.environ, **dbt_environment(platform.url(Role.OWNER))},
            capture_output=True,
            text=True,
            check=False,
        )
    if result.returncode:
        raise CommandError(f"dbt could not make the site:\n{result.stdout}{result.stderr}")
    page = target / "static_index.html"
    if not serve:
        console.print(str(page))
        return
    chosen = free_port(port, set())
    handler = functools.partial(_Handler, directory=str(target))
    with http.server.ThreadingHTTPServer(("127.0.0.1", chosen), handler) as server:
        console.print(f"http://127.0.0.1:{chosen}/static_index.html   (Ctrl-C stops it)")
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            thread.join()
        except KeyboardInterrupt:
            server.shutdown()


class _Handler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Say nothing per request."""
