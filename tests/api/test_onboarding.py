"""Onboarding over HTTP: events are stored once, bad ones cost only themselves, clocks are corrected, the funnel is the mart's."""

import asyncio
import contextlib
import datetime
import uuid
from collections.abc import Iterator
from datetime import UTC, timedelta
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from api.onboarding import MOST_EVENTS
from api.routes.onboarding import router
from api.tracing import Tracing, is_wanted
from database.onboarding import ERROR_COLUMNS, FUNNEL_COLUMNS
from tests.api.conftest import Keys, serving, settings_for
from tests.conftest import Database, clone_database
from tests.dbt_project.support import run_dbt

STEP = "/api/v1/onboarding/step"
ERROR = "/api/v1/onboarding/error"
FUNNEL = "/api/v1/onboarding/funnel"
ERRORS = "/api/v1/onboarding/errors"
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def now() -> datetime.datetime:
    return datetime.datetime.now(UTC)


def event(**changes: Any) -> dict[str, Any]:
    known = {
        "eventId": str(uuid.uuid4()),
        "anonymousId": "device-1",
        "step": "goal",
        "eventType": "completed",
        "occurredAt": now().isoformat(),
    } | changes
    return {name: value for name, value in known.items() if value is not ...}


def send(
    database: Database, keys: Keys, *requests: tuple[str, Any], subject: str = "app", scopes: tuple[str, ...] = ("service",), **headers: str
):
    async def run():
        async with serving(settings_for(database, keys)) as client:
            return [await client.post(path, json=body, headers=keys.header(subject, *scopes) | headers) for path, body in requests]

    return asyncio.run(run())


def post(database: Database, keys: Keys, body: Any, path: str = STEP, **arguments: Any):
    return send(database, keys, (path, body), **arguments)[0]


def stored(database: Database, columns: str = "*") -> list[tuple[Any, ...]]:
    with database.connect() as connection:
        return connection.execute(f"select {columns} from app.onboarding_events order by occurred_at, step").fetchall()


def refused(database: Database) -> list[tuple[str, str]]:
    with database.connect() as connection:
        return connection.execute(
            "select raw_text, reason from app.rejected_rows where source = 'onboarding' order by rejected_key"
        ).fetchall()


@pytest.mark.parametrize(("method", "path"), [("POST", STEP), ("POST", ERROR), ("GET", FUNNEL), ("GET", ERRORS)])
def test_nobody_gets_anything_without_a_token(module_database, keys, method, path) -> None:
    async def run():
        async with serving(settings_for(module_database, keys)) as client:
            return await client.request(method, path, json=event() if method == "POST" else None)

    assert asyncio.run(run()).status_code == 401


def test_one_event_is_stored_as_it_was_sent(database, keys) -> None:
    happened = now() - timedelta(seconds=30)
    body = event(
        userId="müller/ü", anonymousId=..., sessionId="s 1", flow="first_workout", flowVersion=2, step="plan_viewed", eventType="started",
        occurredAt=happened.isoformat(), durationMs=1500, platform="ios", appVersion="3.4.1", acquisitionChannel="ads", traceparent=TRACE,
    )  # fmt: skip
    response = post(database, keys, body)
    assert response.status_code == 202, response.text
    assert response.json() == {
        "accepted": 1,
        "duplicates": 0,
        "rejected": 0,
        "results": [{"eventId": body["eventId"], "status": "accepted", "reason": None}],
    }
    columns = "event_id::text, session_id, flow, flow_version, step, event_type, occurred_at, duration_ms, platform, app_version, acquisition_channel, traceparent"
    assert stored(database, columns) == [
        (body["eventId"], "s 1", "first_workout", 2, "plan_viewed", "started", happened, 1500, "ios", "3.4.1", "ads", TRACE)
    ]
    with database.connect() as connection:
        assert connection.execute("select user_id from app.users").fetchall() == [("müller/ü",)]


def test_retries_and_repeats_are_stored_once(database, keys) -> None:
    one, two = event(), event()
    first, again, batch = send(database, keys, (STEP, one), (STEP, one), (STEP, {"events": [one, two, two]}))
    assert first.json()["results"][0]["status"] == "accepted"
    assert again.status_code == 202
    assert again.json()["results"][0]["status"] == "duplicate"
    assert [result["status"] for result in batch.json()["results"]] == ["duplicate", "accepted", "duplicate"]
    assert len(stored(database)) == 2


def test_one_bad_event_does_not_lose_the_good_ones(database, keys) -> None:
    good = [event() for _ in range(MOST_EVENTS - 3)]
    bad = [event(eventType="finished"), "not an event", event(occurredAt=(now() + timedelta(days=400)).isoformat())]
    response = post(database, keys, {"events": [*good[:7], *bad, *good[7:]]})
    assert response.status_code == 202
    answer = response.json()
    assert (answer["accepted"], answer["rejected"]) == (MOST_EVENTS - 3, 3)
    reasons = [result["reason"] for result in answer["results"][7:10]]
    assert "eventType" in reasons[0]
    assert "future" in reasons[2]
    assert len(stored(database)) == MOST_EVENTS - 3
    kept = refused(database)
    assert [reason for _, reason in kept] == reasons
    assert orjson.loads(kept[0][0])["eventId"] == bad[0]["eventId"]  # type: ignore[index]


def test_a_single_bad_event_is_a_problem_and_is_kept(database, keys) -> None:
    response = post(database, keys, event(step="No Step!"))
    assert response.status_code == 422
    assert response.headers["content-type"].startswith("application/problem+json")
    assert "step" in response.json()["detail"]
    assert len(refused(database)) == 1
    assert stored(database) == []


@pytest.mark.parametrize("off_by", [timedelta(days=-900), timedelta(minutes=-7), timedelta(hours=3), timedelta(days=400)])
def test_a_wrong_clock_is_corrected_by_what_it_says_when_it_sends(database, keys, off_by) -> None:
    before = now()
    body = {"sentAt": (before + off_by).isoformat(), "events": [event(occurredAt=(before + off_by - timedelta(seconds=60)).isoformat())]}
    assert post(database, keys, body).json()["accepted"] == 1
    ((occurred_at, sent_at, received_at),) = stored(database, "occurred_at, sent_at, received_at")
    assert abs((occurred_at - (before - timedelta(seconds=60))).total_seconds()) < 5
    assert sent_at == before + off_by
    assert occurred_at - (received_at - sent_at) == before + off_by - timedelta(seconds=60), "the client's own time can't be had back"


def test_a_future_that_no_correction_explains_is_refused(database, keys) -> None:
    later = (now() + timedelta(minutes=6)).isoformat()
    responses = send(
        database, keys, (STEP, event(occurredAt=later)), (STEP, event(occurredAt="9999-12-31T23:59:59Z", sentAt="0001-01-01T00:00:00Z"))
    )
    assert [response.status_code for response in responses] == [422, 422]
    assert post(database, keys, event(occurredAt=(now() + timedelta(minutes=4)).isoformat())).status_code == 202


def test_errors_need_a_code_and_have_their_own_address(database, keys) -> None:
    body = event(eventType=..., errorCode="email_taken", step="account")
    assert post(database, keys, body, ERROR).status_code == 202
    assert post(database, keys, event(eventType=...), ERROR).status_code == 422
    assert stored(database, "event_type, error_code") == [("error", "email_taken")]


def test_an_anonymous_person_becomes_a_user_for_what_came_before(database, keys) -> None:
    send(
        database, keys,
        (STEP, event(anonymousId="device-7", step="welcome")),
        (STEP, event(anonymousId="device-7", userId="anna", step="account")),
        (STEP, event(anonymousId="device-7", userId="ben", step="goal")),
    )  # fmt: skip
    with database.connect() as connection:
        linked = connection.execute("select anonymous_id, user_id from app.identity_links join app.users using (user_key)").fetchall()
    assert linked == [("device-7", "anna")], "who came first keeps the device"


def test_a_users_token_reports_for_its_user_only(database, keys) -> None:
    mine, silent, foreign = send(
        database, keys,
        (STEP, event(userId="anna")), (STEP, event(anonymousId=...)), (STEP, event(userId="ben")),
        subject="anna", scopes=("user",),
    )  # fmt: skip
    assert (mine.status_code, silent.status_code, foreign.status_code) == (202, 202, 403)
    batch = post(database, keys, [event(userId="ben"), event(userId="anna")], subject="anna", scopes=("user",)).json()
    assert [result["status"] for result in batch["results"]] == ["rejected", "accepted"]
    with database.connect() as connection:
        assert connection.execute("select user_id from app.users").fetchall() == [("anna",)]
    assert post(database, keys, event(), subject="ina", scopes=("analyst",)).status_code == 403


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({"events": []}, "1 to 500"),
        ({"events": [{}] * 501}, "1 to 500"),
        ([], "1 to 500"),
        ({"events": "all"}, "1 to 500"),
        ({"sentAt": 17, "events": [{}]}, "sentAt"),
        (7, "body"),
    ],
)
def test_a_body_that_is_no_event_and_no_batch_is_refused_as_a_whole(module_database, keys, body, sentence) -> None:
    response = post(module_database, keys, body)
    assert response.status_code == 422
    assert sentence in response.json()["detail"]


ODD = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text(max_size=30),
    st.sampled_from(["\x00", "0001-01-01T00:00:00Z", "2024-02-30T00:00:00Z", "2024-01-01", "-1", "9" * 400]), st.lists(st.integers(), max_size=2),
)  # fmt: skip
ODD_CHANGES = st.dictionaries(
    st.sampled_from(["eventId", "userId", "anonymousId", "sessionId", "flow", "flowVersion", "step", "eventType", "occurredAt", "durationMs",
                     "platform", "appVersion", "acquisitionChannel", "traceparent", "errorCode", "sentAt", "new"]),
    ODD, max_size=4,
)  # fmt: skip


@pytest.fixture(scope="module")
def own_database(postgres, template) -> Iterator[Database]:
    yield from clone_database(postgres, template)


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(all_changes=st.lists(ODD_CHANGES, min_size=10, max_size=40))
def test_whatever_events_hold_each_is_stored_or_kept_with_its_reason(own_database, keys, all_changes) -> None:
    events = []
    for changes in all_changes:
        with contextlib.suppress(TypeError):  # no JSON that a client could send
            events.append(orjson.loads(orjson.dumps(event(**changes))))
    with own_database.connect() as connection:
        count = "select (select count(*) from app.onboarding_events), (select count(*) from app.rejected_rows)"
        before = connection.execute(count).fetchone()
        response = post(own_database, keys, {"events": [*events, event()]})
        assert response.status_code == 202, response.text
        answer = response.json()
        statuses = [result["status"] for result in answer["results"]]
        after = connection.execute(count).fetchone()
    assert len(statuses) == len(events) + 1
    assert statuses[-1] == "accepted"
    assert (answer["accepted"], answer["duplicates"], answer["rejected"]) == (
        statuses.count("accepted"), 0, statuses.count("rejected"),
    )  # fmt: skip
    assert (after[0] - before[0], after[1] - before[1]) == (answer["accepted"], answer["rejected"])


def test_requests_at_once_share_transactions_and_each_gets_its_own_answer(database, keys) -> None:
    async def run():
        async with serving(settings_for(database, keys)) as client:
            header = keys.header("app", "service")
            bodies = [event(userId=f"user-{index % 30}") if index % 10 else event(step="") for index in range(300)]
            return bodies, await asyncio.gather(*(client.post(STEP, json=body, headers=header) for body in bodies))

    bodies, responses = asyncio.run(run())
    for index, (body, response) in enumerate(zip(bodies, responses, strict=True)):
        if index % 10:
            assert response.json()["results"] == [{"eventId": body["eventId"], "status": "accepted", "reason": None}]
        else:
            assert response.status_code == 422
    assert len(stored(database)) == 270
    with database.connect() as connection:
        transactions = connection.execute("select count(distinct xid) from app.onboarding_events").fetchone()[0]
    assert transactions < 135, "nothing was written together"


def test_nothing_is_answered_as_stored_while_the_database_is_away(database, keys) -> None:
    async def run():
        async with serving(settings_for(database, keys, connect_seconds=0.5)) as client:
            with database.connect() as connection:
                connection.execute("alter table app.onboarding_events rename to elsewhere")
            lost = await client.post(
                STEP, json=event(eventId="7b9b4f4e-4f0f-4d43-9a35-000000000001"), headers=keys.header("app", "service")
            )
            with database.connect() as connection:
                connection.execute("alter table app.elsewhere rename to onboarding_events")
            again = await client.post(
                STEP, json=event(eventId="7b9b4f4e-4f0f-4d43-9a35-000000000001"), headers=keys.header("app", "service")
            )
            return lost, again

    lost, again = asyncio.run(run())
    assert lost.status_code >= 500
    assert again.json()["accepted"] == 1


def test_each_request_and_each_step_joins_the_clients_trace(database, keys) -> None:
    spans = InMemorySpanExporter()

    async def run():
        async with serving(settings_for(database, keys)) as client:
            application = client.application  # type: ignore[attr-defined]
            application.state.tracing = Tracing(SimpleSpanProcessor(spans))
            application._front = application.state.tracing.around(application._front, router.routes)
            own = event(
                step="account", eventType="error", errorCode="email_taken", traceparent=TRACE.replace("0af7", "1af7"), durationMs=2000
            )
            body = {"events": [event(), own, event(traceparent="nonsense")]}
            return await client.post(STEP, json=body, headers=keys.header("app", "service") | {"traceparent": TRACE})

    assert asyncio.run(run()).status_code == 202
    by_name = {span.name: span for span in spans.get_finished_spans()}
    request = by_name[f"POST {STEP}"]
    assert f"{request.context.trace_id:032x}" == TRACE[3:35]
    assert f"{request.parent.span_id:016x}" == TRACE[36:52]
    failed = by_name["onboarding/account error"]
    assert f"{failed.context.trace_id:032x}" == "1af7" + TRACE[7:35]
    assert failed.end_time - failed.start_time == pytest.approx(2e9, abs=2e3)
    assert not failed.status.is_ok
    assert len([span for span in spans.get_finished_spans() if span.name == "onboarding/goal completed"]) == 2
    assert {row[0] for row in stored(database, "traceparent")} == {TRACE, TRACE.replace("0af7", "1af7")}


def test_spans_are_off_unless_a_collector_is_named() -> None:
    assert not is_wanted({})
    assert is_wanted({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"})
    assert not is_wanted({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318", "OTEL_SDK_DISABLED": "true"})
    assert not is_wanted({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://collector:4318", "OTEL_TRACES_EXPORTER": "none"})


@pytest.fixture(scope="module")
def built_funnel(postgres, template, keys) -> Iterator[Database]:
    """Three people sent their events through the API, and dbt has built the marts."""
    made = clone_database(postgres, template)
    database = next(made)
    happened = datetime.datetime(2024, 5, 6, 10, tzinfo=UTC)

    def at(seconds: int) -> str:
        return (happened + timedelta(seconds=seconds)).isoformat()

    send(
        database, keys,
        (STEP, {"events": [
            event(anonymousId="a", step="welcome", occurredAt=at(0), platform="ios"),
            event(anonymousId="a", step="account", occurredAt=at(10)),
            event(anonymousId="b", step="welcome", occurredAt=at(0), platform="android"),
            event(anonymousId="c", step="welcome", occurredAt=at(5)),
        ]}),
        (ERROR, [event(anonymousId="b", eventType=..., errorCode="offline", step="account", occurredAt=at(20))]),
    )  # fmt: skip
    run_dbt(database, "build", "--select", "+onboarding_funnel", "+onboarding_errors", as_of="2024-06-01T00:00:00Z")
    yield database
    made.close()


def read(database: Database, keys: Keys, path: str, scope: str = "analyst"):
    async def run():
        async with serving(settings_for(database, keys)) as client:
            return await client.get(path, headers=keys.header("ina", scope))

    return asyncio.run(run())


def test_the_funnel_is_the_mart(built_funnel, keys) -> None:
    response = read(built_funnel, keys, f"{FUNNEL}?flow=onboarding&grain=day&segment=platform&cohortFrom=2024-05-06&cohortTo=2024-05-06")
    assert response.status_code == 200, response.text
    answer = response.json()
    assert (answer["flow"], answer["flowVersion"], answer["grain"], answer["windowSeconds"]) == ("onboarding", 1, "day", 1209600)
    account = {row["segment"]: row for row in answer["steps"] if row["step"] == "account"}
    assert set(account) == {"ios", "android", "(none)"}
    assert (account["ios"]["completed"], account["ios"]["medianSeconds"], account["ios"]["conversionFromPrevious"]) == (1, 10.0, 1.0)
    assert (account["android"]["blocked"], account["android"]["topError"], account["android"]["dropped"]) == (1, "offline", 1)
    whole = read(built_funnel, keys, f"{FUNNEL}?grain=week").json()["steps"]
    assert [row["reached"] for row in whole] == [3, 2, 0, 0, 0, 0, 0, 0]
    assert {row["segment"] for row in whole} == {"(all)"}
    assert whole[0]["cohort"] == "2024-05-06"
    assert set(whole[0]) == {"cohort", "segment", *(camel(column) for column in FUNNEL_COLUMNS)}


def camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)


def test_what_an_error_did_is_the_mart(built_funnel, keys) -> None:
    answer = read(built_funnel, keys, f"{ERRORS}?grain=week").json()
    (row,) = answer["errors"]
    assert (row["errorCode"], row["users"], row["blocked"], row["step"]) == ("offline", 1, 1, "account")
    assert row["dropOddsRatio"] == pytest.approx((1.5 / 0.5) / (0.5 / 1.5))
    assert set(row) == {"cohort", "segment", *(camel(column) for column in ERROR_COLUMNS)}


@pytest.mark.parametrize(
    "query",
    ["grain=month", "segment=userId", "cohortFrom=yesterday", "flow=';drop", "flowVersion=0"],
)
def test_a_question_without_sense_is_refused(built_funnel, keys, query) -> None:
    assert read(built_funnel, keys, f"{FUNNEL}?{query}").status_code == 422


def test_a_range_that_ends_before_it_begins_contradicts_itself(built_funnel, keys) -> None:
    response = read(built_funnel, keys, f"{FUNNEL}?cohortFrom=2024-02-01&cohortTo=2024-01-01")
    assert response.status_code == 409
    assert response.json()["errors"][0]["field"] == "query.cohortTo"


def test_a_flow_that_nobody_entered_is_empty(built_funnel, keys) -> None:
    answer = read(built_funnel, keys, f"{FUNNEL}?flow=unheard").json()
    assert answer["steps"] == []
    assert answer["dataThrough"] is None


def test_users_and_services_read_no_aggregates(built_funnel, keys) -> None:
    assert [read(built_funnel, keys, path, scope).status_code for path in (FUNNEL, ERRORS) for scope in ("user", "service")] == [403] * 4


def test_before_the_first_build_the_answer_says_so(module_database, keys) -> None:
    response = read(module_database, keys, FUNNEL)
    assert response.status_code == 503
    assert response.json()["type"].endswith("not-built-yet")


def test_what_is_read_of_the_marts_stands_in_their_contracts() -> None:
    import yaml

    from orchestration.dbt import DBT_PROJECT

    models = yaml.safe_load((DBT_PROJECT / "models" / "marts" / "onboarding" / "_onboarding_marts.yml").read_text())["models"]
    columns = {model["name"]: {column["name"] for column in model["columns"]} for model in models}
    assert set(FUNNEL_COLUMNS) <= columns["onboarding_funnel"]
    assert set(ERROR_COLUMNS) <= columns["onboarding_errors"]
