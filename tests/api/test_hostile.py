"""Hostile input against the running server: it answers with a problem or hangs up, never with 500, and keeps its memory."""

import datetime
import json
import re
import socket
import struct
import time
import uuid
from email.utils import parsedate_to_datetime

import httpx
import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.api.conftest import Keys
from tests.api.running import Server, serving_process
from tests.conftest import Role

SUMMARY = b"/api/v1/summary/lifter"


@pytest.fixture(scope="module")
def server(built_template, keys):
    with serving_process(built_template.urls[Role.API], keys.jwks, body_seconds=2, writes_per_minute=100000) as running:
        yield running
        assert running.process.poll() is None, running.log
        assert "Traceback" not in running.log, running.log
        assert " 500 " not in running.log


@pytest.fixture(scope="module")
def client(server: Server):
    with httpx.Client(base_url=server.url, timeout=30) as made:
        yield made


def head(line: bytes, keys: Keys | None = None, *headers: bytes, host: bool = True) -> bytes:
    lines = [line, *([b"Host: api"] if host else []), *headers]
    if keys:
        lines.append(b"Authorization: Bearer " + keys.token().encode())
    return b"\r\n".join(lines) + b"\r\n\r\n"


def status_of(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/") else 0


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/api/v1/summary/%00", {422}),
        ("/api/v1/summary/a%00b", {422}),
        ("/api/v1/summary/%ED%A0%80", {404, 422}),
        ("/api/v1/summary/%FF%FE", {404, 422}),
        ("/api/v1/summary/%0A", {422}),
        ("/api/v1/summary/%7F", {422}),
        ("/api/v1/summary/%C2%85", {422}),
        ("/api/v1/summary/%2F", {404}),
        ("/api/v1/summary/..%2F..%2Fetc%2Fpasswd", {404}),
        ("/api/v1/summary/'%20or%201=1--", {404}),
        ("/api/v1/summary/" + "x" * 129, {422}),
        ("/api/v1/summary/" + "%F0%9F%92%AA" * 128, {404}),
        ("/api/v1/summary/" + "x" * 20000, {422}),
        ("/api/v1/summary/lifter?range=" + "x" * 20000, {422}),
        ("/api/v1/summary/lifter?range=7d%00", {422}),
        ("/api/v1/summary/lifter?range=7d&range=7d", {422}),
        ("/api/v1/summary/lifter?from=0000-01-01", {422}),
        ("/api/v1/summary/lifter?from=0001-01-01", {200}),
        ("/api/v1/summary/lifter?from=9999-12-31&to=9999-12-31", {200}),
        ("/api/v1/summary/lifter?from=99999-01-01", {422}),
        ("/api/v1/summary/lifter?from=1e400", {422}),
        ("/api/v1/summary/lifter?from=NaN", {422}),
        ("/api/v1/summary/lifter?from=Infinity", {422}),
        ("/api/v1/summary/lifter?from=-1", {200, 422}),
        ("/api/v1/records/lifter?limit=99999999999999999999999", {422}),
        ("/api/v1/records/lifter?limit=-1", {422}),
        ("/api/v1/records/lifter?limit=1e3", {422}),
        ("/api/v1/records/lifter?limit=1&cursor=%00", {409, 422}),
        ("/api/v1/records/lifter?limit=1&cursor=" + "x" * 2000, {422}),
        ("/api/v1/plans/status/%00", {422}),
        ("/api/v1/plans/status/" + "f" * 10000, {422}),
        ("/%00", {404}),
        ("/", {404}),
        ("//", {404}),
    ],
)
def test_no_hostile_path_or_parameter_makes_a_500(client, keys, path, allowed) -> None:
    response = client.get(path, headers=keys.header("backend", "service"))
    assert response.status_code in allowed, response.text
    if response.status_code >= 400:
        assert response.headers["content-type"] == "application/problem+json"


BODIES = {
    "NUL in a value": b'{"userId": "a\\u0000b"}',
    "NUL byte": b'{"userId": "a\x00b"}',
    "NUL in a reason": b'{"userId": "lifter", "reason": "a\\u0000"}',
    "lone surrogate": b'{"userId": "\\ud800"}',
    "lone surrogate in a key": b'{"\\udfff": 1, "userId": "lifter"}',
    "invalid UTF-8": b'{"userId": "\xff"}',
    "UTF-16": '{"userId": "lifter"}'.encode("utf-16"),
    "BOM": b'\xef\xbb\xbf{"userId": "lifter"}',
    "NaN": b'{"userId": NaN}',
    "Infinity": b'{"userId": Infinity}',
    "1e400": b'{"userId": 1e400}',
    "huge integer": b'{"userId": ' + b"9" * 5000 + b"}",
    "900 deep": b"[" * 900 + b"]" * 900,
    "100,000 deep": b"[" * 100_000 + b"]" * 100_000,
    "deep objects": b'{"a":' * 900 + b"1" + b"}" * 900,
    "never closed": b"[" * 5000,
    "brackets in a string": json.dumps({"userId": "[{" * 60}).encode(),
    "1 MB id": json.dumps({"userId": "x" * 1_000_000}).encode(),
    "a list": b"[]",
    "null": b"null",
    "a number": b"42",
    "empty": b"",
    "blank": b"   ",
    "truncated": b'{"userId": "lift',
    "unknown member": b'{"userId": "lifter", "isAdmin": true}',
    "wrong type": b'{"userId": ["lifter"]}',
    "another user": b'{"userId": "beginner"}',
}


@pytest.mark.parametrize("name", BODIES)
@pytest.mark.parametrize("path", ["/api/v1/plans/generate", "/generate", "/api/v1/onboarding/step", "/api/v1/onboarding/error"])
def test_no_hostile_body_is_taken_or_makes_a_500(client, keys, path, name) -> None:
    headers = keys.header() | {"Content-Type": "application/json"}
    response = client.post(path, content=BODIES[name], headers=headers)
    # A batch of onboarding events is taken item by item, so it may be accepted with every item refused.
    assert response.status_code in ({400, 403, 404, 413, 422} | ({200, 202, 207} if "onboarding" in path else set())), response.text
    if response.status_code >= 400:
        assert response.headers["content-type"] == "application/problem+json"
        assert response.json()["requestId"]


@pytest.mark.parametrize("kind", ["text/plain", "multipart/form-data; boundary=x", "application/xml", "application/octet-stream", "x"])
def test_bodies_that_are_not_json_are_refused(client, keys, kind) -> None:
    response = client.post("/api/v1/plans/generate", content=b'{"userId": "lifter"}', headers=keys.header() | {"Content-Type": kind})
    assert response.status_code == 415
    assert response.json()["type"] == "urn:mesocycle:problem:unsupported-media-type"


def test_what_curl_sends_without_a_content_type_is_read_as_json(client, keys) -> None:
    for headers in ({"Content-Type": "application/x-www-form-urlencoded"}, {}):
        response = client.post("/generate", content=b'{"userId": "lifter"}', headers=keys.header() | headers)
        assert response.status_code == 202, response.text


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    user=st.text(min_size=1, max_size=40), query=st.text(max_size=60), method=st.sampled_from(["GET", "HEAD", "POST", "DELETE", "OPTIONS"])
)
def test_no_path_and_no_query_makes_a_500(client, keys, user, query, method) -> None:
    from urllib.parse import quote

    path = (
        "/api/v1/summary/"
        + quote(user.encode("utf-8", "surrogatepass"), safe="")
        + "?"
        + quote(query.encode("utf-8", "surrogatepass"), safe="=&")
    )
    response = client.request(method, path, headers=keys.header("backend", "service"))
    assert response.status_code in {200, 204, 400, 404, 405, 409, 422}, response.text
    if response.status_code in (200, 404) and method == "GET" and response.status_code == 200:
        assert response.json()["userId"] == user


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    value=st.recursive(
        st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(st.sampled_from(["userId", "reason", "events", "eventId", "step", "x"]), inner, max_size=4)
        ),
        max_leaves=8,
    ),
    path=st.sampled_from(["/api/v1/plans/generate", "/api/v1/onboarding/step"]),
)
def test_no_json_makes_a_500(client, keys, value, path) -> None:
    body = json.dumps(value).encode()
    response = client.post(path, content=body, headers=keys.header("backend", "service") | {"Content-Type": "application/json"})
    assert response.status_code < 500, (body, response.text)


def test_a_200_mb_body_is_refused_without_being_kept(server, keys) -> None:
    before = server.memory
    for headers in ((b"Content-Length: 209715200",), (b"Transfer-Encoding: chunked",)):
        request = head(b"POST /api/v1/plans/generate HTTP/1.1", keys, b"Content-Type: application/json", *headers)
        with server.connect() as client:
            client.sendall(request)
            block = b"x" * 65536 if headers[0].startswith(b"Content") else b"10000\r\n" + b"x" * 65536 + b"\r\n"
            client.settimeout(0.001)
            answer, sent = b"", 0
            while sent < 200 * 2**20 and not answer:
                try:
                    sent += client.send(block)
                    answer = client.recv(65536)
                except (TimeoutError, BlockingIOError):
                    pass
                except ConnectionError:
                    break
            assert status_of(answer) == 413, answer[:200]
            assert sent < 50 * 2**20
    assert server.memory - before < 30 * 2**20


def test_1_mb_of_headers_is_refused_without_being_kept(server, keys) -> None:
    before = server.memory
    one = b"GET " + SUMMARY + b" HTTP/1.1\r\nHost: api\r\nX: " + b"x" * 2**20 + b"\r\n\r\n"
    many = b"GET " + SUMMARY + b" HTTP/1.1\r\nHost: api\r\n" + b"".join(b"X-%d: y\r\n" % n for n in range(80_000)) + b"\r\n"
    path = b"GET /" + b"x" * 2**20 + b" HTTP/1.1\r\nHost: api\r\n\r\n"
    for request in (one, many, path):
        assert status_of(server.raw(request)) in (431, 0)
    assert status_of(server.raw(head(b"GET " + SUMMARY + b" HTTP/1.1", keys, b"X: " + b"x" * 40_000))) == 431
    assert server.memory - before < 30 * 2**20


def test_thousands_of_parameters_cost_next_to_nothing(server, keys) -> None:
    request = head(b"GET /healthz?" + b"&".join(b"%x" % number for number in range(0x1000, 0x1000 + 6000)) + b" HTTP/1.1")
    times = psutil.Process(server.process.pid).cpu_times
    before = times().user
    for _ in range(5):  # nobody needs a token to send them
        assert status_of(server.raw(request)) == 200
    assert times().user - before < 1.0


def test_requests_that_are_not_http_get_a_problem(server, keys) -> None:
    for request in (b"\x16\x03\x01\x02\x00\x01\x00", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"G\x00T / HTTP/1.1\r\n\r\n"):
        assert status_of(server.raw(request, until_closed=True)) in (400, 0)
    assert status_of(server.raw(head(b"GET /\xff HTTP/1.1", keys))) in (400, 404)
    assert status_of(server.raw(head(b"GET * HTTP/1.1", keys))) in (400, 404)
    assert status_of(server.raw(head(b"OPTIONS * HTTP/1.1", keys))) in (204, 400, 404)
    assert status_of(server.raw(head(b"CONNECT api:80 HTTP/1.1", keys))) in (400, 404, 405)
    smuggled = head(b"POST /generate HTTP/1.1", keys, b"Content-Length: 5", b"Transfer-Encoding: chunked") + b"0\r\n\r\n"
    assert status_of(server.raw(smuggled)) == 400


def test_a_request_without_a_host_or_with_two_is_malformed(server, keys) -> None:
    for request in (
        head(b"GET " + SUMMARY + b" HTTP/1.1", keys, host=False),
        head(b"GET " + SUMMARY + b" HTTP/1.1", keys, b"Host: other"),
        head(b"GET " + SUMMARY + b" HTTP/1.1", keys, b"Authorization: Bearer x"),
    ):
        answer = server.raw(request)
        assert status_of(answer) == 400
        assert b"urn:mesocycle:problem:bad-request" in answer
    assert status_of(server.raw(head(b"GET " + SUMMARY + b" HTTP/1.0", keys, host=False))) == 200


def test_half_a_request_and_silence_loses_its_connection(server, keys) -> None:
    clients = [server.connect() for _ in range(4)]
    clients[0].sendall(b"GET " + SUMMARY + b" HTTP/1.1\r\nHo")
    clients[2].sendall(head(b"POST /generate HTTP/1.1", keys, b"Content-Type: application/json", b"Content-Length: 100") + b'{"user')
    clients[3].sendall(head(b"GET " + SUMMARY + b" HTTP/1.1", keys))
    assert status_of(clients[3].recv(65536)) == 200
    clients[3].sendall(b"GET /")  # and the second request never ends
    start = time.monotonic()
    for number, client in enumerate(clients):
        client.settimeout(20)
        answer = client.recv(65536)
        while more := client.recv(65536) if answer else b"":
            answer += more
        assert status_of(answer) == (408 if number == 2 else 0), (number, answer)
        client.close()
    assert time.monotonic() - start < 16


def test_a_drip_of_bytes_does_not_hold_a_connection(server, keys) -> None:
    request = head(b"POST /generate HTTP/1.1", keys, b"Content-Type: application/json", b"Content-Length: 1000")
    with server.connect() as client:
        client.sendall(request)
        start = time.monotonic()
        client.settimeout(0.05)
        answer = b""
        while time.monotonic() - start < 15 and not answer:
            try:
                client.sendall(b" ")
                answer = client.recv(65536)
            except TimeoutError:
                time.sleep(0.1)
        assert status_of(answer) == 408
        assert time.monotonic() - start < 5


def test_pipelined_requests_are_answered_in_order(server, keys) -> None:
    first = head(b"GET /api/v1/summary/lifter?range=7d HTTP/1.1", keys)
    second = head(b"GET /healthz HTTP/1.1", None, b"Connection: close")
    answer = server.raw(first + first + second, until_closed=True)
    assert answer.count(b"HTTP/1.1 200") == 3
    assert answer.index(b'"range":"7d"') < answer.rindex(b'{"status":"ok"}')


@pytest.mark.parametrize("path", [SUMMARY, b"/api/v1/plans/lifter", SUMMARY + b"?from=2025-01-01"])
def test_a_request_is_answered_also_when_nonsense_follows_it(server, keys, path) -> None:
    request = head(b"GET " + path + b" HTTP/1.1", keys)
    expected = status_of(server.raw(request))
    for nonsense in (b"\x00\xff\r\n\r\n", b"abcde\r\n\r\n"):
        answer = server.raw(request + nonsense, until_closed=True)
        assert status_of(answer) == expected, answer
        assert answer.count(b"HTTP/1.1 ") == 1
        assert answer.endswith(b"}")


def test_a_body_that_breaks_off_into_nonsense_is_malformed(server, keys) -> None:
    request = head(b"POST /generate HTTP/1.1", keys, b"Content-Type: application/json", b"Transfer-Encoding: chunked")
    for body in (b"zz\r\n{}\r\n", b"2\r\n{}zz\r\n", b"ffffffffffffffffff\r\n{}"):
        answer = server.raw(request + body, until_closed=True)
        assert status_of(answer) == 400
        assert answer.count(b"HTTP/1.1 4") == 1


def test_a_client_that_leaves_its_pipeline_is_not_written_to(server, keys) -> None:
    """What is logged is looked at when the server ends."""
    slow = head(b"GET " + SUMMARY + b"?from=0001-01-01 HTTP/1.1", keys)
    for count in (1, 2, 20):
        for pause in (0, 0.001, 0.01):
            with server.connect() as client:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                client.sendall(slow * count)
                time.sleep(pause)
    assert status_of(server.raw(slow)) == 200


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "TRACE", "PROPFIND", "QUERY"])
def test_every_path_answers_every_method_with_what_it_is_or_405(client, keys, method) -> None:
    for path, operations in client.get("/api/v1/openapi.json").json()["paths"].items():
        response = client.request(method, re.sub(r"{[^}]*}", "lifter", path), headers=keys.header("backend", "service", "analyst"))
        documented = {operation.upper() for operation in operations}
        if path == "/api/v1/plans/generate":
            documented.add("GET")  # also a user's id
        documented |= {"OPTIONS"} | ({"HEAD"} if "GET" in documented else set())
        assert (response.status_code == 405) == (method not in documented), (path, response.text)
        if response.status_code == 405:
            assert set(response.headers["allow"].split(", ")) == documented
        if method in ("HEAD", "OPTIONS"):
            assert response.content == b""


def test_no_token_is_in_the_log(server, client, keys) -> None:
    token = keys.token("nobody")
    client.get("/api/v1/summary/lifter", headers={"Authorization": f"Bearer {token}"})
    client.get("/api/v1/summary/lifter", params={"token": token})
    client.post("/generate", content=b"{", headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"})
    assert token not in server.log
    assert token.split(".")[2] not in server.log
    assert "test-api" not in server.log  # the role's password


def test_cross_origin_calls_are_closed_by_default_and_open_for_those_who_are_named(server, client, built_template, keys) -> None:
    preflight = {"Origin": "https://app.example", "Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "authorization"}
    closed = client.options("/api/v1/summary/lifter", headers=preflight)
    assert not [name for name in closed.headers if name.startswith("access-control")]
    with (
        serving_process(built_template.urls[Role.API], keys.jwks, cors_origins="https://app.example") as other,
        httpx.Client(base_url=other.url) as named,
    ):
        opened = named.options("/api/v1/summary/lifter", headers=preflight)
        assert opened.status_code == 200
        assert opened.headers["access-control-allow-origin"] == "https://app.example"
        answer = named.get("/api/v1/summary/lifter", headers=keys.header() | {"Origin": "https://app.example"})
        assert answer.headers["access-control-allow-origin"] == "https://app.example"
        assert "etag" in answer.headers["access-control-expose-headers"].lower()
        evil = named.get("/api/v1/summary/lifter", headers=keys.header() | {"Origin": "https://evil.example"})
        assert "access-control-allow-origin" not in evil.headers


def test_older_paths_name_their_successor(client, keys) -> None:
    older = client.post("/generate", json={"userId": "lifter"}, headers=keys.header())
    since = datetime.datetime.fromtimestamp(int(older.headers["deprecation"].removeprefix("@")), datetime.UTC)
    until = parsedate_to_datetime(older.headers["sunset"])
    assert until - since > datetime.timedelta(days=180)
    assert older.headers["link"] == '</api/v1/plans/generate>; rel="successor-version"'
    assert "deprecation" not in client.post("/api/v1/plans/generate", json={"userId": "lifter"}, headers=keys.header()).headers
    assert client.get("/").status_code == client.get("//").status_code == 404


def test_whatever_the_document_calls_deprecated_says_so_in_each_answer(client, keys) -> None:
    document = client.get("/api/v1/openapi.json", headers=keys.header()).json()
    seen = 0
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            answer = client.request(method.upper(), path.replace("{jobId}", str(uuid.uuid4())).replace("{userId}", "lifter"))
            says_so = {"deprecation", "sunset", "link"} <= answer.headers.keys()
            assert says_so == operation.get("deprecated", False), (method, path)
            seen += says_so
    assert seen >= 2


def test_head_is_a_get_without_its_body_and_options_names_the_methods(client, keys) -> None:
    get, same = (client.request(method, "/api/v1/summary/lifter", headers=keys.header()) for method in ("GET", "HEAD"))
    assert same.status_code == 200
    assert same.content == b""
    for name in ("etag", "last-modified", "content-length", "content-type", "cache-control"):
        assert same.headers[name] == get.headers[name]
    options = client.options("/api/v1/summary/lifter")
    assert options.status_code == 204
    assert options.headers["allow"] == "GET, HEAD, OPTIONS"
    assert client.options("/generate").headers["allow"] == "POST, OPTIONS"
    for method in ("POST", "PUT", "DELETE", "PATCH", "TRACE"):
        refused = client.request(method, "/api/v1/summary/lifter", headers=keys.header())
        assert refused.status_code == 405
        assert refused.headers["allow"] == "GET, HEAD, OPTIONS", method
