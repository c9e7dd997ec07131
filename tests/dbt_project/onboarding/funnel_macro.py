"""How tests ask the funnel macro: render the project's own file, run it on rows of a temporary table."""

from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

import jinja2
import psycopg

from tests.dbt_project.onboarding.funnel_oracle import Event, Question, Row

MACRO = Path(__file__).parents[3] / "dbt_project" / "macros" / "funnel.sql"


class CompilerError(ValueError):
    """What dbt's exceptions.raise_compiler_error raises."""


class _Exceptions:
    @staticmethod
    def raise_compiler_error(message: str) -> None:
        raise CompilerError(message)


_ENVIRONMENT = jinja2.Environment(extensions=["jinja2.ext.do"])
_TEMPLATE = _ENVIRONMENT.from_string(MACRO.read_text(), globals={"exceptions": _Exceptions})


def render(events: str, steps: list[str], **options: Any) -> str:
    """The macro's SQL."""
    return str(_TEMPLATE.module.funnel(events, steps, **options))  # type: ignore[attr-defined]


def render_question(question: Question, events: str = "journeys", **options: Any) -> str:
    return render(
        events,
        list(question.steps),
        order=question.order,
        entry=question.entry,
        window_seconds=question.window_seconds,
        exclusions=[{"event": event, "from_step": since, "to_step": until} for event, since, until in question.exclusions],
        optional_steps=list(question.optional_steps),
        **options,
    )


def load(connection: psycopg.Connection, journeys: dict[str, list[Event]]) -> None:
    """Put the journeys into the temporary table `journeys`."""
    connection.execute("drop table if exists journeys")
    connection.execute("create temporary table journeys (user_id text, occurred_at timestamptz, step text, segment text)")
    with connection.cursor().copy("copy journeys (user_id, occurred_at, step, segment) from stdin") as copy:
        for user, events in journeys.items():
            for occurred_at, step, segment in events:
                copy.write_row((user, occurred_at, step, segment))


def ask(connection: psycopg.Connection, sql: str, *, by_segment: bool = False) -> list[Row]:
    """The macro's rows as the oracle writes them."""
    rows: Iterable[tuple[Any, ...]] = connection.execute(sql.encode()).fetchall()
    return [(row[0] if by_segment else None, row[-5], *row[-3:]) for row in rows]


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)
