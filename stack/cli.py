"""The `mesocycle` command: its options, its error messages. What commands do lives in stack/commands/."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from stack.commands import access, analysts, data, lifecycle, monitor, read, readiness
from stack.commands.context import errors, set_home
from stack.home import DEFAULT_FOLDER, ENVIRONMENT_VARIABLE

app = typer.Typer(
    name="mesocycle",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="""Batch data platform for training apps: plans, summaries, records and onboarding funnels, precomputed.

    Begin with `mesocycle up`: it starts everything on this machine and prints what to try.""",
)


@app.callback()
def options(
    home: Annotated[
        Path, typer.Option(help="Folder that holds all state of this platform.", envvar=ENVIRONMENT_VARIABLE, show_default=True)
    ] = DEFAULT_FOLDER,
) -> None:
    set_home(home)


for module in (lifecycle, data, read, access, analysts, readiness, monitor):
    module.register(app)


def main() -> None:
    """Entry point: known errors become one sentence and exit code 1."""
    arguments = _home_anywhere(sys.argv[1:])
    with errors(Console(stderr=True)):
        app(arguments)


def _home_anywhere(arguments: list[str]) -> list[str]:
    """`--home DIR` may stand before or after the command's name: whoever types it last still means the platform."""
    for position, argument in enumerate(arguments):
        if argument == "--":
            break
        if argument == "--home" and position + 1 < len(arguments):
            return [*arguments[position : position + 2], *arguments[:position], *arguments[position + 2 :]]
        if argument.startswith("--home="):
            return [argument, *arguments[:position], *arguments[position + 1 :]]
    return arguments


if __name__ == "__main__":
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    main()
