"""Start, stop, look at and remove a platform: up, down, status, doctor, reset."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Annotated, Any

import psutil
import typer
from rich.console import Console
from rich.panel import Panel
from rich.table import Table

from stack.commands.context import CommandError, console, current_home, shown_command
from stack.doctor import examine
from stack.embedded_postgres import EmbeddedPostgres
from stack.home import Home, RecordedProcess
from stack.platform import Options, Platform, PlatformError, wait_for
from stack.supervisor import stop_processes

START_SECONDS = 600


class _Stopped(BaseException):
    """Ctrl-C or SIGTERM arrived."""


def register(app: typer.Typer) -> None:
    app.command()(up)
    app.command()(down)
    app.command()(status)
    app.command()(doctor)
    app.command()(reset)


def up(
    sample: Annotated[bool, typer.Option(help="Load sample users into an empty platform.")] = True,
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Return when everything is ready and leave it running.")] = False,
    api_port: Annotated[int | None, typer.Option(help="Preferred port of the API (8000).")] = None,
    dagster_port: Annotated[int | None, typer.Option(help="Preferred port of the Dagster UI (3000).")] = None,
    postgres_port: Annotated[int | None, typer.Option(help="Preferred port of PostgreSQL (5432).")] = None,
    api_workers: Annotated[int | None, typer.Option(help="Processes of the API; one per core unless given.")] = None,
) -> None:
    """Start the whole platform: PostgreSQL, Dagster, the API.

    The first start loads sample users and builds everything; Ctrl-C (or `mesocycle down`) stops what it started.
    With DATABASE_URL set, an existing Postgres (15 or newer) is used instead of the embedded one.
    """
    home = current_home()
    wanted = {"api": api_port, "dagster": dagster_port, "postgres": postgres_port}
    options = Options(
        sample=sample,
        ports={name: port for name, port in wanted.items() if port is not None},
        external_url=os.environ.get("DATABASE_URL"),
        api_workers=api_workers,
    )
    if detach:
        _up_detached(home, sys.argv[1:])
        return
    with home.lock() as held:
        if not held:
            _wait_until_ready(home)
            console.print("The platform is running already.")
            _print_addresses(home)
            return
        _supervise(home, options)


def _supervise(home: Home, options: Options) -> None:
    def stop(number: int, frame: Any) -> None:
        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, signal.SIG_IGN)  # stopping takes seconds; a second Ctrl-C must not leave half of it running
        raise _Stopped

    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)
    platform = Platform(home, lambda line: console.print(f"[dim]{line}[/]"), options.external_url)
    builder: list[subprocess.Popen[bytes]] = []
    code = 0
    try:
        _start(home, platform, options, builder)
        platform.supervisor.watch(platform.keep_postgres_alive)
    except _Stopped:
        console.print("\nStopping …")
    except BaseException:
        code = 1
        raise
    finally:
        for process in builder:
            stop_processes([process.pid])
        platform.stop()
        if code == 0:
            console.print("Stopped.")


def _start(home: Home, platform: Platform, options: Options, builder: list[subprocess.Popen[bytes]]) -> None:
    began = time.monotonic()
    home.create()
    home.update_state(supervisor=vars(RecordedProcess.of(os.getpid())), ready=False)
    platform.recover()
    platform.choose_ports(options.ports)
    _step(console, platform.start_postgres)
    parse = _Background(platform.prepare_dagster)
    _step(console, platform.prepare_database)
    if options.sample:
        _step(console, platform.load_sample_users)
    _step(console, parse.result)
    platform.start_services(options.api_workers)
    if platform.needs_first_build:
        console.print("First build of everything, through Dagster:")
        build = subprocess.Popen(
            [sys.executable, "-m", "stack.cli", "--home", str(home.folder), "refresh"],
            env={**os.environ, **platform.environment()},
            start_new_session=True,
            stdin=subprocess.DEVNULL,
        )
        builder.append(build)
        if build.wait() != 0:
            raise PlatformError("The first build failed; its run is in the Dagster UI and its messages stand above.")
    for name, path in (("api", "/healthz"), ("dagster", "/server_info")):
        if not wait_for(platform.address(name) + path, 120):
            raise PlatformError(f"{name} doesn't answer at {platform.address(name)}. Its log: {home.logs_folder}")
    platform.start_background()
    home.update_state(ready=True)
    console.print(f"[green]Ready[/] after {time.monotonic() - began:.1f} s.\n")
    _print_addresses(home)
    console.print("\nCtrl-C stops everything.")


class _Background:
    """A step that runs beside others; `result` waits for it and raises what it raised."""

    def __init__(self, work: Callable[[], str]) -> None:
        self._outcome: list[Any] = []
        self._thread = threading.Thread(target=self._run, args=(work,), daemon=True)
        self._thread.start()

    def _run(self, work: Callable[[], str]) -> None:
        try:
            self._outcome = [work(), None]
        except Exception as error:
            self._outcome = [None, error]

    def result(self) -> str:
        self._thread.join()
        text, error = self._outcome
        if error:
            raise error
        return str(text)


def _step(target: Console, work: Callable[[], str]) -> None:
    began = time.monotonic()
    with target.status("…"):
        text = work()
    target.print(f"[green]✓[/] {text} [dim]({time.monotonic() - began:.1f} s)[/]")


def _up_detached(home: Home, arguments: list[str]) -> None:
    home.create()
    log_path = home.logs_folder / "up.log"
    with home.lock() as held:
        free = held
    if free:
        home.update_state(ready=False)
        own = [argument for argument in arguments if argument not in {"--detach", "-d"}]
        start = log_path.stat().st_size if log_path.exists() else 0
        with log_path.open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "stack.cli", *own],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
            )
        _follow(home, process, start)
        return
    _wait_until_ready(home)
    console.print("The platform is running already.")
    _print_addresses(home)


def _follow(home: Home, process: subprocess.Popen[bytes], start: int) -> None:
    """Show what the detached supervisor says until it is ready, or has failed."""
    deadline = time.monotonic() + START_SECONDS
    with (home.logs_folder / "up.log").open("rb") as log:
        log.seek(start)
        while time.monotonic() < deadline:
            sys.stdout.write(log.read().decode(errors="replace"))
            sys.stdout.flush()
            if process.poll() is not None:
                sys.stdout.write(log.read().decode(errors="replace"))
                raise CommandError(f"The platform ended with exit code {process.returncode} before it was ready.")
            if home.state().get("ready"):
                time.sleep(0.3)
                sys.stdout.write(
                    log.read().decode(errors="replace").replace("Ctrl-C stops everything.", "`mesocycle down` stops everything.")
                )
                sys.stdout.flush()
                return
            time.sleep(0.2)
    raise CommandError(f"The platform was not ready within {START_SECONDS} s; it goes on starting. Its log: {home.logs_folder / 'up.log'}")


def _wait_until_ready(home: Home) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not home.state().get("ready"):
        if time.monotonic() > deadline or home.supervisor is None:
            raise CommandError("Another process holds this platform but it isn't ready. `mesocycle status` shows it.")
        time.sleep(0.2)


def _print_addresses(home: Home) -> None:
    ports = home.state().get("ports", {})
    command = shown_command(home)
    api, dagster = f"http://127.0.0.1:{ports.get('api')}", f"http://127.0.0.1:{ports.get('dagster')}"
    table = Table.grid(padding=(0, 2))
    table.add_row("Dagster UI", dagster)
    table.add_row("API", f"{api}   (its OpenAPI document: {api}/api/v1/openapi.json)")
    if "postgres" in ports:
        table.add_row("PostgreSQL", f"127.0.0.1:{ports['postgres']}")
    console.print(Panel(table, title="Mesocycle", expand=False))
    lines = [
        f'curl -H "Authorization: Bearer $({command} token test_user)" "{api}/api/v1/summary/test_user?range=30d"',
        f"{command} summary test_user",
        f"{command} plan test_user",
        f"{command} funnel",
        f'{command} psql -c "select * from marts.user_summary limit 3"',
        f"{command} import examples/strong.csv --user me --weight-unit kg",
    ]
    console.print("Try, in another terminal:")
    for line in lines:
        console.print(f"  {line}", soft_wrap=True, markup=False)


def down() -> None:
    """Stop the platform: its processes and its PostgreSQL, nothing else."""
    home = current_home()
    supervisor = home.supervisor
    if supervisor is not None:
        supervisor.send_signal(signal.SIGTERM)
        try:
            supervisor.wait(60)
        except psutil.TimeoutExpired:
            supervisor.kill()
    if _stop_leftovers(home) or supervisor is not None:
        console.print("Stopped.")
    else:
        console.print("Nothing was running.")


def _stop_leftovers(home: Home) -> bool:
    """Stop what a killed supervisor left behind; whether there was anything."""
    found = [recorded.pid for name in home.state().get("processes", {}) if (recorded := home.recorded(name)) and recorded.running]
    if found:
        stop_processes(found)
    postgres = EmbeddedPostgres(home.postgres_folder, 0)
    running = postgres.pid is not None
    if running:
        postgres.stop()
    if home.state():
        home.update_state(processes={}, supervisor=None, ready=False)
    return bool(found) or running


def status() -> None:
    """Show what runs, where, and how fresh the numbers are. Exit code 3 where the platform isn't running."""
    home = current_home()
    state = home.state()
    table = Table(box=None, pad_edge=False)
    for column in ("what", "state", "where"):
        table.add_column(column)
    supervisor = home.supervisor
    table.add_row("supervisor", _running(supervisor is not None), str(supervisor.pid) if supervisor else "")
    ports = state.get("ports", {})
    if state.get("external_url"):
        table.add_row("postgres", "yours", "DATABASE_URL")
    else:
        postgres = EmbeddedPostgres(home.postgres_folder, 0)
        table.add_row("postgres", _running(postgres.pid is not None), f"127.0.0.1:{postgres.running_port or ports.get('postgres', '')}")
    where = {"dagster-webserver": f"http://127.0.0.1:{ports.get('dagster')}", "api": f"http://127.0.0.1:{ports.get('api')}"}
    for name in state.get("processes", {}):
        recorded = home.recorded(name)
        table.add_row(name, _running(bool(recorded and recorded.running)), where.get(name, ""))
    console.print(f"Home: {home.folder}")
    console.print(table)
    if supervisor is None or not state.get("ready"):
        console.print("Not ready." if supervisor else "Not running: `mesocycle up` starts it.")
        raise typer.Exit(3)
    console.print("Ready.")


def _running(value: bool) -> str:
    return "[green]running[/]" if value else "[red]stopped[/]"


def doctor() -> None:
    """Look for what is wrong and say what to do about it. Exit code 1 where something is."""
    findings = examine(current_home())
    for finding in findings:
        console.print(f"{'[green]✓[/]' if finding.fine else '[red]✗[/]'} {finding.what}")
        if finding.remedy:
            console.print(f"    → {finding.remedy}", markup=False)
    if not all(finding.fine for finding in findings):
        raise typer.Exit(1)


def reset(yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")] = False) -> None:
    """Stop the platform and remove everything that it stored. Asks first."""
    home = current_home()
    if not home.secrets_file.exists() and not home.state_file.exists():
        raise CommandError(f"{home.folder} is no Mesocycle home; nothing was removed.")
    external = home.state().get("external_url")
    what = f"{home.folder} with all its data" if not external else f"{home.folder} (your own Postgres keeps its data)"
    if not yes:
        typer.confirm(f"Remove {what}?", abort=True)
    down()
    shutil.rmtree(home.folder)
    console.print(f"Removed {home.folder}.")
