"""What commands share: the home folder that was asked for, the console, and how errors are shown."""

import contextlib
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import typer
from rich.console import Console
from rich.markup import escape

from database.bootstrap import ServerTooOld
from stack.embedded_postgres import PostgresError
from stack.home import DEFAULT_FOLDER, ENVIRONMENT_VARIABLE, Home
from stack.platform import Platform, PlatformError, running_platform

console = Console(highlight=False)
error_console = Console(stderr=True, highlight=False)
_home = DEFAULT_FOLDER


def set_home(folder: Path) -> None:
    global _home  # noqa: PLW0603  # one command per process: set once, before the command runs
    _home = folder


def current_home() -> Home:
    return Home(_home)


def current_platform() -> Platform:
    """The running platform; a clear error where none runs."""
    return running_platform(current_home())


class CommandError(RuntimeError):
    """A command can't do what was asked; the message is for the person who typed it."""


@contextlib.contextmanager
def errors(target: Console) -> Iterator[None]:
    """Errors that a person can act on are printed as a sentence, without a traceback."""
    try:
        yield
    except (CommandError, PlatformError, PostgresError, ServerTooOld) as error:
        target.print(f"[red]✗[/] {escape(str(error))}")
        sys.exit(1)
    except psycopg.errors.UndefinedTable:
        target.print("[red]✗[/] The marts aren't built yet: `mesocycle refresh` builds them.")
        sys.exit(1)
    except psycopg.OperationalError as error:
        target.print(f"[red]✗[/] Postgres: {escape(str(error).strip())}\n  `mesocycle doctor` says more.")
        sys.exit(1)


def shown_command(home: Home) -> str:
    """How to type `mesocycle` from here so that it reaches this platform."""
    program = Path(sys.executable).parent / "mesocycle"
    if shutil.which("mesocycle") == str(program):
        shown = "mesocycle"
    else:
        shown = str(program.relative_to(Path.cwd())) if program.is_relative_to(Path.cwd()) else str(program)
    default = home.folder == DEFAULT_FOLDER.resolve()
    return shown if default else f"{ENVIRONMENT_VARIABLE}={home.folder} {shown}"


def fail(message: str) -> typer.Exit:
    error_console.print(f"[red]✗[/] {escape(message)}")
    return typer.Exit(1)
