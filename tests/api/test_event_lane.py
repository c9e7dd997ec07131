"""Single events through both lanes, each with a database of its own: answers, stored events and refused ones must be the same."""

import asyncio
import contextlib
import re
import uuid
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from api.fast_lane import EVENT_BYTES
from tests.api.conftest import Keys, listening, settings_for
from tests.api.test_fast_lane import seen
from tests.api.test_onboarding import ERROR, ODD_CHANGES, STEP, TRACE, event, now, refused
from tests.conftest import Database, clone_database

ANSWERED = re.compile(rb"HTTP/1\.1 (\d{3}) ")


@pytest.fixture(scope="module")
def pair(postgres, template) -> Iterator[tuple[Database, Database]]:
    made = [clone_database(postgres, template) for _ in range(2)]
    yield next(made[0]), next(made[1])
    for one in made:
        one.close()


@pytest.fixture
def twins(pair) -> tuple[Database, Database]:
    """Two databases without any event: of the fast lane, and of the normal way."""
    for database in pair:
        with database.connect() as connection:
            connection.execute("delete from app.onboarding_events; delete from app.identity_links; delete from app.rejected_rows")
    return pair


@contextlib.asynccontextmanager
async def both_lanes(twins, keys: Keys, **changes: Any):
    """(fast, normal) clients, and the paths that the fast one handed on to the application."""
    handed_on: list[str] = []
    async with (
        listening(settings_for(twins[0], keys, **changes)) as fast,
        listening(settings_for(twins[1], keys, fast_lane=False, **changes)) as normal,
    ):
        front = fast.application._front

        async def note(scope, receive, send):
            handed_on.append(scope["path"])
            await front(scope, receive, send)

        fast.application._front = note
        yield fast, normal, handed_on


async def introduce(clients, *authorizations: str) -> None:
    """Tokens are known from here on; reads don't count as writes."""
    for client in clients:
        for authorization in authorizations:
            await client.get("/api/v1/summary/nobody", headers={"Authorization": authorization})


def both(twins, keys: Keys, requests, **changes: Any):
    """(fast, normal, whether the fast lane answered) for each (path, body, headers), in their order."""

    async def run():
        results = []
        async with both_lanes(twins, keys, **changes) as (fast, normal, handed_on):
            await introduce((fast, normal), *{headers["Authorization"] for _, _, headers in requests if "Authorization" in headers})
            for path, body, headers in requests:
                handed_on.clear()
                content = body if isinstance(body, bytes) else orjson.dumps(body)
                kind = {} if "Content-Type" in headers else {"Content-Type": "application/json"}
                answers = [await client.post(path, content=content, headers=headers | kind) for client in (fast, normal)]
                results.append((*answers, not handed_on))
        return results

    return asyncio.run(run())


def events_of(database: Database) -> list[tuple[Any, ...]]:
    with database.connect() as connection:
        return connection.execute(
            "select event_id, user_id, anonymous_id, session_id, flow, flow_version, step, event_type, sent_at, duration_ms, error_code, "
            "platform, app_version, acquisition_channel, traceparent, case when sent_at is null then occurred_at end "
            "from app.onboarding_events left join app.users using (user_key) order by event_id"
        ).fetchall()


AHEAD = re.compile(r"\d+ seconds in the future")
"""What differs where a clock goes on between two requests."""


def gist(response):
    """An answer without what is of the moment: with it a problem's length changes, too."""
    status, headers, body, has_id = seen(response)
    if status >= 400:
        headers = [pair for pair in headers if pair[0] != "content-length"]
    return status, headers, AHEAD.sub("", orjson.dumps(body).decode()), has_id


def assert_same(results, twins) -> None:
    for fast, normal, _ in results:
        assert gist(fast) == gist(normal), fast.request.content
    fast_events, normal_events = [events_of(database) for database in twins]
    assert fast_events == normal_events
    fast_refused, normal_refused = [[(raw, AHEAD.sub("", reason)) for raw, reason in refused(database)] for database in twins]
    assert fast_refused == normal_refused


def test_a_good_event_goes_fast_and_is_stored_as_the_route_stores_it(twins, keys) -> None:
    service, person = keys.header("app", "service"), keys.header("runner")
    full = event(
        userId="müller/ü", sessionId="s-1", flow="first_workout", flowVersion=2, step="plan_viewed", eventType="started", durationMs=1500,
        platform="ios", appVersion="3.4", acquisitionChannel="ads", traceparent=TRACE.replace("0af7", "1af7"), unknown={"a": [1]},
    )  # fmt: skip
    failed = event(errorCode="email_taken", eventType=...)
    requests = [
        (STEP, full, service),
        (STEP, full, service),  # a retry
        (STEP, event(), service | {"traceparent": TRACE}),
        (STEP, event(), service | {"traceparent": "nonsense"}),
        (STEP, event(anonymousId=..., userId="runner"), person),
        (STEP, event(anonymousId=...), person),
        (STEP, event(userId="runner", anonymousId="device-7"), person),
        (STEP, event(eventType="error", errorCode="network"), service),
        (STEP, event(sentAt=(now() - timedelta(days=900)).isoformat(), occurredAt=(now() - timedelta(days=900)).isoformat()), service),
        (ERROR, failed, service),
        (ERROR, event(errorCode="timeout"), service | {"Content-Type": "application/json; charset=utf-8"}),
    ]
    results = both(twins, keys, requests)
    assert all(was_fast for _, _, was_fast in results)
    assert {fast.status_code for fast, _, _ in results} == {202}
    assert [fast.json()["duplicates"] for fast, _, _ in results] == [0, 1] + [0] * 9
    assert_same(results, twins)
    assert len(events_of(twins[0])) == 10
    with twins[0].connect() as connection:
        assert connection.execute("select anonymous_id, user_id from app.identity_links join app.users using (user_key)").fetchall() == [
            ("device-1", "müller/ü"), ("device-7", "runner"),
        ]  # fmt: skip
        corrected = connection.execute("select max(occurred_at) from app.onboarding_events where sent_at is not null").fetchone()[0]
    assert abs(corrected - now()) < timedelta(minutes=5)


def test_whatever_is_special_gets_the_same_answer_from_both(twins, keys) -> None:
    service, person = keys.header("app", "service"), keys.header("runner")
    batch = {"events": [event(), event(step="No Step!")]}
    requests = [
        (STEP, batch, service),
        (STEP, [event()], service),
        (STEP, {"events": []}, service),
        (STEP, event(events=None), service),
        (STEP, event(step="No Step!"), service),
        (STEP, event(anonymousId=...), service),
        (STEP, event(userId="somebody"), person),
        (STEP, event(occurredAt=(now() + timedelta(days=400)).isoformat()), service),
        (STEP, event(occurredAt="1999-12-31T00:00:00Z"), service),
        (STEP, event(sentAt="yesterday"), service),
        (STEP, event(sentAt=1700000000), service),
        (STEP, event(sessionId="x" * 101), service),
        (STEP, event(sessionId="x" * 100, unknown="y" * EVENT_BYTES), service),
        (STEP, event(unknown=[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]), service),
        (STEP, event(), {}),
        (STEP, event(), {"Authorization": "Bearer nonsense"}),
        (STEP, event(), keys.header("analyst", "analyst")),
        (STEP, event(), keys.header("runner", lifetime=-3600)),
        (STEP, event(), service | {"Content-Type": "text/plain"}),
        (STEP, event(), service | {"Content-Type": "application/x-www-form-urlencoded"}),
        (STEP, event(), service | {"Content-Type": "application/cloudevents+json"}),
        (STEP, event(), service | {"Content-Type": "APPLICATION/JSON"}),
        (STEP, event(), service | {"X-Request-Id": "mine-1"}),
        (STEP, event(), service | {"Origin": "https://app.example"}),
        (STEP, event(), service | {"X-Padding": "x" * 40000}),
        (STEP, event(), service | {"Content-Encoding": "gzip"}),
        (STEP + "?x=1", event(), service),
        (STEP + "/", event(), service),
        (STEP + "s", event(), service),
        (ERROR, event(), service),
        (STEP, b"", service),
        (STEP, b"null", service),
        (STEP, b"7", service),
        (STEP, b'"text"', service),
        (STEP, b"{", service),
        (STEP, b"\xef\xbb\xbf{}", service),
        (STEP, b'{"eventId":"\\ud800"}', service),
        (STEP, b'{"durationMs":NaN}', service),
        (STEP, b'{"durationMs":1e999}', service),
        (STEP, b'{"eventId":1,"eventId":"' + str(uuid.uuid4()).encode() + b'"}', service),
        (STEP, b"\xff", service),
        (STEP, orjson.dumps(event())[:-1] + b',"unknown":' + b"9" * 400 + b"}", service),
    ]
    results = both(twins, keys, requests)
    assert_same(results, twins)
    for fast, _, _ in results:
        assert fast.status_code < 500, fast.text
        if fast.status_code >= 400:
            assert fast.headers["content-type"] == "application/problem+json"


@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(all_changes=st.lists(st.tuples(ODD_CHANGES, st.booleans()), min_size=10, max_size=40))
def test_whatever_an_event_holds_both_lanes_answer_and_store_the_same(twins, keys, all_changes) -> None:
    service = keys.header("app", "service")
    requests = []
    for changes, is_error in all_changes:
        with contextlib.suppress(TypeError):  # no JSON that a client could send
            requests.append((ERROR if is_error else STEP, orjson.dumps(event(**changes)), service))
    results = both(twins, keys, requests)
    assert_same(results, twins)


def test_writes_are_counted_on_both_lanes(twins, keys) -> None:
    person = keys.header("runner")
    results = both(twins, keys, [(STEP, event(anonymousId=...), person) for _ in range(5)], writes_per_minute=3)
    assert [fast.status_code for fast, _, _ in results] == [202, 202, 202, 429, 429]
    assert [was_fast for _, _, was_fast in results] == [True, True, True, False, False]
    assert [normal.status_code for _, normal, _ in results] == [202, 202, 202, 429, 429]
    assert "retry-after" in results[-1][0].headers


def test_a_value_that_postgres_alone_refuses_is_kept_once_with_its_reason(twins, keys) -> None:
    for database in twins:
        with database.connect() as connection:
            connection.execute("alter table app.onboarding_events add constraint no_goal check (step <> 'goal')")
    try:
        results = both(
            twins, keys, [(STEP, event(), keys.header("app", "service")), (STEP, event(step="plan"), keys.header("app", "service"))]
        )
    finally:
        for database in twins:
            with database.connect() as connection:
                connection.execute("alter table app.onboarding_events drop constraint no_goal")
    assert [(fast.status_code, was_fast) for fast, _, was_fast in results] == [(422, True), (202, True)]
    assert_same(results, twins)
    assert len(refused(twins[0])) == 1
    assert "no_goal" in refused(twins[0])[0][1]


def test_an_event_that_is_not_durable_in_time_is_answered_as_too_slow_by_both(twins, keys) -> None:
    async def run():
        async with both_lanes(twins, keys, request_seconds=1, query_seconds=10) as (fast, normal, handed_on):
            header = keys.header("app", "service")
            await introduce((fast, normal), header["Authorization"])
            handed_on.clear()
            with contextlib.ExitStack() as locks:
                for database in twins:
                    connection = locks.enter_context(database.connect())
                    locks.enter_context(connection.transaction())
                    connection.execute("lock table app.onboarding_events in access exclusive mode")
                late = await asyncio.gather(*[client.post(STEP, json=event(), headers=header) for client in (fast, normal)])
            after = [await client.post(STEP, json=event(), headers=header) for client in (fast, normal)]
            return late, after, handed_on

    late, after, handed_on = asyncio.run(run())
    assert gist(late[0]) == gist(late[1])
    assert late[0].status_code == 503
    assert late[0].json()["type"] == "urn:mesocycle:problem:too-slow"
    assert [answer.status_code for answer in after] == [202, 202]
    assert handed_on == []


@pytest.mark.parametrize("table", ["onboarding_events", "users"])
def test_what_goes_wrong_in_the_database_is_the_same_problem_on_both(twins, keys, table) -> None:
    async def run():
        async with both_lanes(twins, keys) as (fast, normal, handed_on):
            header = keys.header("app", "service")
            await introduce((fast, normal), header["Authorization"])
            handed_on.clear()
            one = event(userId="runner")
            for database in twins:
                with database.connect() as connection:
                    connection.execute(f"alter table app.{table} rename to elsewhere")
            lost = [await client.post(STEP, json=one, headers=header) for client in (fast, normal)]
            for database in twins:
                with database.connect() as connection:
                    connection.execute(f"alter table app.elsewhere rename to {table}")
            again = [await client.post(STEP, json=one, headers=header) for client in (fast, normal)]
            return lost, again, handed_on

    lost, again, handed_on = asyncio.run(run())
    assert gist(lost[0]) == gist(lost[1])
    assert lost[0].status_code == 503
    assert [answer.json()["accepted"] for answer in again] == [1, 1]
    assert handed_on == []


def post_bytes(token: str, body: bytes, path: str = STEP, more: str = "") -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: api\r\nAuthorization: {token}\r\nContent-Type: application/json\r\n{more}"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def statuses(received: bytes) -> list[int]:
    return [int(status) for status in ANSWERED.findall(received)]


def test_a_body_that_comes_in_pieces_is_taken_and_one_that_never_ends_is_timed_out(twins, keys) -> None:
    async def run():
        async with both_lanes(twins, keys, body_seconds=2.5) as (fast, normal, handed_on):
            token = keys.header("app", "service")["Authorization"]
            await introduce((fast, normal), token)
            handed_on.clear()

            async def answer(client, pause: float, until: int | None = None) -> bytes:
                reader, writer = await asyncio.open_connection("127.0.0.1", client.base_url.port)
                whole = post_bytes(token, orjson.dumps(event()))
                pieces = [whole[start : start + 150] for start in range(0, len(whole), 150)]
                for piece in pieces[:until]:
                    writer.write(piece)
                    await asyncio.sleep(pause)
                received = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
                writer.close()
                return received

            quick = [await answer(client, 0.01) for client in (fast, normal)]
            was_fast = not handed_on
            slow, endless = [await asyncio.gather(*[answer(client, *how) for client in (fast, normal)]) for how in ((0.4,), (0.01, -1))]
            return quick, slow, endless, was_fast

    quick, slow, endless, was_fast = asyncio.run(run())
    assert was_fast
    assert [statuses(answer) for answer in quick] == [[202], [202]]
    assert [statuses(answer) for answer in slow] == [[202], [202]]
    assert [statuses(answer) for answer in endless] == [[408], [408]]
    assert len(events_of(twins[0])) == len(events_of(twins[1])) == 2


def test_events_that_come_in_one_piece_are_answered_in_their_order(twins, keys) -> None:
    async def run():
        async with both_lanes(twins, keys) as (fast, normal, _):
            token = keys.header("app", "service")["Authorization"]
            await introduce((fast, normal), token)
            ids = [str(uuid.uuid4()) for _ in range(4)]
            requests = [
                post_bytes(token, orjson.dumps(event(eventId=ids[0]))),
                post_bytes(token, orjson.dumps({"events": [event(eventId=ids[1])]})),
                b"GET /healthz HTTP/1.1\r\nHost: api\r\n\r\n",
                post_bytes(token, orjson.dumps(event(step="No Step!", eventId=ids[2]))),
                post_bytes(token, orjson.dumps(event(eventId=ids[0]))),
                post_bytes(token, orjson.dumps(event(eventId=ids[3])), more="Connection: close\r\n"),
            ]
            received = []
            for client in (fast, normal):
                reader, writer = await asyncio.open_connection("127.0.0.1", client.base_url.port)
                writer.write(b"".join(requests))
                received.append(await asyncio.wait_for(reader.read(), 10))
                writer.close()
            return ids, received

    ids, received = asyncio.run(run())
    for answers in received:
        assert statuses(answers) == [202, 202, 200, 422, 202, 202]
        parts = answers.split(b"HTTP/1.1 ")[1:]
        assert ids[0].encode() in parts[0]
        assert b'"accepted"' in parts[0]
        assert b'"duplicate"' in parts[4]
        assert b"\r\nconnection: close\r\n" in parts[5]
    assert {str(row[0]) for row in events_of(twins[0])} == {ids[0], ids[1], ids[3]} == {str(row[0]) for row in events_of(twins[1])}


def test_an_event_is_stored_though_its_sender_leaves_and_a_server_that_ends_answers_first(twins, keys) -> None:
    async def run():
        async with listening(settings_for(twins[0], keys)) as client:
            token = keys.header("app", "service")["Authorization"]
            await introduce((client,), token)
            with twins[0].connect() as connection, connection.transaction():
                connection.execute("lock table app.onboarding_events in access exclusive mode")
                _, gone = await asyncio.open_connection("127.0.0.1", client.base_url.port)
                gone.write(post_bytes(token, orjson.dumps(event())))
                reader, writer = await asyncio.open_connection("127.0.0.1", client.base_url.port)
                writer.write(post_bytes(token, orjson.dumps(event())))
                await asyncio.sleep(0.2)
                gone.close()
                await asyncio.sleep(0.1)
                client.server.should_exit = True
                await asyncio.sleep(0.3)
            received = await asyncio.wait_for(reader.read(), 10)
            writer.close()
            return received

    received = asyncio.run(run())
    assert statuses(received) == [202]
    assert b"\r\nconnection: close\r\n" in received
    assert len(events_of(twins[0])) == 2


def test_a_defect_is_answered_with_500_and_the_connection_serves_on(twins, keys, monkeypatch) -> None:
    def breaks(*_arguments, **_more):
        raise RuntimeError("a defect")

    async def run():
        async with both_lanes(twins, keys) as (fast, normal, _):
            header = keys.header("app", "service")
            await introduce((fast, normal), header["Authorization"])
            monkeypatch.setattr("api.fast_lane.parse", breaks)
            monkeypatch.setattr("api.routes.onboarding.parse", breaks)
            broken = [await client.post(STEP, json=event(), headers=header) for client in (fast, normal)]
            monkeypatch.undo()
            return broken, [await client.post(STEP, json=event(), headers=header) for client in (fast, normal)]

    broken, after = asyncio.run(run())
    assert gist(broken[0]) == gist(broken[1])
    assert broken[0].status_code == 500
    assert [answer.status_code for answer in after] == [202, 202]


def test_what_the_fast_lane_took_is_in_the_latencies(database, keys) -> None:
    async def run():
        async with listening(settings_for(database, keys)) as client:
            header = keys.header("app", "service")
            await introduce((client,), header["Authorization"])
            for _ in range(3):
                assert (await client.post(STEP, json=event(), headers=header)).status_code == 202
            await client.application.state.metrics.flush()
            with database.connect() as connection:
                return connection.execute(
                    "select method, status, sum(requests)::int from ops.api_latency where route = %s group by 1, 2", [STEP]
                ).fetchall()

    assert asyncio.run(run()) == [("POST", 202, 3)]
