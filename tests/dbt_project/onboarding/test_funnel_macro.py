"""The funnel macro against neutral cases, a plain reading of its definition, and ClickHouse's windowFunnel."""

import json
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conftest import Database
from tests.dbt_project.onboarding.funnel_macro import CompilerError, ask, at, load, render, render_question
from tests.dbt_project.onboarding.funnel_oracle import Event, Question, Row, funnel
from tests.dbt_project.support import run_dbt

START = datetime(2024, 3, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def connection(module_database: Database) -> Iterator[psycopg.Connection]:
    with module_database.connect() as connection:
        yield connection


def journeys_of(case: dict[str, Any]) -> dict[str, list[Event]]:
    journeys: dict[str, list[Event]] = {}
    for event in case["events"]:
        journeys.setdefault(event["user"], []).append((at(event["ts"]), event["event"], event.get("segment")))
    return journeys


@pytest.fixture(scope="session")
def cases(shared: Path) -> list[dict[str, Any]]:
    return json.loads((shared / "cases" / "funnel.json").read_text())


FIRST_TIMES = """
(
    select
        user_id,
        case when row_number() over (partition by user_id, step order by occurred_at) = 1 then step || ' (first)' else step end as step,
        occurred_at,
        segment
    from journeys
)
"""

LAST_TOUCH = """
(
    select
        user_id, step, occurred_at,
        (array_agg(segment) filter (where segment is not null) over (
            partition by user_id order by occurred_at desc rows between unbounded preceding and unbounded following
        ))[1] as segment
    from journeys
)
"""


def test_the_neutral_cases_come_out_as_expected(connection: psycopg.Connection, cases: list[dict[str, Any]]) -> None:
    assert len(cases) >= 24
    for case in cases:
        load(connection, journeys_of(case))
        first_times = case.get("first_time_steps", [])
        events = FIRST_TIMES if first_times else LAST_TOUCH if case.get("attribution") == "last_touch" else "journeys"
        options: dict[str, Any] = {
            "order": case["order_type"],
            "entry": "any",
            "window_seconds": case["window_seconds"],
            "exclusions": case["exclusions"],
            "entered_from": f"timestamptz '{case['date_from']}'" if "date_from" in case else None,
            "entered_to": f"timestamptz '{case['date_to']}'" if "date_to" in case else None,
        }
        steps = [f"{step} (first)" if index in first_times else step for index, step in enumerate(case["steps"])]
        rows = ask(connection, render(events, steps, **options))
        assert [row[2] for row in rows] == case["expected"]["counts"], case["name"]
        for row, average, middle in zip(rows, case["expected"]["avg_seconds"], case["expected"]["median_seconds"], strict=True):
            assert average is None or row[3] == pytest.approx(average), case["name"]
            assert middle is None or row[4] == pytest.approx(middle), case["name"]
        if "expected_by_segment" in case:
            rows = ask(connection, render(events, steps, segment="segment", **options), by_segment=True)
            assert {row[0] for row in rows} == {name or "(none)" for name in case["expected_by_segment"]}, case["name"]
            for name, expected in case["expected_by_segment"].items():
                own = [row for row in rows if row[0] == (name or "(none)")]
                assert [row[2] for row in own] == expected["counts"], (case["name"], name)
                assert [row[3] for row in own] == expected["avg_seconds"], (case["name"], name)


NAMES = "abcd"


@st.composite
def questions(draw: st.DrawFn) -> Question:
    order = draw(st.sampled_from(["ordered", "strict", "unordered"]))
    steps = tuple(draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=5)))
    entry = draw(st.sampled_from(["first", "any"]))
    window = draw(st.sampled_from([0, 1, 3, 6, 100]))
    once = [step for step in steps[1:] if steps.count(step) == 1]
    optional = tuple(draw(st.lists(st.sampled_from(once), unique=True, max_size=2))) if once and order != "unordered" else ()
    required = [index for index, step in enumerate(steps) if step not in optional]
    exclusions: list[tuple[str, int, int]] = []
    if not optional and len(required) > 1:
        for name in draw(st.lists(st.sampled_from(["x", "y"]), max_size=2)):
            since = 0 if order == "unordered" else draw(st.integers(0, len(required) - 2))
            exclusions.append((name, since, draw(st.integers(since + 1, len(required) - 1))))
    return Question(steps, order, entry, window, tuple(exclusions), optional)


@st.composite
def random_journeys(draw: st.DrawFn) -> dict[str, list[Event]]:
    event = st.tuples(
        st.integers(0, 9).map(lambda seconds: START + timedelta(seconds=seconds)),
        st.sampled_from([*NAMES, "x", "y", "z"]),
        st.sampled_from([None, "p", "q"]),
    )
    return {f"u{index}": draw(st.lists(event, max_size=12)) for index in range(draw(st.integers(1, 4)))}


def assert_same(found: list[Row], expected: list[Row]) -> None:
    assert [row[:3] for row in found] == [row[:3] for row in expected]
    for got, wanted in zip(found, expected, strict=True):
        assert got[3:] == pytest.approx(wanted[3:])


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(question=questions(), journeys=random_journeys())
def test_any_funnel_agrees_with_a_plain_reading_of_the_definition(
    connection: psycopg.Connection, question: Question, journeys: dict[str, list[Event]]
) -> None:
    load(connection, journeys)
    assert_same(ask(connection, render_question(question)), funnel(question, journeys))
    assert_same(ask(connection, render_question(question, segment="segment"), by_segment=True), funnel(question, journeys, by_segment=True))


def a_population(seed: int, users: int, *, seconds: int, names: str, ties: bool) -> dict[str, list[Event]]:
    chance = random.Random(seed)
    journeys: dict[str, list[Event]] = {}
    for index in range(users):
        count = chance.randint(0, 14)
        moments = [chance.randint(0, seconds) for _ in range(count)] if ties else chance.sample(range(seconds), count)
        journeys[f"u{index}"] = [(START + timedelta(seconds=moment), chance.choice(names), None) for moment in moments]
    return journeys


@pytest.mark.parametrize("entry", ["any", "first"])
@pytest.mark.parametrize("window", [0, 5, 20, 1000])
def test_counts_agree_with_clickhouse(connection: psycopg.Connection, entry: str, window: int) -> None:
    """windowFunnel takes the newest entry that gets deepest and lets equal timestamps count; first entry by cutting its window out first.

    Its strict_order ends a user's journey at the first interruption, even if a later entry runs through: another question than ours.
    """
    chdb = pytest.importorskip("chdb")
    journeys = a_population(window, 1500, seconds=60, names="abcdz", ties=True)
    load(connection, journeys)
    steps = ["a", "b", "c", "d"]
    found = ask(connection, render("journeys", steps, entry=entry, window_seconds=window))
    values = ",".join(
        f"('{user}',{int((moment - START).total_seconds())},'{step}')" for user, events in journeys.items() for moment, step, _ in events
    )
    source = f"values('user String, at UInt32, step String', {values})"
    if entry == "first":
        source = (
            f"(select * from (select *, minIf(at, step = 'a') over (partition by user) as entered, "
            f"countIf(step = 'a') over (partition by user) as entries from {source}) "
            f"where entries > 0 and at between entered and entered + {window})"
        )
    conditions = ", ".join(f"step = '{step}'" for step in steps)
    answer = chdb.query(
        f"select level, count() from (select user, windowFunnel({window})(at, {conditions}) as level from {source} group by user) "
        "group by level",
        "JSONCompactColumns",
    )
    levels, users = json.loads(str(answer))
    by_level = dict(zip(map(int, levels), map(int, users), strict=True))
    expected = [sum(count for level, count in by_level.items() if level >= position) for position in range(1, 5)]
    assert [row[2] for row in found] == expected
    assert expected[0] > 1000


def test_shuffled_and_rezoned_events_give_the_same_funnel(connection: psycopg.Connection) -> None:
    journeys = a_population(7, 300, seconds=40, names="abcdxz", ties=True)
    question = Question(("a", "b", "c", "d"), entry="any", window_seconds=20, exclusions=(("x", 1, 2),))
    load(connection, journeys)
    expected = ask(connection, render_question(question))
    chance = random.Random(1)
    load(connection, {user: chance.sample(events, len(events)) for user, events in sorted(journeys.items(), reverse=True)})
    connection.execute("set time zone 'America/New_York'")
    assert ask(connection, render_question(question)) == expected
    connection.execute("set time zone 'UTC'")


def test_the_window_counts_elapsed_seconds_through_a_change_of_the_clocks(connection: psycopg.Connection) -> None:
    """New York set its clocks forward on 2024-03-10: a local day of 23 hours."""
    entered = at("2024-03-10T00:00:00-05:00")
    journeys: dict[str, list[Event]] = {
        "in": [(entered, "a", None), (entered + timedelta(hours=24), "b", None)],
        "out": [(entered, "a", None), (entered + timedelta(hours=24, microseconds=1), "b", None)],
    }
    load(connection, journeys)
    connection.execute("set time zone 'America/New_York'")
    rows = ask(connection, render("journeys", ["a", "b"], window_seconds=86400))
    connection.execute("set time zone 'UTC'")
    assert [row[2] for row in rows] == [2, 1]


def test_first_and_any_entry_give_different_counts_and_times(connection: psycopg.Connection) -> None:
    journeys: dict[str, list[Event]] = {
        "comes back": [(START, "a", None), (START + timedelta(seconds=20), "a", None), (START + timedelta(seconds=25), "b", None)],
        "stays": [(START, "a", None), (START + timedelta(seconds=6), "a", None), (START + timedelta(seconds=8), "b", None)],
    }
    load(connection, journeys)
    first = ask(connection, render("journeys", ["a", "b"], window_seconds=10))
    newest = ask(connection, render("journeys", ["a", "b"], window_seconds=10, entry="any"))
    assert [row[2:4] for row in first] == [(2, None), (1, 8.0)]
    assert [row[2:4] for row in newest] == [(2, None), (2, 3.5)]


def test_an_optional_step_never_blocks_and_counts_between_its_neighbours(connection: psycopg.Connection) -> None:
    def event(second: int, step: str) -> Event:
        return (START + timedelta(seconds=second), step, None)

    journeys = {
        "took it": [event(0, "a"), event(1, "o"), event(2, "b")],
        "left it out": [event(0, "a"), event(2, "b")],
        "took it too late": [event(0, "a"), event(2, "b"), event(3, "o")],
        "stopped at it": [event(0, "a"), event(4, "o")],
    }
    load(connection, journeys)
    for order in ("ordered", "strict"):
        rows = ask(connection, render("journeys", ["a", "o", "b"], order=order, optional_steps=["o"]))
        assert [row[2] for row in rows] == [4, 2, 3]


def test_first_entry_is_the_first_of_all_history_when_entries_are_limited(connection: psycopg.Connection) -> None:
    journeys: dict[str, list[Event]] = {"old": [(START, "a", None), (START + timedelta(days=30), "a", None)]}
    load(connection, journeys)
    since = "timestamptz '2024-03-20T00:00:00Z'"
    assert [row[2] for row in ask(connection, render("journeys", ["a"], entered_from=since))] == [0]
    assert [row[2] for row in ask(connection, render("journeys", ["a"], entered_from=since, entry="any"))] == [1]


def test_an_empty_relation_gives_a_row_of_zero_per_step(connection: psycopg.Connection) -> None:
    load(connection, {})
    for order in ("ordered", "strict", "unordered"):
        for entry in ("first", "any"):
            assert ask(connection, render("journeys", ["a", "b"], order=order, entry=entry)) == [
                (None, 1, 0, None, None),
                (None, 2, 0, None, None),
            ]


def test_a_step_may_hold_a_quote_and_a_subquery_may_be_the_relation(connection: psycopg.Connection) -> None:
    load(connection, {"u": [(START, "it's", None)]})
    assert ask(connection, render("select user_id, step, occurred_at from journeys", ["it's"]))[0][2] == 1


@pytest.mark.parametrize(
    ("steps", "options", "sentence"),
    [
        (["a"], {"order": "backwards"}, "order is"),
        (["a"], {"entry": "last"}, "entry is"),
        ([], {}, "at least one step"),
        (["a"], {"window_seconds": -1}, "window_seconds"),
        (["a", "b"], {"optional_steps": ["a"]}, "can't be optional"),
        (["a", "b", "b"], {"optional_steps": ["b"]}, "once"),
        (["a", "b"], {"exclusions": [{"event": "x", "from_step": 1, "to_step": 0}]}, "later step"),
        (["a", "b"], {"order": "unordered", "optional_steps": ["b"]}, "unordered"),
    ],
)
def test_a_question_without_sense_is_refused_with_a_sentence(steps: list[str], options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(CompilerError, match=sentence):
        render("journeys", steps, **options)


def test_many_repeats_of_a_step_cost_no_self_join(connection: psycopg.Connection) -> None:
    """16,000 events of one user with every step repeated 2,000 times: a join of entries with events would make millions of rows."""
    connection.execute("drop table if exists journeys")
    connection.execute(
        "create temporary table journeys as select 'u' as user_id, chr(97 + i % 8) as step, null::text as segment, "
        "timestamptz '2024-01-01' + i * interval '1 second' as occurred_at from generate_series(1, 16000) as i"
    )
    connection.execute("set statement_timeout = '20s'")
    rows = ask(connection, render("journeys", list("abcdefgh"), entry="any"))
    connection.execute("reset statement_timeout")
    assert [row[2] for row in rows] == [1] * 8


def test_an_analyst_can_ask_with_dbt_show(module_database: Database) -> None:
    """The whole way through dbt's own compiler, with a subquery and named exclusions and optional steps."""
    with module_database.connect() as connection:
        connection.execute("create table if not exists staging.clicks (user_id text, step text, occurred_at timestamptz)")
        connection.execute("truncate staging.clicks")
        load_into = "insert into staging.clicks values ('u', 'a', '2024-01-01'), ('u', 'o', '2024-01-01 00:00:05'), ('u', 'b', '2024-01-01 00:00:10')"
        connection.execute(load_into)
    inline = (
        "{{ funnel('(select * from staging.clicks)', ['a', 'o', 'b'], entry='any', optional_steps=['o'], "
        "exclusions=[{'event': 'x', 'from_step': 'a', 'to_step': 2}]) }}"
    )
    result = run_dbt(module_database, "show", "--inline", inline, "--limit", "10")
    table = result.result.results[0].agate_table  # type: ignore[union-attr]
    rows = [(int(row["position"]), row["step"], int(row["users"]), row["median_seconds"]) for row in table.rows]
    assert [row[:3] for row in rows] == [(1, "a", 1), (2, "o", 1), (3, "b", 1)]
    assert [row[3] and float(row[3]) for row in rows] == [None, 5.0, 10.0]


def test_arguments_without_sense_are_refused_by_dbt_too(module_database: Database, capsys: pytest.CaptureFixture[str]) -> None:
    result = run_dbt(module_database, "show", "--inline", "{{ funnel('staging.clicks', ['a'], order='any') }}", expect_success=False)
    assert not result.success
    assert "order is" in capsys.readouterr().out
