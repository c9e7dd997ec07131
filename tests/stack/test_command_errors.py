"""What a command tells the person who typed it when something is wrong: a sentence, no traceback."""

import io
from datetime import datetime

import pytest
from rich.console import Console

from stack.commands.context import CommandError, errors
from stack.commands.read import funnel
from tests.conftest import Database


def test_a_command_that_reads_marts_before_the_first_build_says_what_to_do(database: Database) -> None:
    said = io.StringIO()
    with pytest.raises(SystemExit) as ended, errors(Console(file=said, width=200)), database.connect() as connection:
        connection.execute("select count(*) from marts.onboarding_funnel")
    assert ended.value.code == 1
    assert "`mesocycle refresh` builds them" in said.getvalue()
    assert "Traceback" not in said.getvalue()


def test_a_funnel_that_ends_before_it_begins_says_so() -> None:
    with pytest.raises(CommandError, match="--from 2030-01-01 lies after --to 2020-01-01"):
        funnel(first=datetime(2030, 1, 1), last=datetime(2020, 1, 1))
