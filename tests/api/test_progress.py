"""The dashboard's resources over HTTP: what the marts hold, in the documented shapes."""

import datetime

import pytest

from api.routes.progress import RESOURCES
from api.schemas import MuscleSets, Peers, RecordFeed, Timeline, TopLifts
from tests.api.conftest import USERS
from tests.api.test_reads import get

SHAPES = {"timeline": Timeline, "top-lifts": TopLifts, "muscles": MuscleSets, "record-feed": RecordFeed, "peers": Peers}


@pytest.mark.parametrize("user", USERS)
def test_each_resource_has_its_documented_shape(built_template, keys, user) -> None:
    for resource in RESOURCES:
        response = get(built_template, keys, f"/api/v1/{resource}/{user.replace('/', '%2F')}", user)
        assert response.status_code == 200, response.text
        body = response.json()
        shape = SHAPES[resource].model_validate(body)
        assert body["userId"] == user and body["asOf"] == "2025-07-01T12:00:00Z"
        # Nothing is sent that the shape doesn't name, or under another name.
        assert shape.model_dump(mode="json", by_alias=True, exclude_unset=True).keys() == body.keys()


def test_they_say_what_the_marts_hold(built_template, keys) -> None:
    timeline, lifts, muscles, feed, peers = (get(built_template, keys, f"/api/v1/{resource}/lifter").json() for resource in RESOURCES)
    with built_template.connect() as connection:

        def rows(query):
            return connection.execute(
                query + " and user_key = (select user_key from app.users where user_id = 'lifter') order by 1"
            ).fetchall()

        weeks = rows("select week_on::text, workouts, volume_kg from marts.user_weeks where week_on > '2024-07-02'")
        assert [(week["weekOn"], week["workouts"], week["volumeKg"]) for week in timeline["weeks"]] == weeks and len(weeks) > 20
        expected = rows("select rank, exercise_name, weekly_e1rm_kg, trend_52w_pct from marts.top_lifts where true")
        assert [(lift["rank"], lift["exerciseName"], lift["weeklyE1rmKg"], lift["trend52wPct"]) for lift in lifts["lifts"]] == expected
        assert any(lift["trend52wPct"] is not None for lift in lifts["lifts"])
        done = rows("select muscle, done_sets_28d from marts.muscle_sets where true")
        assert [(each["muscle"], each["doneSets28d"]) for each in muscles["muscles"]] == done and done
        newest = rows(
            "select -extract(epoch from achieved_at), -workout_key, exercise_key, e1rm_kg, previous_e1rm_kg from marts.record_feed where true"
        )
        newest = [row[3:] for row in sorted(newest)[:50]]
        assert [(event["e1rmKg"], event["previousE1rmKg"]) for event in feed["events"]] == newest
        assert [event["place"] for event in feed["events"]] == list(range(1, len(newest) + 1)) and len(newest) > 5
    assert {each["reason"] for each in peers["measures"]} == {"no_profile"}


def test_a_timeline_from_a_date_counts_from_there_only_and_agrees_with_the_window(built_template, keys) -> None:
    for first, last in (("2025-05-07", "2025-06-19"), ("2025-01-01", None), ("2024-01-01", "2099-01-01"), ("2025-07-01", "2025-07-01")):
        query = f"from={first}" + (f"&to={last}" if last else "")
        timeline = get(built_template, keys, f"/api/v1/timeline/lifter?{query}").json()
        Timeline.model_validate(timeline)
        window = get(built_template, keys, f"/api/v1/summary/lifter?{query}").json()
        assert (timeline["from"], timeline["to"]) == (window["from"], window["to"])
        for name in ("workouts", "activeDays", "sets", "reps", "recordEvents", "volumeKg", "trainingMinutes"):
            assert sum(week[name] for week in timeline["weeks"]) == pytest.approx(window[name]), (name, query)
        assert all(datetime.date.fromisoformat(week["weekOn"]).isoweekday() == 1 for week in timeline["weeks"])
        assert [week["weekOn"] for week in timeline["weeks"]] == sorted({week["weekOn"] for week in timeline["weeks"]})


def test_without_dates_it_is_the_last_52_weeks(built_template, keys) -> None:
    default = get(built_template, keys, "/api/v1/timeline/lifter").json()
    explicit = get(built_template, keys, "/api/v1/timeline/lifter?from=2024-07-08").json()
    assert default["weeks"] == explicit["weeks"]


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("to=2025-01-01", 409),
        ("from=2025-02-01&to=2025-01-01", 409),
        ("from=2999-01-01", 409),
        ("from=x", 422),
        ("from=0001-01-01&to=9999-12-31", 200),
    ],
)
def test_wrong_dates_are_named(built_template, keys, query, status) -> None:
    response = get(built_template, keys, f"/api/v1/timeline/lifter?{query}")
    assert response.status_code == status, response.text
    if status != 200:
        assert "query.from" in [error["field"] for error in response.json()["errors"]]


def test_nobody_reads_another_users_dashboard(built_template, keys) -> None:
    for resource in RESOURCES:
        assert get(built_template, keys, f"/api/v1/{resource}/lifter", "beginner").status_code == 403
        assert get(built_template, keys, f"/api/v1/{resource}/nobody", "nobody").status_code == 404
