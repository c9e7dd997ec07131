"""Plans in Postgres: what is read, what is written, what stays, and the JSON of a plan."""

import json
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import psycopg
import pytest

from database import plan_documents, planning_inputs, plans
from database.connection import Role
from domain.exercises.catalogue import load_catalogue
from domain.planning import e1rm
from domain.planning.inputs import AREAS, NO_DATE
from domain.vocabulary import BodyArea
from tests.conftest import Database
from tests.database import plan_oracle

AS_OF = datetime(2024, 5, 1, 12, tzinfo=UTC)
SQUAT, BENCH = 1, 113


def fill_exercises(connection: psycopg.Connection) -> None:
    frame = load_catalogue().frame
    with connection.cursor() as cursor, cursor.copy("copy app.exercises (exercise_key, exercise_id, name) from stdin") as copy:
        for key, identity, name in zip(frame["exercise_key"], frame["exercise_id"], frame["name"], strict=True):
            copy.write_row((key, identity, name))


def new_user(connection: psycopg.Connection, user_id: str, *, time_zone: str = "UTC", **profile: Any) -> int:
    row = connection.execute(
        "insert into app.users (user_id, time_zone) values (%s, %s) returning user_key", [user_id, time_zone]
    ).fetchone()
    assert row
    columns = {"goal": "strength", "experience_level": "intermediate", "body_weight_kg": 80, "sex": "male", **profile}
    names = ", ".join(columns)
    connection.execute(
        f"insert into app.profiles (user_key, {names}) values (%s, {', '.join(['%s'] * len(columns))})", [row[0], *columns.values()]
    )
    return row[0]


def log(connection: psycopg.Connection, user_key: int, at: datetime, sets: list[tuple[int, float, int]], **columns: Any) -> int:
    row = connection.execute(
        "insert into app.workouts (user_key, started_at) values (%s, %s) returning workout_key", [user_key, at]
    ).fetchone()
    assert row
    for position, (exercise, weight, reps) in enumerate(sets):
        values = {"set_type": "normal", "rpe": None, **columns}
        connection.execute(
            "insert into app.workout_sets (workout_key, position, exercise_key, weight_kg, reps, set_type, rpe) values (%s, %s, %s, %s, %s, %s, %s)",
            [row[0], position, exercise, weight, reps, values["set_type"], values["rpe"]],
        )
    return row[0]


@pytest.fixture
def filled(database: Database) -> Database:
    with database.connect() as connection:
        fill_exercises(connection)
    return database


def read_state(database: Database, users: np.ndarray, as_of: datetime) -> planning_inputs.State:
    with planning_inputs.bulk_reader(database.urls[Role.PIPELINE]) as read, database.connect(Role.PIPELINE) as raw:
        return planning_inputs.read_bulk_state(read, raw, users, as_of, planning_inputs.users_behind_state(raw))


def one(connection: psycopg.Connection, sql: str, *parameters: Any) -> Any:
    row = connection.execute(sql, parameters or None).fetchone()
    return row[0] if row else None


def test_a_plan_is_stored_and_served_with_a_reason_for_every_load(filled: Database) -> None:
    with filled.connect() as owner:
        user = new_user(owner, "ann", days_per_week=3)
        log(owner, user, AS_OF - timedelta(days=2), [(SQUAT, 100, 6)] * 4)
    with filled.connect(Role.PIPELINE, autocommit=False) as connection:
        assert plans.regenerate_for_users(connection, [user], as_of=AS_OF) == {}
        row = plan_documents.current_plan(connection, user)
    assert row is not None
    payload = json.loads(plan_documents.render("ann", row))
    assert json.loads(json.dumps(payload)) == payload
    assert [week["week"] for week in payload["weeks"]] == [1, 2, 3, 4]
    assert [len(week["sessions"]) for week in payload["weeks"]] == [3, 3, 3, 3]
    assert sum(week["isDeload"] for week in payload["weeks"]) == 1
    first = payload["weeks"][0]["sessions"][0]["exercises"][0]
    assert (first["name"], first["loadKg"]) == ("Squat (Barbell)", 102.5)
    assert first["reason"]["code"] == "progress.double.load_up"
    assert first["reason"]["numbers"] == {"sets": 4, "reps": 6, "loadKg": 100, "stepKg": 2.5}
    assert "102.5" not in first["reason"]["sentence"] and "100 kg" in first["reason"]["sentence"]
    for week in payload["weeks"]:
        for session in week["sessions"]:
            assert date.fromisoformat(session["date"]).isoweekday() == session["day"]
            for exercise in session["exercises"]:
                assert exercise["reason"]["sentence"] and "?" not in exercise["reason"]["sentence"], exercise


def test_the_same_inputs_write_nothing_new(filled: Database) -> None:
    with filled.connect() as owner:
        users = [new_user(owner, f"user {number}") for number in range(5)]
    url = filled.urls[Role.PIPELINE]
    first = plans.regenerate(url, as_of=AS_OF)
    assert (first.planned, first.unchanged) == (5, 0)
    again = plans.regenerate(url, as_of=AS_OF + timedelta(hours=5))
    assert (again.users, again.planned, again.untouched) == (0, 0, 5)
    everybody = plans.regenerate(url, as_of=AS_OF + timedelta(hours=6), only_changed=False)
    assert (everybody.users, everybody.planned, everybody.unchanged) == (5, 0, 5)
    with filled.connect() as owner:
        assert one(owner, "select count(*) from plans.plans") == len(users)


def test_only_users_with_something_new_are_read(filled: Database) -> None:
    with filled.connect() as owner:
        ann, bob, carl = (new_user(owner, name) for name in ("ann", "bob", "carl"))
    url = filled.urls[Role.PIPELINE]
    plans.regenerate(url, as_of=AS_OF)
    with filled.connect() as owner:
        log(owner, ann, AS_OF + timedelta(hours=1), [(SQUAT, 100, 6)] * 4)
        owner.execute("update app.profiles set session_minutes = 30 where user_key = %s", [bob])
    done = plans.regenerate(url, as_of=AS_OF + timedelta(hours=2))
    assert (done.users, done.planned, done.untouched) == (2, 2, 1)
    with filled.connect() as owner:
        assert one(owner, "select count(*) from plans.plans where user_key = %s", carl) == 1


def test_a_run_that_was_interrupted_keeps_what_it_wrote_and_goes_on_there(filled: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plans, "SLICE_USERS", 2)
    url = filled.urls[Role.PIPELINE]
    with filled.connect() as owner:
        fifth = [new_user(owner, f"user {number}") for number in range(6)][4]
        owner.execute(f"alter table plans.plans add constraint interruption check (user_key <> {fifth})")
        with pytest.raises(psycopg.errors.CheckViolation):
            plans.regenerate(url, as_of=AS_OF)
        assert one(owner, "select count(*) from plans.plans") == 4
        owner.execute("alter table plans.plans drop constraint interruption")
    done = plans.regenerate(url, as_of=AS_OF + timedelta(minutes=1))
    assert (done.users, done.planned, done.unchanged) == (6, 2, 4)


def test_a_workout_that_moves_to_somebody_else_makes_both_plans_anew(filled: Database) -> None:
    with filled.connect() as owner:
        ann, bob, _ = (new_user(owner, name) for name in ("ann", "bob", "carl"))
        workout = log(owner, ann, AS_OF - timedelta(days=1), [(SQUAT, 100, 6)] * 4)
    url = filled.urls[Role.PIPELINE]
    plans.regenerate(url, as_of=AS_OF)
    with filled.connect() as owner:
        owner.execute("update app.workouts set user_key = %s where workout_key = %s", [bob, workout])
    done = plans.regenerate(url, as_of=AS_OF + timedelta(hours=2))
    assert (done.users, done.planned, done.untouched) == (2, 2, 1)


def test_a_limitation_that_has_ended_is_no_limitation_and_is_eased_out_of_for_four_weeks(filled: Database) -> None:
    last_days = {"holds": AS_OF, "ended": AS_OF - timedelta(days=1), "long ago": AS_OF - timedelta(days=29), "never": None}
    with filled.connect() as owner:
        for name, last in last_days.items():
            until = {} if last is None else {"until": last.date().isoformat()}
            limits = [{"area": "knee", "severity": "avoid", **until}, {"area": "wrist", "severity": "caution", "until": "some day"}]
            new_user(owner, name, limitations=json.dumps(limits))
    inputs = read_state(filled, np.arange(1, 5), AS_OF).inputs
    knee, wrist = (1 << AREAS.index(area) for area in (BodyArea.KNEE, BodyArea.WRIST))
    assert inputs.limits_avoid.tolist() == [knee, 0, 0, knee]
    assert inputs.limits_caution.tolist() == [wrist] * 4
    assert inputs.limits_returning.tolist() == [0, knee, 0, 0]
    yesterday = (AS_OF.date() - date(1970, 1, 1)).days - 1
    assert inputs.limits_eased_on.tolist() == [NO_DATE, yesterday, NO_DATE, NO_DATE]
    plans.regenerate(filled.urls[Role.PIPELINE], as_of=AS_OF)
    assert plans.regenerate(filled.urls[Role.PIPELINE], as_of=AS_OF + timedelta(days=1)).planned >= 1, "an end without any write"


def test_the_newest_session_knows_what_the_plan_in_force_prescribed(filled: Database) -> None:
    with filled.connect() as owner:
        user = new_user(owner, "ann", days_per_week=3)
        log(owner, user, AS_OF - timedelta(days=2), [(SQUAT, 100, 6)] * 4)
    url = filled.urls[Role.PIPELINE]
    plans.regenerate(url, as_of=AS_OF)
    with filled.connect() as owner:
        asked = owner.execute(
            "select session_on, exercise_key, load_kg, sets from plans.prescriptions where week <= 2 order by session_on, slot"
        ).fetchall()
        for on, exercise, load, _ in asked:
            log(owner, user, datetime(on.year, on.month, on.day, 18, tzinfo=UTC), [(exercise, load or 10, 5)])
        owner.execute("update app.profiles set session_minutes = 45")
    as_of = AS_OF + timedelta(days=14)
    plans.regenerate(url, as_of=as_of)  # made after the sessions: not the plan that was in force
    history = read_state(filled, np.array([user]), as_of + timedelta(hours=1)).inputs.history
    newest = {exercise: (load, sets) for _, exercise, load, sets in asked}
    assert history.exercise_key.tolist() == sorted(newest)
    expected = [newest[key] for key in history.exercise_key.tolist()]
    np.testing.assert_allclose(history.prescribed_kg, [np.nan if load is None else load for load, _ in expected])
    assert history.prescribed_sets.tolist() == [sets for _, sets in expected]


def test_a_new_week_of_training_makes_a_new_plan_and_a_day_does_not(filled: Database) -> None:
    with filled.connect() as owner:
        new_user(owner, "ann")
    url = filled.urls[Role.PIPELINE]
    plans.regenerate(url, as_of=AS_OF)
    assert plans.regenerate(url, as_of=AS_OF + timedelta(days=6)).planned == 0
    later = plans.regenerate(url, as_of=AS_OF + timedelta(days=7))
    assert later.planned == 1
    with filled.connect() as owner:
        rows = owner.execute("select starts_on, mesocycle_started_on, deload_week from plans.plans order by as_of").fetchall()
    assert rows == [(date(2024, 5, 1), date(2024, 5, 1), 4), (date(2024, 5, 8), date(2024, 5, 1), 3)]


def test_a_plan_from_older_data_never_becomes_the_current_one(filled: Database) -> None:
    with filled.connect() as owner:
        user = new_user(owner, "ann")
    with filled.connect(Role.PIPELINE, autocommit=False) as connection:
        plans.regenerate_for_users(connection, [user], as_of=AS_OF)
        newest = plan_documents.current_plan(connection, user)
        plans.regenerate_for_users(connection, [user], as_of=AS_OF - timedelta(days=10))
        assert plan_documents.current_plan(connection, user) == newest
        assert one(connection, "select count(*) from plans.plans") == 2


def test_a_plan_of_the_same_instant_is_replaced(filled: Database) -> None:
    with filled.connect() as owner:
        user = new_user(owner, "ann")
    with filled.connect(Role.PIPELINE, autocommit=False) as connection:
        plans.regenerate_for_users(connection, [user], as_of=AS_OF)
    with filled.connect() as owner:
        owner.execute("update app.profiles set days_per_week = 2")
    with filled.connect(Role.PIPELINE, autocommit=False) as connection:
        plans.regenerate_for_users(connection, [user], as_of=AS_OF)
        assert one(connection, "select count(*) from plans.plans") == 1
        row = plan_documents.current_plan(connection, user)
    assert row is not None and len(row["session_day"]) == 2


def test_documents_that_make_no_sense_cost_nobody_a_plan(filled: Database) -> None:
    deep = "[" * 3000 + "]" * 3000
    with filled.connect() as owner:
        users = [
            new_user(owner, "deep", limitations=deep, plates=deep),
            new_user(owner, "huge", plates='{"bar": 1' + "0" * 400 + ', "plates": {"20": "2.5", "10": 4}, "dumbbells": [[], 1e300]}'),
            new_user(owner, "sane"),
        ]
        with owner.transaction():
            assert plans.regenerate_for_users(owner, users, as_of=AS_OF) == {}
        rows = owner.execute("select refusal from plans.plans where user_key = any(%s)", [users]).fetchall()
    assert rows == [(0,)] * 3


def test_bulk_and_single_reading_give_the_same_plan(filled: Database) -> None:
    with filled.connect() as owner:
        for number in range(20):
            user = new_user(
                owner,
                f"user {number}",
                time_zone=["UTC", "Pacific/Auckland"][number % 2],
                limitations=json.dumps([{"area": "knee", "severity": "avoid"}] if number % 3 == 0 else []),
                equipment=["dumbbell", "bench"],
                place="home" if number % 4 == 0 else "gym",
                weekdays=[1, 3, 5] if number % 2 else None,
                plates=json.dumps({"bar": 20, "plates": {"20": 2, "10": 2, "5": 2}}) if number % 5 == 0 else None,
                disliked_exercise_keys=[BENCH] if number % 7 == 0 else [],
            )
            for back in range(number):
                log(
                    owner,
                    user,
                    AS_OF - timedelta(days=3 * back + 1),
                    [(SQUAT, 80 - back, 6 + back % 5), (BENCH, 60, 8)],
                    rpe=8 if back % 2 else None,
                )
        users = np.array([row[0] for row in owner.execute("select user_key from app.users order by user_key")])
    bulk = read_state(filled, users, AS_OF)
    with filled.connect(Role.PIPELINE) as connection:
        single = planning_inputs.read_state(connection, users, AS_OF)
    one_batch, other = (plans.plan_batch(state.inputs, load_catalogue()) for state in (bulk, single))
    for user in range(len(users)):
        assert one_batch.bytes_of(user) == other.bytes_of(user)


@pytest.mark.parametrize(
    ("weight", "reps", "rpe"), [(100, 5, None), (100, 1, None), (80, 12, 8), (90, 3, 8.5), (100, 1, 8), (50, 20, None), (60, 6, 5)]
)
def test_the_database_estimates_strength_as_the_domain_does(filled: Database, weight: float, reps: int, rpe: float | None) -> None:
    with filled.connect() as owner:
        user = new_user(owner, "ann")
        log(owner, user, AS_OF - timedelta(days=2), [(SQUAT, weight, reps)], rpe=rpe)
    state = read_state(filled, np.array([user]), AS_OF)
    expected = e1rm.from_set(weight, reps, np.nan if rpe is None else rpe)
    np.testing.assert_allclose(state.inputs.history.e1rm_kg[0, 0], expected, rtol=1e-3)


def test_warm_up_sets_deleted_workouts_and_later_ones_do_not_count(filled: Database) -> None:
    with filled.connect() as owner:
        user = new_user(owner, "ann")
        log(owner, user, AS_OF - timedelta(days=2), [(SQUAT, 100, 5)], set_type="warmup")
        deleted = log(owner, user, AS_OF - timedelta(days=2), [(SQUAT, 100, 5)])
        owner.execute("update app.workouts set deleted_at = now() where workout_key = %s", [deleted])
        log(owner, user, AS_OF + timedelta(days=1), [(SQUAT, 100, 5)])
    state = read_state(filled, np.array([user]), AS_OF)
    assert len(state.inputs.history) == 0


def test_sessions_of_a_deload_week_stay_out_of_progress(filled: Database) -> None:
    with filled.connect() as owner:
        user = new_user(owner, "ann")
    with filled.connect(Role.PIPELINE, autocommit=False) as connection:
        plans.regenerate_for_users(connection, [user], as_of=AS_OF)
    with filled.connect() as owner:
        log(owner, user, AS_OF + timedelta(days=3), [(SQUAT, 100, 5)])
        log(owner, user, AS_OF + timedelta(days=23), [(SQUAT, 60, 5)])
    state = read_state(filled, np.array([user]), AS_OF + timedelta(days=30))
    assert state.inputs.history.top_load_kg[0].tolist() == [100, 0, 0, 0, 0, 0]


def test_a_refusal_is_stored_with_its_reason(filled: Database) -> None:
    with filled.connect() as owner:
        user = new_user(owner, "ann", session_minutes=5)
    with filled.connect(Role.PIPELINE, autocommit=False) as connection:
        refusals = plans.regenerate_for_users(connection, [user], as_of=AS_OF)
        row = plan_documents.current_plan(connection, user)
    assert refusals[user].code == "refused.session_too_short"
    assert row is not None
    payload = json.loads(plan_documents.render("ann", row, locale="de"))
    assert payload["weeks"] == [] and payload["refusal"]["code"] == "refused.session_too_short"


def test_the_views_unnest_what_the_arrays_hold(filled: Database) -> None:
    with filled.connect() as owner:
        user = new_user(owner, "ann", days_per_week=4)
    with filled.connect(Role.PIPELINE, autocommit=False) as connection:
        plans.regenerate_for_users(connection, [user], as_of=AS_OF)
        row = plan_documents.current_plan(connection, user)
    assert row is not None
    payload = json.loads(plan_documents.render("ann", row))
    keys = {identity: key for key, (identity, _, _) in plan_documents.known_exercises().items()}
    expected = [
        (week["week"], number, date.fromisoformat(session["date"]), keys[exercise["exerciseId"]], exercise["sets"], exercise["loadKg"])
        for week in payload["weeks"]
        for number, session in enumerate(week["sessions"], 1)
        for exercise in session["exercises"]
    ]
    with filled.connect() as owner:
        rows = owner.execute(
            "select week, session, session_on, exercise_key, sets, round(load_kg::numeric, 3)::float from plans.prescriptions order by week, session, slot"
        ).fetchall()
        assert rows == expected
        sessions = owner.execute("select week, session, exercise_keys, minutes from plans.sessions order by week, session").fetchall()
        assert [key for _, _, slots, _ in sessions for key in slots] == [key for _, _, _, key, _, _ in expected]
        assert [minutes for *_, minutes in sessions] == [session["minutes"] for week in payload["weeks"] for session in week["sessions"]]


@pytest.mark.parametrize("locale", ["en", "de"])
def test_a_document_says_what_the_plain_way_of_writing_it_says(filled: Database, locale: str) -> None:
    with filled.connect() as owner:
        for number in range(6):
            user = new_user(
                owner,
                f"user {number}",
                days_per_week=1 + number,
                weight_unit=["kg", "lb"][number % 2],
                session_minutes=[60, 30, 5][number % 3],
            )
            for back in range(number):
                log(owner, user, AS_OF - timedelta(days=9 * back + 2), [(SQUAT, 97.3, 5), (BENCH, 60, 8 + back)], rpe=9)
    plans.regenerate(filled.urls[Role.PIPELINE], as_of=AS_OF)
    with filled.connect() as owner:
        rows = owner.cursor(row_factory=psycopg.rows.dict_row).execute("select * from plans.plans").fetchall()
    assert {row["refusal"] for row in rows} == {0, 1}
    for row in rows:
        plain = {"userId": 'Zoë "1"'} | plan_oracle.payload(row, locale=locale)
        assert json.loads(plan_documents.render('Zoë "1"', row, locale=locale)) == plain


def test_planned_sessions_are_those_of_the_plan_that_was_current_on_their_date(filled: Database) -> None:
    with filled.connect() as owner:
        user = new_user(owner, "ann", days_per_week=3)
    with filled.connect(Role.PIPELINE, autocommit=False) as connection:
        plans.regenerate_for_users(connection, [user], as_of=AS_OF)
    with filled.connect() as owner:
        owner.execute("update app.profiles set days_per_week = 1")
    with filled.connect(Role.PIPELINE, autocommit=False) as connection:
        plans.regenerate_for_users(connection, [user], as_of=AS_OF + timedelta(days=14))
    with filled.connect() as owner:
        days = [row[0] for row in owner.execute("select session_on from plans.planned_sessions order by session_on")]
        assert len(days) == 3 * 2 + 4
        assert len(set(days)) == len(days)


def test_erasing_a_user_erases_the_plans(filled: Database) -> None:
    with filled.connect() as owner:
        user = new_user(owner, "ann")
    plans.regenerate(filled.urls[Role.PIPELINE], as_of=AS_OF)
    with filled.connect() as owner:
        owner.execute("delete from app.users where user_key = %s", [user])
        assert one(owner, "select count(*) from plans.plans") == 0


def test_the_api_reads_plans_and_may_not_write_them(filled: Database) -> None:
    with filled.connect() as owner:
        user = new_user(owner, "ann")
    plans.regenerate(filled.urls[Role.PIPELINE], as_of=AS_OF)
    with filled.connect(Role.API) as api:
        assert plan_documents.current_plan(api, user) is not None
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            api.execute("delete from plans.plans")


def test_stored_plans_are_verified_against_their_properties(filled: Database) -> None:
    with filled.connect() as owner:
        for number in range(8):
            log(owner, new_user(owner, f"user {number}", days_per_week=1 + number % 6), AS_OF - timedelta(days=2), [(SQUAT, 100, 6)] * 3)
    plans.regenerate(filled.urls[Role.PIPELINE], as_of=AS_OF)
    with filled.connect(Role.PIPELINE) as connection:
        assert plans.verify_stored(connection) == plans.Verification(8, {}, [])
        assert plans.count_unplanned(connection) == (0, 8)
        connection.execute("update plans.plans set sets[1][4] = 9, session_minutes[1][1] = 500 where user_key = 1")
        found = plans.verify_stored(connection)
    assert found.broken.keys() >= {"heavy_deload", "too_long"}
    assert found.broken["too_long"] == found.differing == [1]


def test_what_changed_since_the_last_plan_is_told_with_its_reason(filled: Database) -> None:
    with filled.connect() as owner:
        user = new_user(owner, "ann")
        log(owner, user, AS_OF - timedelta(days=2), [(SQUAT, 100, 5)] * 4)
    url = filled.urls[Role.PIPELINE]
    plans.regenerate(url, as_of=AS_OF)
    with filled.connect() as owner:
        assert plans.plan_changes(owner, user) == []
        log(owner, user, AS_OF + timedelta(hours=1), [(SQUAT, 100, 6)] * 4)
    plans.regenerate(url, as_of=AS_OF + timedelta(days=1))
    with filled.connect() as owner:
        found = plans.plan_changes(owner, user)
    assert {"kind": "load", "exerciseId": "squat_barbell", "before": 100.0, "after": 102.5, "reason": "progress.double.load_up"} in found
