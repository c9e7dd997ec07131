"""The README and the command line tell the same story."""

import re

import pytest
import typer

from tests.conftest import PROJECT

README = (PROJECT / "README.md").read_text()


def commands() -> list[str]:
    from stack.cli import app

    group = typer.main.get_command(app)
    return sorted(group.commands)  # type: ignore[attr-defined]


def make_targets() -> list[str]:
    return re.findall(r"^([a-z]+):.*##", (PROJECT / "Makefile").read_text(), flags=re.MULTILINE)


@pytest.mark.parametrize("command", commands())
def test_every_command_stands_in_the_readme(command: str) -> None:
    assert re.search(rf"^\| `{command}[ `]", README, flags=re.MULTILINE), f"`mesocycle {command}` is missing in the table of commands"


def test_the_readme_names_no_command_that_does_not_exist() -> None:
    named = set(re.findall(r"^\| `([a-z-]+)[ `][^|]*\|", README, flags=re.MULTILINE))
    assert named - {name for name in named if f"| `{name}/`" in README} <= set(commands())


@pytest.mark.parametrize("target", [target for target in make_targets() if target not in {"setup", "lock"}])
def test_every_make_target_stands_in_the_readme(target: str) -> None:
    assert f"make {target}" in README


@pytest.mark.parametrize("command", commands())
def test_every_command_explains_itself(command: str) -> None:
    from stack.cli import app

    help_text = typer.main.get_command(app).commands[command].help  # type: ignore[attr-defined]
    assert help_text and len(help_text) > 20
