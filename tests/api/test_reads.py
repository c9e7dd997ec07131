"""The precomputed resources over HTTP: what the marts hold is what the caller gets."""

import asyncio
import datetime

import orjson
import pytest

from api.schemas import Records, Summary, WindowSummary
from domain.vocabulary import SummaryRange
from tests.api.conftest import USERS, Keys, serving, settings_for


def ask(database, keys: Keys, *requests, **settings):
    """Responses to (method, path, headers) in turn, from one application."""

    async def run():
        async with serving(settings_for(database, keys, **settings)) as client:
            return [await client.request(method, path, headers=headers) for method, path, headers in requests]

    return asyncio.run(run())


def get(database, keys: Keys, path: str, subject: str = "lifter", *scopes: str, **headers: str):
    return ask(database, keys, ("GET", path, keys.header(subject, *scopes) | headers))[0]


@pytest.mark.parametrize("summary_range", SummaryRange)
@pytest.mark.parametrize("user", USERS)
def test_a_summary_is_the_row_of_the_mart(built_template, keys, user, summary_range) -> None:
    path = "/api/v1/summary/" + user.replace("/", "%2F")
    response = get(built_template, keys, f"{path}?range={summary_range}", user)
    assert response.status_code == 200, response.text
    body = response.json()
    with built_template.connect() as connection:
        cursor = connection.execute(
            "select user_summary_rows.* from intermediate.user_summary_rows join app.users using (user_key)"
            " where user_id = %s and range = %s",
            [user, summary_range],
        )
        row = dict(zip([column.name for column in cursor.description], cursor.fetchone(), strict=True))
    assert body["userId"] == user
    assert body["asOf"] == "2025-07-01T12:00:00Z"
    summary = Summary.model_validate(body)
    for name in ("workouts", "active_days", "sets", "reps", "exercises", "record_events", "previous_workouts", "longest_streak_weeks"):
        assert getattr(summary, name) == row[name], name
    assert summary.volume_kg == pytest.approx(row["volume_kg"])
    assert summary.first_workout_at == row["first_workout_at"]
    assert {muscle.value: sets for muscle, sets in summary.sets_by_muscle.items()} == row["sets_by_muscle"]


def test_without_a_range_it_is_the_last_30_days(built_template, keys) -> None:
    default, explicit = ask(built_template, keys, *(("GET", "/api/v1/summary/lifter" + q, keys.header()) for q in ("", "?range=30d")))
    assert default.json() == explicit.json()


@pytest.mark.parametrize("path", [*(f"summary/newcomer?range={r}" for r in SummaryRange), "records/newcomer"])
def test_a_user_whom_no_build_has_seen_gets_what_the_build_will_say(built_template, keys, path) -> None:
    idle, newcomer = (get(built_template, keys, f"/api/v1/{path.replace('newcomer', user)}", user).json() for user in ("idle", "newcomer"))
    assert idle | {"userId": "newcomer"} == newcomer
    assert list(idle) == list(newcomer)


def test_an_unknown_user_is_not_found(built_template, keys) -> None:
    for resource in ("summary", "records"):
        response = get(built_template, keys, f"/api/v1/{resource}/nobody", "nobody")
        assert response.status_code == 404
        assert response.headers["content-type"] == "application/problem+json"
        assert response.json()["type"] == "urn:mesocycle:problem:user-not-found"


def test_records_follow_their_shape_and_pages_add_up_to_the_whole(built_template, keys) -> None:
    whole = Records.model_validate(get(built_template, keys, "/api/v1/records/lifter").json())
    assert len(whole.records) > 5
    collected, cursor = [], ""
    while True:
        page = Records.model_validate(get(built_template, keys, f"/api/v1/records/lifter?limit=4{cursor}").json())
        collected += page.records
        if page.next_cursor is None:
            break
        cursor = f"&cursor={page.next_cursor}"
    assert collected == whole.records


def test_a_cursor_that_names_nothing_is_refused(built_template, keys) -> None:
    response = get(built_template, keys, "/api/v1/records/lifter?limit=4&cursor=nonsense")
    assert response.status_code == 409
    assert response.json()["errors"][0]["field"] == "query.cursor"


@pytest.mark.parametrize("days", [7, 30, 90, 365])
def test_a_window_that_is_a_range_says_the_same(built_template, keys, days) -> None:
    first = datetime.date(2025, 7, 1) - datetime.timedelta(days=days - 1)
    for query in (f"from={first}&to=2025-07-01", f"from={first}"):
        window = get(built_template, keys, f"/api/v1/summary/lifter?{query}").json()
        fixed = get(built_template, keys, f"/api/v1/summary/lifter?range={days}d").json()
        WindowSummary.model_validate(window)
        assert window.pop("from") == str(first)
        assert window.pop("to") == "2025-07-01"
        assert window == {name: pytest.approx(fixed[name], rel=1e-9) if isinstance(fixed[name], float) else fixed[name] for name in window}


def test_a_window_without_volume_lost_all_of_it_and_what_lies_ahead_is_no_part_of_one(built_template, keys) -> None:
    last = get(built_template, keys, "/api/v1/summary/lifter?range=all").json()["lastWorkoutAt"]
    assert last < "2025-07-01T12"
    ahead = get(built_template, keys, "/api/v1/summary/lifter?from=2025-07-02&to=2025-08-30").json()  # a workout is dated 4 July
    assert (ahead["workouts"], ahead["volumeKg"], ahead["lastWorkoutAt"]) == (0, 0, None)
    assert ahead["previousVolumeKg"] > 0 and ahead["volumeChangePct"] == -100


@pytest.mark.parametrize(
    ("query", "status", "field"),
    [
        ("from=2025-02-01&to=2025-01-01", 409, "query.from"),
        ("to=2025-01-01", 409, "query.from"),
        ("from=2025-01-01&range=7d", 409, "query.range"),
        ("from=2999-01-01", 409, "query.from"),
        ("range=30D", 422, "query.range"),
        ("range=", 422, "query.range"),
        ("range=7d&range=30d", 422, "query.range"),
        ("from=yesterday", 422, "query.from"),
        ("from=10000-01-01", 422, "query.from"),
        ("from=2025-02-30", 422, "query.from"),
        ("from=0001-01-01&to=9999-12-31", 200, None),
        ("from=2025-01-01&to=2025-01-01", 200, None),
    ],
)
def test_wrong_windows_are_named(built_template, keys, query, status, field) -> None:
    response = get(built_template, keys, f"/api/v1/summary/lifter?{query}")
    assert response.status_code == status, response.text
    if field:
        assert response.json()["type"] == f"urn:mesocycle:problem:{'invalid-request' if status == 422 else 'contradiction'}"
        assert field in [error["field"] for error in response.json()["errors"]]


def test_before_the_first_build_it_says_so(database, keys) -> None:
    with database.connect() as connection:
        connection.execute("insert into app.users (user_id) values ('lifter')")
    for path in ("/api/v1/summary/lifter", "/api/v1/summary/lifter?from=2025-01-01", "/api/v1/records/lifter", "/readyz"):
        response = get(database, keys, path)
        assert response.status_code == 503, response.text
        assert response.json()["type"] == "urn:mesocycle:problem:not-built-yet"
        assert response.headers["retry-after"]


def test_readiness_tells_how_old_the_numbers_are(built_template, keys) -> None:
    body = get(built_template, keys, "/readyz").json()
    assert body["status"] == "ready"
    assert body["asOf"] == "2025-07-01T12:00:00Z"
    assert 0 <= body["ageSeconds"] < 3600


def test_payloads_begin_with_a_property_so_that_the_api_may_put_its_own_in_front(built_template) -> None:
    with built_template.connect() as connection:
        for (payload,) in connection.execute("select payload from marts.user_payloads"):
            assert payload.startswith('{"')
            assert orjson.loads(payload)
