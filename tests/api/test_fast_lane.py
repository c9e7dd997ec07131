"""Every request through both lanes: the fast one may only be faster."""

import asyncio
import contextlib
import datetime
import re

import pytest

from api.app import FAST
from api.fast_lane import reachable
from api.payloads import PLAN, PayloadReader
from api.representation import coding_for, represent
from database.catalogue import publish_catalogue
from database.erasure import forget
from database.plans import regenerate_for_users
from tests.api.conftest import AS_OF, Keys, listening, settings_for

OF_THE_MOMENT = ("x-request-id", "server-timing", "date")


def both(database, keys: Keys, requests, **settings):
    """(fast, normal, whether the fast lane answered the repetition) per request; each goes to both applications twice, so that the token is known."""

    async def run():
        results = []
        async with (
            listening(settings_for(database, keys, **settings)) as fast,
            listening(settings_for(database, keys, fast_lane=False, **settings)) as normal,
        ):
            handed_on: list[str] = []
            front = fast.application._front

            async def count(scope, receive, send):
                handed_on.append(scope["path"])
                await front(scope, receive, send)

            fast.application._front = count
            for method, path, headers in requests:
                for _ in range(2):
                    handed_on.clear()
                    a = await fast.request(method, path, headers=headers)
                    b = await normal.request(method, path, headers=headers)
                results.append((a, b, not handed_on))
        return results

    return asyncio.run(run())


def seen(response):
    return (
        response.status_code,
        sorted((name, value) for name, value in response.headers.items() if name not in OF_THE_MOMENT),
        {name: value for name, value in response.json().items() if name != "requestId"} if response.content else None,
        response.headers.keys() >= {"x-request-id", "server-timing"},
    )


def test_every_declared_path_is_served_by_the_fast_lane_and_equals_the_route(built_template, keys) -> None:
    requests = [
        ("GET", f"{path}/{user}" + (f"?{query}" if query else ""), keys.header(user))
        for path, query, resource in reachable(FAST)
        if resource != PLAN  # which this database has none of; see below
        for user in ("lifter", "idle", "newcomer")
    ]
    assert len(requests) >= 21
    for fast, normal, was_fast in both(built_template, keys, requests):
        assert was_fast, fast.url
        assert fast.status_code == 200
        assert seen(fast) == seen(normal)


def test_whatever_is_special_gets_the_same_answer_from_both(built_template, keys) -> None:
    lifter, service = keys.header(), keys.header("dashboard", "service")
    path = "/api/v1/summary/lifter"
    requests = [
        ("HEAD", path, lifter),
        ("OPTIONS", path, lifter),
        ("POST", path, lifter),
        ("DELETE", path, lifter),
        ("PURGE", path, lifter),
        ("GET", path, {}),
        ("GET", path, {"Authorization": "Bearer nonsense"}),
        ("GET", path, {"Authorization": "Basic bGlmdGVy"}),
        ("GET", path, keys.header("lifter", "analyst")),
        ("GET", path, keys.header("beginner")),
        ("GET", path, keys.header("lifter", lifetime=-3600)),
        ("GET", path, service),
        ("GET", "/api/v1/summary/nobody", service),
        ("GET", "/api/v1/summary/", service),
        ("GET", "/api/v1/summary/m%C3%BCller%2F%C3%BC", service),
        ("GET", "/api/v1/summary/l%69fter", service),
        ("GET", "/api/v1/summary/auth0%7C42", service),
        ("GET", "/api/v1/summary/%00", service),
        ("GET", f"/api/v1/summary/{'x' * 128}", service),
        ("GET", f"/api/v1/summary/{'x' * 129}", service),
        ("GET", "/api/v1/summary/lifter/", service),
        ("GET", "/api/v1/summary//lifter", service),
        ("GET", path + "?range=31d", lifter),
        ("GET", path + "?range=7d&range=7d", lifter),
        ("GET", path + "?range=7d&unknown=1", lifter),
        ("GET", path + "?", lifter),
        ("GET", path, lifter | {"Origin": "https://evil.example"}),
        ("GET", path, lifter | {"Accept-Encoding": "gzip"}),
        ("GET", "/api/v1/records/lifter", lifter | {"Accept-Encoding": "br, gzip;q=0.5"}),
        ("GET", "/api/v1/records/lifter", lifter | {"Accept-Encoding": "gzip;q=0"}),
        ("GET", "/api/v1/records/lifter", lifter | {"Accept-Encoding": "identity"}),
        ("GET", "/api/v1/records/lifter?limit=3", lifter),
        ("GET", path, lifter | {"X-Request-Id": "mine-1"}),
        ("GET", path, lifter | {"Content-Length": "0"}),
        ("GET", path, lifter | {"If-None-Match": '"something"'}),
        ("GET", path, lifter | {"If-None-Match": "*"}),
        ("GET", path, lifter | {"If-Modified-Since": "Thu, 01 Jan 2099 00:00:00 GMT"}),
        ("GET", path, lifter | {"If-Modified-Since": "Thu, 01 Jan 1970 00:00:00 GMT"}),
        ("GET", path, lifter | {"If-Modified-Since": "yesterday"}),
        ("GET", path, lifter | {"X-Padding": "x" * 40000}),
        ("GET", path, lifter | {"Range": "bytes=0-9"}),
    ]
    answers = both(built_template, keys, requests)
    for (method, path, _), (fast, normal, _) in zip(requests, answers, strict=True):
        assert seen(fast) == seen(normal), (method, path)
        assert fast.status_code < 500, fast.text
        if fast.status_code >= 400 and method != "HEAD":
            assert fast.headers["content-type"] == "application/problem+json"
            assert set(fast.json()) >= {"type", "title", "status", "detail", "requestId"}


def test_conditional_requests_get_304_from_both_until_a_build_changes_the_answer(built, keys) -> None:
    async def run():
        async with listening(settings_for(built, keys)) as fast, listening(settings_for(built, keys, fast_lane=False)) as normal:
            header = keys.header()
            first = [await client.get("/api/v1/summary/lifter", headers=header) for client in (fast, normal, fast)]
            assert len({response.headers["etag"] for response in first}) == 1
            header["If-None-Match"] = first[0].headers["etag"]
            same = [await client.get("/api/v1/summary/lifter", headers=header) for client in (fast, normal)]
            weak = [
                await client.get("/api/v1/summary/lifter", headers=header | {"If-None-Match": '"x", W/' + header["If-None-Match"]})
                for client in (fast, normal)
            ]
            with built.connect() as connection:
                connection.execute("update marts.user_payloads set payload = replace(payload, '\"workouts\":', '\"workouts\":9')")
                connection.execute(
                    "insert into ops.builds (kind, as_of, finished_at, succeeded) values ('marts', %s, now() + '5s', true)",
                    [datetime.datetime(2025, 7, 2, tzinfo=datetime.UTC)],
                )
            await asyncio.sleep(1.2)
            return same, weak, [await client.get("/api/v1/summary/lifter", headers=header) for client in (fast, normal)], first[0]

    same, weak, changed, first = asyncio.run(run())
    for response in (*same, *weak):
        assert response.status_code == 304
        assert response.content == b""
        assert response.headers["etag"] == first.headers["etag"]
        assert response.headers["last-modified"] == first.headers["last-modified"]
        assert "content-length" not in response.headers
    for response in changed:
        assert response.status_code == 200
        assert response.json()["asOf"] == "2025-07-02T00:00:00Z"
        assert response.headers["etag"] != first.headers["etag"]
        assert response.headers["last-modified"] != first.headers["last-modified"]
        assert response.json()["workouts"] > first.json()["workouts"]


@pytest.mark.parametrize("fast_lane", [True, False])
def test_equal_etags_mean_equal_bytes(built_template, keys, fast_lane) -> None:
    """A strong ETag, per encoding: the compressed answer has another one than the plain answer."""

    async def run():
        async with listening(settings_for(built_template, keys, fast_lane=fast_lane)) as client:
            header = keys.header()
            return [
                await client.get("/api/v1/records/lifter", headers=header | {"Accept-Encoding": coding})
                for coding in ("gzip", "identity", "gzip", "gzip, br")
            ]

    compressed, plain, again, smaller = asyncio.run(run())
    assert compressed.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in plain.headers
    assert compressed.headers["etag"] == again.headers["etag"] != plain.headers["etag"]
    assert compressed.json() == plain.json()
    assert int(compressed.headers["content-length"]) < int(plain.headers["content-length"]) / 3
    assert all(response.headers["vary"] == "accept-encoding" for response in (compressed, plain, smaller))
    assert smaller.headers["content-encoding"] == "br"
    assert smaller.json() == plain.json()
    assert smaller.headers["etag"] not in (compressed.headers["etag"], plain.headers["etag"])
    assert int(smaller.headers["content-length"]) < 1.05 * int(compressed.headers["content-length"])


@pytest.mark.parametrize(
    ("accept_encoding", "coding"),
    [
        (b"", None),
        (b"identity", None),
        (b"gzip", b"gzip"),
        (b"br", b"br"),
        (b"gzip, deflate, br, zstd", b"br"),
        (b"gzip;q=1.0, br;q=0.5", b"gzip"),
        (b"br;q=0, gzip;q=0.1", b"gzip"),
        (b"BR;q=0.5, GZIP;Q=0.5", b"br"),
        (b"*", b"br"),
        (b"*;q=0.5, br;q=0", b"gzip"),
        (b"gzip;q=0, *", b"br"),
        (b"gzip;q=0", None),
        (b"gzip;q=much", None),
        (b"deflate, zstd", None),
    ],
)
def test_the_coding_is_what_the_client_weighs_most(accept_encoding, coding) -> None:
    assert coding_for(accept_encoding) == coding


@pytest.mark.parametrize("fast_lane", [True, False])
def test_an_erased_user_is_unknown_at_once_also_to_who_kept_the_answer(built, keys, fast_lane) -> None:
    async def run():
        async with listening(settings_for(built, keys, fast_lane=fast_lane)) as client:
            header = keys.header()
            first = [await client.get("/api/v1/summary/lifter", headers=header) for _ in range(2)][-1]
            header["If-None-Match"] = first.headers["etag"]
            same = await client.get("/api/v1/summary/lifter", headers=header)
            await asyncio.to_thread(forget, built.url, "lifter")
            await asyncio.sleep(0.05)
            remembered = [key for key in client.application.state.reader.memory._items if key[0] == "lifter"]
            return same, await client.get("/api/v1/summary/lifter", headers=header), remembered

    same, gone, remembered = asyncio.run(run())
    assert same.status_code == 304
    assert gone.status_code == 404
    assert gone.json()["type"] == "urn:mesocycle:problem:user-not-found"
    assert remembered == []


def test_a_plan_is_the_same_both_ways_until_a_newer_one_and_its_304_needs_no_plan_written_out(built, keys, monkeypatch) -> None:
    with built.connect() as connection:
        publish_catalogue(connection)
        user_keys = dict(connection.execute("select user_id, user_key from app.users").fetchall())

    def plan(as_of: datetime.datetime) -> None:
        with built.connect(autocommit=False) as connection:
            regenerate_for_users(connection, [user_keys["lifter"]], as_of=as_of)
            connection.commit()

    async def run():
        plan(AS_OF)
        async with listening(settings_for(built, keys)) as fast, listening(settings_for(built, keys, fast_lane=False)) as normal:
            memory = fast.application.state.reader.memory

            async def both(user: str = "lifter", **headers: str):
                return [await client.get(f"/api/v1/plans/{user}", headers=keys.header(user) | headers) for client in (fast, normal)]

            none = await both("idle")
            first = await both()
            asked: list[str] = []
            front = fast.application._front

            async def note(scope, receive, send):
                asked.append(scope["path"])
                await front(scope, receive, send)

            fast.application._front = note
            header = keys.header()
            again = [await fast.get("/api/v1/plans/lifter", headers=header) for _ in range(2)]
            asked_for_a_known_token = asked[1:]  # the first is a new token
            for key in list(memory._items):
                memory.forget(key)
            monkeypatch.setattr("api.routes.plans.render", None)
            same = await both(**{"If-None-Match": first[0].headers["etag"]})
            same.append(await fast.get("/api/v1/plans/lifter", headers=header | {"If-None-Match": first[0].headers["etag"]}))
            monkeypatch.undo()
            await asyncio.to_thread(plan, AS_OF + datetime.timedelta(days=7))
            return none, first, again, asked_for_a_known_token, same, await both(**{"If-None-Match": first[0].headers["etag"]})

    none, first, again, asked, same, newer = asyncio.run(run())
    assert seen(none[0]) == seen(none[1])
    assert none[0].json()["type"] == "urn:mesocycle:problem:plan-not-found"
    assert seen(first[0]) == seen(first[1]) == seen(again[0]) == seen(again[1])
    assert first[0].json()["weeks"]
    assert asked == []
    for response in same:
        assert response.status_code == 304
        assert response.headers["etag"] == first[0].headers["etag"]
        assert response.headers["last-modified"] == first[0].headers["last-modified"]
    assert seen(newer[0]) == seen(newer[1])
    assert newer[0].status_code == 200
    assert newer[0].json()["planId"] != first[0].json()["planId"]


def test_requests_that_come_in_one_piece_are_answered_in_their_order(built_template, keys) -> None:
    """Pipelined, mixed: the fast lane, a route, a token that was never seen, an unknown user, and a last one that closes."""

    async def run():
        async with listening(settings_for(built_template, keys)) as client:
            token = keys.header("backend", "service")["Authorization"]
            stranger = keys.header("stranger")["Authorization"]
            await client.get("/api/v1/summary/lifter", headers={"Authorization": token})
            wanted = [
                ("/api/v1/summary/lifter?range=7d", token, ""),
                ("/api/v1/summary/nobody?range=7d", token, ""),
                ("/healthz", token, ""),
                ("/api/v1/summary/beginner?range=90d", token, ""),
                ("/api/v1/summary/lifter?range=90d", stranger, ""),
                ("/api/v1/summary/idle?range=all", token, "Connection: close\r\n"),
            ]
            text = "".join(f"GET {path} HTTP/1.1\r\nHost: api\r\nAuthorization: {one}\r\n{more}\r\n" for path, one, more in wanted)
            reader, writer = await asyncio.open_connection("127.0.0.1", client.base_url.port)
            writer.write(text.encode())
            received = await asyncio.wait_for(reader.read(), 10)
            writer.close()
            return received

    received = asyncio.run(run())
    parts = received.split(b"HTTP/1.1 ")[1:]
    assert [int(part[:3]) for part in parts] == [200, 404, 200, 200, 403, 200]
    assert b'"userId":"lifter"' in parts[0]
    assert b'"range":"7d"' in parts[0]
    assert b'"userId":"beginner"' in parts[3]
    assert b'"userId":"idle"' in parts[5]
    assert b"\r\nconnection: close\r\n" in parts[5]


def test_a_server_that_is_told_to_end_lets_the_answers_of_the_fast_lane_out_first(built, keys) -> None:
    async def run():
        async with listening(settings_for(built, keys)) as client:
            token = keys.header("backend", "service")["Authorization"]
            await client.get("/api/v1/summary/lifter", headers={"Authorization": token})
            with built.connect() as connection, connection.transaction():
                connection.execute("lock table marts.user_payloads in access exclusive mode")
                reader, writer = await asyncio.open_connection("127.0.0.1", client.base_url.port)
                writer.write(f"GET /api/v1/summary/lifter HTTP/1.1\r\nHost: api\r\nAuthorization: {token}\r\n\r\n".encode())
                await asyncio.sleep(0.2)
                client.server.should_exit = True
                await asyncio.sleep(0.3)
            received = await asyncio.wait_for(reader.read(), 10)
            writer.close()
            return received

    received = asyncio.run(run())
    assert received.startswith(b"HTTP/1.1 200 OK")
    assert b"\r\nconnection: close\r\n" in received
    assert received.endswith(b"}")


def test_an_idle_connection_is_closed_after_its_time_and_a_used_one_is_not(built_template, keys) -> None:
    async def run():
        async with listening(settings_for(built_template, keys)) as client:
            client.server.config.timeout_keep_alive = 1
            request = (
                f"GET /api/v1/summary/lifter HTTP/1.1\r\nHost: api\r\nAuthorization: {keys.header()['Authorization']}\r\n\r\n".encode()
            )
            begun = asyncio.get_running_loop().time()
            (idle, one), (busy, other) = [await asyncio.open_connection("127.0.0.1", client.base_url.port) for _ in range(2)]
            one.write(request)
            closed = asyncio.create_task(idle.read())
            answers = b""
            for _ in range(7):
                other.write(request)
                answers += await busy.readuntil(b"}}")
                await asyncio.sleep(0.5)
            took = asyncio.get_running_loop().time() - begun
            is_closed = closed.done()
            one.close()
            other.close()
            return is_closed, took, answers, await closed

    is_closed, took, answers, only = asyncio.run(run())
    assert is_closed
    assert took > 3
    assert answers.count(b"HTTP/1.1 200 OK") == 7
    assert only.count(b"HTTP/1.1 200 OK") == 1


def test_a_defect_in_one_answer_leaves_the_others_of_its_query_alone(built_template, keys, monkeypatch) -> None:
    def breaks_for_one(user_id, *arguments):
        if user_id == "beginner":
            raise RuntimeError("a defect")
        return represent(user_id, *arguments)

    async def run():
        async with listening(settings_for(built_template, keys)) as client:
            header = keys.header("backend", "service")
            await client.get("/api/v1/summary/lifter", headers=header)
            monkeypatch.setattr("api.payloads.represent", breaks_for_one)
            users = ("lifter", "beginner", "idle", "beginner", "lifter")
            return await asyncio.gather(*[client.get(f"/api/v1/summary/{user}", headers=header) for user in users])

    answers = asyncio.run(asyncio.wait_for(run(), 20))
    assert [answer.status_code for answer in answers] == [200, 503, 200, 503, 200]


def test_connections_share_what_waits_so_that_none_has_it_all(built_template, keys, monkeypatch) -> None:
    sizes: list[int] = []

    async def run(count: int):
        reader = PayloadReader(settings_for(built_template, keys, reader_connections=2, pulse_seconds=60))
        ask = reader._ask

        async def note(connection, statement, batch):
            sizes.append(len(batch))
            await ask(connection, statement, batch)

        monkeypatch.setattr(reader, "_ask", note)
        await reader.start()
        while reader._connected < 2:
            await asyncio.sleep(0.01)
        answers = await asyncio.gather(*[reader.read("lifter", "summary/7d") for _ in range(count)])
        await reader.close()
        return answers

    for count, shares in ((1, [1]), (8, [8]), (9, [8, 1]), (40, [20, 20])):
        sizes.clear()
        answers = asyncio.run(run(count))
        assert len({answer.body for answer in answers}) == 1
        assert sizes == shares


ODD_HEADERS = [
    "Range: bytes=0-10",
    "If-Modified-Since: Sat, 01 Jan 2050 00:00:00 GMT",
    "If-Modified-Since: Sun, 06 Nov 99999999999 08:49:37 GMT",
    "If-Modified-Since: ",
    'If-Match: "x"',
    "If-None-Match: *",
    "If-None-Match: ",
    "If-None-Match: W/",
    'If-None-Match: "a", "b", *',
    'If-None-Match: "a"\r\nIf-None-Match: *',
    "If-None-Match: \xff",
    "Accept: text/html",
    "Accept-Encoding: gzip;q=,br;q=nan",
    "Accept-Encoding: identity;q=0",
    "Expect: 100-continue",
    "Expect: banana",
    "Content-Length: 0",
    "Content-Length: 3\r\nX: y\r\n\r\nabc",
    "Content-Length: 5, 5",
    "Transfer-Encoding: chunked\r\n\r\n0\r\n",
    "Transfer-Encoding: gzip",
    "Upgrade: websocket\r\nConnection: Upgrade",
    "Connection: keep-alive, close",
    "Origin: null",
    "X-Request-Id: a b",
    "X-Request-Id: \xe9",
    "X-HTTP-Method-Override: DELETE",
    "Host: another",
    " : x",
    "A b: c",
    "X: a\x00b",
    *("".join(f"H{number}: x\r\n" for number in range(count)) + "Z: z" for count in (60, 62, 101)),
]
ODD_TARGETS = [
    "http://api/api/v1/summary/lifter",
    "//api/api/v1/summary/lifter",
    "/api/v1/summary/lifter#part",
    "/api/v1/summary/lifter/",
    "/api/v1/summary//lifter",
    "/api/v1/./summary/lifter",
    "/api/%761/summary/lifter",
    "/api/v1/summary/%6cifter",
    "/api/v1/summary/lifter?",
    "/api/v1/summary/lifter?range=%33%30d",
    "/api/v1/summary/lifter?range=30d&",
    "/api/v1/summary/lifter?range=30d&range=30d",
    "/api/v1/summary/lifter?Range=30d",
    "/api/v1/summary/lifter;x=1",
    "/api/v1/summary/%c0%af",
    "/api/v1/summary/%ed%a0%80",
    "/api/v1/summary/%",
    "/api/v1/summary/",
    "*",
]


def test_odd_heads_get_the_same_bytes_from_both(built_template, keys) -> None:
    token = keys.header("lifter")["Authorization"]
    plain = f"Host: api\r\nAuthorization: {token}\r\n"
    heads = {header: f"GET /api/v1/summary/lifter HTTP/1.1\r\n{plain}{header}\r\n\r\n" for header in ODD_HEADERS}
    heads |= {target: f"GET {target} HTTP/1.1\r\n{plain}\r\n" for target in ODD_TARGETS}
    heads |= {version: f"GET /api/v1/summary/lifter HTTP/{version}\r\n{plain}\r\n" for version in ("0.9", "1.0", "1.2", "2.0")}
    heads |= {method: f"{method} /api/v1/summary/lifter HTTP/1.1\r\n{plain}\r\n" for method in ("HEAD", "OPTIONS", "TRACE", "get", "G")}
    of_the_moment = re.compile(rb'(?im)^(?:x-request-id|server-timing|date|content-length):[^\r\n]*\r\n|"requestId":"[^"]*"')

    async def answer(port: int, request: str) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request.encode("latin-1"))
        last = b"GET /healthz HTTP/1.1\r\nHost: api\r\nConnection: close\r\n\r\n"
        with contextlib.suppress(ConnectionError):
            await asyncio.sleep(0.02)
            writer.write(last)
            received = await asyncio.wait_for(reader.read(), 10)
            writer.close()
            return received
        return b"reset"

    async def run():
        async with (
            listening(settings_for(built_template, keys)) as fast,
            listening(settings_for(built_template, keys, fast_lane=False)) as normal,
        ):
            ports = [client.base_url.port for client in (fast, normal)]
            for port in ports:
                await answer(port, heads["/api/v1/summary/lifter?"])  # the token is known from here on
            return {name: [await answer(port, request) for port in ports] for name, request in heads.items()}

    for name, (a, b) in asyncio.run(run()).items():
        assert sorted(of_the_moment.sub(b"", a).splitlines()) == sorted(of_the_moment.sub(b"", b).splitlines()), name
        assert b"HTTP/1.1 5" not in a, name
