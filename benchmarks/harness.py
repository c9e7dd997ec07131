"""What every benchmark shares: repeated runs, figures with their peer and limit, the table, the JSON file, a throwaway Postgres."""

import argparse
import inspect
import json
import math
import os
import platform
import shutil
import signal
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Literal, TextIO

import psutil
import psycopg
from rich.console import Console
from rich.table import Table

from database.bootstrap import bootstrap
from database.connection import Role, connect
from database.migrate import migrate
from stack.embedded_postgres import EmbeddedPostgres, PostgresError, server_settings

Figure = dict[str, Any]
Figures = dict[str, Figure]
Number = float | int | bool

QUICK_SECONDS = 50
"""What `--quick` may take at most; going over is said aloud."""


class UnusableFigure(ValueError):
    """A figure has no run, or one that isn't a finite number: a benchmark must say what it measured."""


def figure(
    value_or_runs: Number | Sequence[Number],
    unit: str,
    peer: float | Mapping[str, Any] | None = None,
    limit: float | None = None,
    *,
    better: Literal["lower", "higher"] | None = None,
) -> Figure:
    """One measured figure: `value` is the median of the runs, `spread` the distance between the lowest and the highest.

    `peer` is what it is compared with, in the same unit: a number or `{"name": …, "value": …}`. `limit` is what it must keep:
    not exceeded where lower is better, reached where higher is. `better` defaults to higher for a rate ("…/s"), else lower.
    Booleans are a verdict: true where all runs are, and then the limit is true.
    """
    runs = list(value_or_runs) if isinstance(value_or_runs, Sequence) else [value_or_runs]
    if not runs:
        raise UnusableFigure("A figure needs at least one run.")
    runs = [run.item() if hasattr(run, "item") else run for run in runs]  # numpy's scalars aren't JSON
    if not all(isinstance(run, bool | int | float) and math.isfinite(run) for run in runs):
        raise UnusableFigure(f"A figure's runs must be finite numbers, not {runs!r}.")
    direction = better or ("higher" if unit.endswith("/s") else "lower")
    value: Number
    if all(isinstance(run, bool) for run in runs):
        value, met = all(runs), all(runs)
        return {"value": value, "unit": unit, "peer": peer, "limit": True, "runs": runs, "spread": 0, "better": "higher", "met": met}
    value = statistics.median(runs)
    return {
        "value": value,
        "unit": unit,
        "peer": dict(peer) if isinstance(peer, Mapping) else None if peer is None else float(peer),
        "limit": limit,
        "runs": runs,
        "spread": max(runs) - min(runs),
        "better": direction,
        "met": None if limit is None else (value <= limit if direction == "lower" else value >= limit),
    }


def repeat(function: Callable[[], object], runs: int = 5, warmup: int = 1, *, before: Callable[[], object] | None = None) -> list[float]:
    """Wall seconds of each of `runs` calls, after `warmup` calls that don't count; `before` runs, untimed, ahead of each call."""
    seconds = []
    for number in range(warmup + runs):
        if before is not None:
            before()
        start = time.perf_counter()
        function()
        elapsed = time.perf_counter() - start
        if number >= warmup:
            seconds.append(elapsed)
    return seconds


def machine() -> dict[str, Any]:
    """What the figures were measured on; `load` is the load average (1, 5, 15 minutes) when it is asked."""
    model = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    return {
        "cpu": model,
        "cores": usable_cores(),
        "memory_gb": round(psutil.virtual_memory().total / 2**30, 1),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "load": [round(value, 2) for value in psutil.getloadavg()],
    }


def usable_cores() -> int:
    """Cores that this process may run on (fewer than the machine's under an affinity mask)."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def main(
    name: str,
    run: Callable[..., Figures],
    *,
    description: str | None = None,
    add_arguments: Callable[[argparse.ArgumentParser], object] | None = None,
    arguments: Sequence[str] | None = None,
) -> None:
    """The command line of one benchmark: calls `run(quick)`, prints a table, writes the JSON file where asked.

    With `add_arguments` the benchmark takes arguments of its own and is called as `run(quick, options)`. The description
    defaults to the docstring of the module that `run` comes from. Exit code 0 also where a limit isn't kept: the file says so.
    """
    module = inspect.getmodule(run)
    parser = argparse.ArgumentParser(
        prog=f"python -m benchmarks.{name}",
        description=description or (inspect.getdoc(module) if module else None),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="Every figure is the median of its runs; the file holds all runs, the peer and the limit that a figure is compared with.",
    )
    parser.add_argument("--quick", action="store_true", help=f"smaller data, fewer runs: under {QUICK_SECONDS} s")
    parser.add_argument("--json", metavar="FILE", help="write the figures to FILE as JSON ('-' for standard output)")
    if add_arguments is not None:
        add_arguments(parser)
    options = parser.parse_args(arguments)
    if options.json and options.json != "-":
        _check_writable(parser, Path(options.json))

    console = Console(stderr=options.json == "-")
    if not console.is_terminal:
        console.width = max(console.width, 140)  # a file has no edge at which a figure's name would have to be broken
    before = machine()
    if before["load"][0] > before["cores"]:
        console.print(f"The machine is busy (load {before['load'][0]} on {before['cores']} cores): expect worse figures than it can do.")
    previous = signal.signal(signal.SIGTERM, _leave)
    start = time.perf_counter()
    try:
        figures = run(options.quick, options) if add_arguments is not None else run(options.quick)
    except KeyboardInterrupt:
        sys.exit(130)
    finally:
        signal.signal(signal.SIGTERM, previous)
    seconds = time.perf_counter() - start
    report = {"benchmark": name, "machine": before, "quick": options.quick, "seconds": round(seconds, 2), "figures": figures}
    console.print(table(name, figures))
    console.print(f"{seconds:.1f} s on {before['cores']} cores, {before['cpu']}, {before['memory_gb']} GB, Python {before['python']}")
    if options.quick and seconds > QUICK_SECONDS:
        console.print(f"This took longer than --quick promises ({QUICK_SECONDS} s).")
    if options.json == "-":
        _write(report, sys.stdout)
    elif options.json:
        path = Path(options.json)
        aside = path.with_name(f".{path.name}.{os.getpid()}")
        with aside.open("w") as file:
            _write(report, file)
        aside.replace(path)


def table(name: str, figures: Figures) -> Table:
    """The figures as a person reads them."""
    result = Table(title=f"benchmarks.{name}", title_justify="left")
    result.add_column("figure", overflow="fold")
    for column in ("value", "unit", "spread", "runs", "peer", "limit", "met"):
        result.add_column(column, justify="right" if column not in {"unit", "met"} else "left")
    for key, entry in figures.items():
        limit = entry["limit"]
        sign = "" if limit is None or isinstance(limit, bool) else ("≤ " if entry["better"] == "lower" else "≥ ")
        result.add_row(
            key,
            _number(entry["value"]),
            entry["unit"],
            _number(entry["spread"]) if len(entry["runs"]) > 1 else "",
            str(len(entry["runs"])),
            _peer(entry["peer"]),
            "" if limit is None else sign + _number(limit),
            {None: "", True: "[green]yes[/green]", False: "[red]no[/red]"}[entry["met"]],
        )
    return result


@dataclass(frozen=True)
class ThrowawayPostgres:
    """A migrated database on a cluster that ends with its benchmark; `url` is the owner's."""

    urls: dict[Role, str]
    admin_url: str
    server: EmbeddedPostgres

    @property
    def url(self) -> str:
        return self.urls[Role.OWNER]

    def connect(self, role: Role = Role.OWNER, *, autocommit: bool = True) -> psycopg.Connection:
        return connect(self.urls[role], autocommit=autocommit)

    def size_bytes(self) -> int:
        """Size of the database on disk."""
        with self.connect() as connection:
            row = connection.execute("select pg_database_size(current_database())").fetchone()
        assert row
        return row[0]


@contextmanager
def throwaway_postgres(settings: Mapping[str, str] | None = None) -> Iterator[ThrowawayPostgres]:
    """A migrated, empty database on a new embedded cluster with the settings that `mesocycle up` uses (so fsync is on).

    Lives in a folder under TMPDIR that is removed at the end, also after Ctrl-C or SIGTERM. `settings` override single ones.
    """
    folder = Path(tempfile.mkdtemp(prefix="mesocycle-benchmark-"))
    chosen = server_settings(memory_bytes=psutil.virtual_memory().total, cpus=usable_cores()) | dict(settings or {})
    server = EmbeddedPostgres(folder / "data", _free_port())
    try:
        server.create("benchmark-superuser")
        try:
            server.start(chosen)
        except PostgresError:  # somebody may have taken the port between our look and the start
            server = EmbeddedPostgres(folder / "data", _free_port())
            server.start(chosen)
        admin_url = server.url("benchmark-superuser")
        urls = bootstrap(admin_url, database="mesocycle", passwords={role: f"benchmark-{role}" for role in Role})
        migrate(urls[Role.OWNER])
        yield ThrowawayPostgres(urls, admin_url, server)
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _leave(_signal: int, _frame: FrameType | None) -> None:
    # As an exception, so that the servers which a benchmark started are stopped on the way out.
    sys.exit(143)


def _check_writable(parser: argparse.ArgumentParser, path: Path) -> None:
    # Before the run, not after a minute of it.
    if path.is_dir():
        parser.error(f"--json names a folder: {path}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        parser.error(f"--json: the folder {path.parent} can't be made: {error.strerror}")
    if not os.access(path.parent, os.W_OK):
        parser.error(f"--json: the folder {path.parent} can't be written to")


def _write(report: dict[str, Any], file: TextIO) -> None:
    json.dump(report, file, indent=2, allow_nan=False, ensure_ascii=False)
    file.write("\n")


def _number(value: Number) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value == 0 or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.4g}"


def _peer(peer: float | Mapping[str, Any] | None) -> str:
    if peer is None:
        return ""
    if isinstance(peer, Mapping):
        return f"{_number(peer['value'])} ({peer['name']})" if "name" in peer else _number(peer["value"])
    return _number(peer)
