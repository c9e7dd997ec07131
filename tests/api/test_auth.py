"""Who may: every route with every wrong token, every kind of key, rotation, revocation, and what the database role may."""

import asyncio
import base64
import http.server
import json
import re
import threading
import time

import httpx
import jwt
import psycopg
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from api.app import ROUTERS, create_app
from api.auth import parse_keys
from api.settings import Settings, SettingsInvalid, load_settings
from api.tokens import generate_key_pair, issue_token, public_key_set
from database.connection import Role
from tests.api.conftest import Keys, listening, serving, settings_for

PUBLIC = {"/healthz", "/readyz", "/metrics"}
SECRET = "a-shared-secret-of-more-than-32-bytes"


def pem(key) -> str:
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()).decode()


def public_pem(private: str) -> str:
    key = serialization.load_pem_private_key(private.encode(), None).public_key()
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()


def asked(settings: Settings, *authorizations: str | None, path: str = "/api/v1/summary/lifter") -> list[httpx.Response]:
    async def run():
        async with listening(settings) as client:
            return [await client.get(path, headers={"Authorization": a} if a is not None else {}) for a in authorizations]

    return asyncio.run(run())


def encoded(part: dict) -> str:
    return base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")


def wrong_tokens(keys: Keys) -> dict[str, str | None]:
    """Authorization headers that no route may accept."""
    stranger, _ = generate_key_pair()
    good = keys.token()
    head, body, signature = good.split(".")
    header, claims = jwt.get_unverified_header(good), jwt.decode(good, options={"verify_signature": False})
    public = public_pem(keys.private)
    return {
        "none at all": None,
        "empty": "",
        "no scheme": good,
        "basic": "Basic " + base64.b64encode(b"lifter:secret").decode(),
        "bearer without a token": "Bearer ",
        "nonsense": "Bearer nonsense",
        "expired": "Bearer " + keys.token(lifetime=-3600),
        "not yet valid": "Bearer " + keys.token(nbf=int(time.time()) + 3600),
        "another audience": "Bearer " + keys.token(aud="somebody-else"),
        "another issuer": "Bearer " + keys.token(iss="evil"),
        "no expiry": "Bearer " + jwt.encode({**claims, "exp": None}, keys.private, "ES256", {"kid": header["kid"]}),
        "subject is a number": "Bearer " + keys.token(sub=42),
        "alg none": f"Bearer {encoded({'alg': 'none', 'kid': header['kid']})}.{body}.",
        "alg none with a signature": f"Bearer {encoded({'alg': 'none', 'kid': header['kid']})}.{body}.{signature}",
        "public key as HMAC secret": "Bearer " + hmac_signed({"alg": "HS256", "kid": header["kid"]}, claims, public.encode()),
        "unknown key": "Bearer " + issue_token(stranger, "lifter"),
        "stranger's key under our key's id": "Bearer " + jwt.encode(claims, stranger, "ES256", {"kid": header["kid"]}),
        "tampered subject": f"Bearer {head}.{encoded({**claims, 'sub': 'beginner', 'scope': 'service'})}.{signature}",
        "tampered signature": f"Bearer {head}.{body}.{signature[:-8]}AAAAAAAA",
        "critical extension": "Bearer " + jwt.encode(claims, keys.private, "ES256", {"kid": header["kid"], "crit": ["exp"]}),
        "key id is a list": "Bearer " + ".".join((encoded({**header, "kid": ["x"]}), body, signature)),
        "key by address": "Bearer " + jwt.encode(claims, stranger, "ES256", {"kid": "x", "jku": "http://127.0.0.1:9/jwks.json"}),
        "too long": "Bearer " + "x" * 9000,
        "deep header": "Bearer " + base64.urlsafe_b64encode(b"[" * 3000).decode() + f".{body}.{signature}",
        "not ASCII": "Bearer ü.ü.ü",
    }


def hmac_signed(header: dict, claims: dict, secret: bytes) -> str:
    import hashlib
    import hmac

    signed = f"{encoded(header)}.{encoded(claims)}"
    digest = hmac.new(secret, signed.encode(), hashlib.sha256).digest()
    return signed + "." + base64.urlsafe_b64encode(digest).decode().rstrip("=")


def test_every_route_refuses_every_wrong_token(built_template, keys) -> None:
    routes = [(route.path, method) for router in ROUTERS for route in router.routes for method in sorted(route.methods)]
    assert len(routes) >= 10
    bodies = {"userId": "lifter"}

    async def run():
        async with serving(settings_for(built_template, keys)) as client:
            for template, method in routes:
                path = re.sub(r"\{userId\}", "lifter", re.sub(r"\{jobId\}", "0198c5a2-7f3e-7d11-9a55-3c1f0a5c7e42", template))
                if template in PUBLIC:
                    assert (await client.request(method, path)).status_code == 200, path
                    continue
                for name, authorization in wrong_tokens(keys).items():
                    headers = {"Authorization": authorization.encode()} if authorization is not None else {}
                    response = await client.request(method, path, headers=headers, json=bodies if method == "POST" else None)
                    assert response.status_code == 401, (method, path, name, response.text)
                    assert response.json()["type"] == "urn:mesocycle:problem:unauthenticated"
                    assert response.headers["www-authenticate"].startswith("Bearer")

    asyncio.run(run())


def test_every_route_refuses_another_users_token_and_a_token_without_its_scope(built_template, keys) -> None:
    """Whether or not the other user exists: the answer is the same."""

    async def run():
        async with listening(settings_for(built_template, keys)) as client:
            for template, path_method in [(r.path, m) for router in ROUTERS for r in router.routes for m in sorted(r.methods)]:
                if template in PUBLIC or "{jobId}" in template or template.endswith(("/step", "/error")):
                    continue
                for user in ("lifter", "nobody"):
                    path = template.replace("{userId}", user)
                    for header in (keys.header("beginner"), keys.header("nobody-else", "something"), keys.header(user, "unknown")):
                        body = {"userId": user} if path_method == "POST" else None
                        response = await client.request(path_method, path, headers=header, json=body)
                        assert response.status_code == 403, (path_method, path, response.text)
                        assert response.json()["type"] == "urn:mesocycle:problem:forbidden"

    asyncio.run(run())


def test_scopes_open_what_they_say(built_template, keys) -> None:
    async def run():
        async with listening(settings_for(built_template, keys)) as client:
            path = "/api/v1/summary/lifter"
            return {
                scope: (await client.get(path, headers=keys.header(subject, scope))).status_code
                for subject, scope in (("lifter", "user"), ("backend", "service"), ("lifter", "analyst"))
            }

    assert asyncio.run(run()) == {"user": 200, "service": 200, "analyst": 403}


@pytest.mark.parametrize(
    ("key", "algorithm"),
    [
        (ec.generate_private_key(ec.SECP256R1()), "ES256"),
        (ed25519.Ed25519PrivateKey.generate(), "EdDSA"),
        (rsa.generate_private_key(65537, 2048), "RS256"),
    ],
)
@pytest.mark.parametrize("as_pem", [True, False])
def test_each_kind_of_key_verifies_its_own_algorithm_only(built_template, key, algorithm, as_pem) -> None:
    private = pem(key)
    keys = public_pem(private) if as_pem else public_key_set(private)
    settings = Settings(database_url=built_template.urls[Role.API], jwks=keys)
    token = issue_token(private, "lifter")
    assert jwt.get_unverified_header(token)["alg"] == algorithm
    claims = jwt.decode(token, options={"verify_signature": False})
    authorizations = [f"Bearer {token}", "Bearer " + jwt.encode(claims, private, algorithm)]  # the second without a key id
    if algorithm == "RS256":
        authorizations += ["Bearer " + jwt.encode(claims, private, other) for other in ("PS256", "RS512")]
    statuses = [response.status_code for response in asked(settings, *authorizations)]
    assert statuses == [200, 200, 401, 401][: len(statuses)]


def test_a_shared_secret_counts_only_where_it_is_set(built_template, keys) -> None:
    claims = jwt.decode(keys.token(), options={"verify_signature": False})
    token = "Bearer " + jwt.encode(claims, SECRET, "HS256")
    url = built_template.urls[Role.API]
    assert asked(Settings(database_url=url, hs256_secret=SECRET), token)[0].status_code == 200
    assert asked(Settings(database_url=url, jwks=keys.jwks), token)[0].status_code == 401
    both = Settings(database_url=url, jwks=keys.jwks, hs256_secret=SECRET)
    assert [response.status_code for response in asked(both, token, "Bearer " + keys.token())] == [200, 200]


def test_a_symmetric_key_in_a_public_set_is_left_out(keys) -> None:
    secret = {"kty": "oct", "k": base64.urlsafe_b64encode(SECRET.encode()).decode(), "kid": "shared", "alg": "HS256"}
    text = json.dumps({"keys": [secret, *json.loads(keys.jwks)["keys"]]})
    assert [key.algorithm for key in parse_keys(text).values()] == ["ES256"]


def test_the_clock_may_differ_by_the_leeway_and_no_more(built_template, keys) -> None:
    settings = settings_for(built_template, keys, leeway_seconds=30)
    just, late = keys.token(lifetime=-15), keys.token(lifetime=-45)
    assert [r.status_code for r in asked(settings, f"Bearer {just}", f"Bearer {late}")] == [200, 401]


def test_a_remembered_token_expires_on_time(built_template, keys) -> None:
    async def run():
        async with listening(settings_for(built_template, keys, leeway_seconds=0)) as client:
            header = keys.header(lifetime=2)
            first = [(await client.get("/api/v1/summary/lifter", headers=header)).status_code for _ in range(3)]
            await asyncio.sleep(2.1)
            return first, (await client.get("/api/v1/summary/lifter", headers=header)).json()

    first, last = asyncio.run(run())
    assert first == [200, 200, 200]
    assert last["detail"] == "The token has expired."


def test_the_memory_of_tokens_is_bounded(built_template, keys) -> None:
    async def run():
        async with listening(settings_for(built_template, keys, verified_tokens=3)) as client:
            for _ in range(5):
                assert (await client.get("/api/v1/summary/lifter", headers=keys.header())).status_code == 200
            return len(client.application.state.verifier._remembered)

    assert asyncio.run(run()) == 3


def test_removing_a_key_from_the_file_revokes_its_tokens_within_seconds(built_template, keys, tmp_path) -> None:
    other, other_set = generate_key_pair()
    file = tmp_path / "keys.json"
    file.write_text(json.dumps({"keys": json.loads(keys.jwks)["keys"] + json.loads(other_set)["keys"]}))
    settings = Settings(database_url=built_template.urls[Role.API], jwks_file=file)
    headers = [keys.header(), {"Authorization": "Bearer " + issue_token(other, "lifter")}]

    async def run():
        async with listening(settings) as client:
            before = [(await client.get("/api/v1/summary/lifter", headers=h)).status_code for h in headers for _ in range(2)]
            file.write_text(other_set)
            await asyncio.sleep(1.5)
            after = [(await client.get("/api/v1/summary/lifter", headers=h)).status_code for h in headers]
            file.write_text("{broken")
            await asyncio.sleep(1.5)
            return before, after, [(await client.get("/api/v1/summary/lifter", headers=h)).status_code for h in headers]

    before, after, broken = asyncio.run(run())
    assert before == [200] * 4
    assert after == [401, 200]
    assert broken == [401, 200]  # what can't be read changes nothing


class Issuer:
    """A key set over HTTP that can change, break and count."""

    def __init__(self) -> None:
        self.body, self.status, self.asked = "", 200, 0
        self.is_garbled = False
        issuer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer.asked += 1
                if issuer.is_garbled:
                    self.wfile.write(b"this is not HTTP\r\n\r\n")
                    return
                self.send_response(issuer.status)
                self.end_headers()
                self.wfile.write(issuer.body.encode())

            def log_message(self, *_) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/jwks.json"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def issuer():
    made = Issuer()
    yield made
    made.server.shutdown()
    made.server.server_close()


def test_a_published_key_set_rotates_and_outlives_its_issuer_for_a_while(built_template, keys, issuer) -> None:
    new, new_set = generate_key_pair()
    settings = Settings(database_url=built_template.urls[Role.API], jwks_url=issuer.url, jwks_lifetime_seconds=0.3, jwks_stale_seconds=1.5)
    old_header, new_header = keys.header(), {"Authorization": "Bearer " + issue_token(new, "lifter")}

    async def run():
        async with listening(settings) as client:

            async def statuses():
                return [(await client.get("/api/v1/summary/lifter", headers=h)).status_code for h in (old_header, new_header)]

            issuer.body = keys.jwks
            await asyncio.sleep(0.5)
            seen = [await statuses()]
            issuer.body = new_set
            await asyncio.sleep(0.8)
            seen.append(await statuses())
            issuer.status = 500
            await asyncio.sleep(0.8)
            seen.append(await statuses())
            await asyncio.sleep(1.6)
            seen.append(await statuses())
            return seen

    assert asyncio.run(run()) == [[200, 401], [401, 200], [401, 200], [503, 503]]


def test_a_garbled_answer_does_not_end_the_watch_over_the_keys(built_template, keys, issuer) -> None:
    _, other_set = generate_key_pair()
    settings = Settings(database_url=built_template.urls[Role.API], jwks_url=issuer.url, jwks_lifetime_seconds=0.3)
    issuer.body = keys.jwks

    async def run():
        async with listening(settings) as client:
            seen = []
            for issuer.is_garbled, issuer.body in ((False, keys.jwks), (True, other_set), (False, other_set)):
                await asyncio.sleep(0.8)
                seen.append((await client.get("/api/v1/summary/lifter", headers=keys.header())).status_code)
            return seen

    assert asyncio.run(run()) == [200, 200, 401]  # the third: a key that was taken out of the set is revoked


def test_unknown_key_ids_do_not_make_us_hammer_the_issuer(built_template, keys, issuer) -> None:
    issuer.body = keys.jwks
    settings = Settings(database_url=built_template.urls[Role.API], jwks_url=issuer.url)
    stranger, _ = generate_key_pair()
    responses = asked(settings, *("Bearer " + issue_token(stranger, "lifter") for _ in range(20)))
    assert {response.status_code for response in responses} == {401}
    assert issuer.asked <= 2


@pytest.mark.parametrize(
    ("environment", "sentence"),
    [
        ({}, "MESOCYCLE_API_DATABASE_URL is not set"),
        ({"DATABASE_URL": "postgresql://x/x"}, "MESOCYCLE_API_JWKS"),
        ({"DATABASE_URL": "postgresql://x/x", "HS256_SECRET": "short"}, "MESOCYCLE_API_HS256_SECRET is wrong: must have at least 32 bytes"),
        ({"DATABASE_URL": "postgresql://x/x", "JWKS": "nonsense"}, "MESOCYCLE_API_JWKS is neither"),
        ({"DATABASE_URL": "postgresql://x/x", "JWKS": '{"keys": []}'}, "MESOCYCLE_API_JWKS holds no public key"),
        ({"DATABASE_URL": "postgresql://x/x", "JWKS_FILE": "/nowhere/keys.json"}, "MESOCYCLE_API_JWKS_FILE"),
        ({"DATABASE_URL": "postgresql://x/x", "JWKS_URL": "file:///etc/passwd"}, "MESOCYCLE_API_JWKS_URL is wrong"),
        ({"DATABASE_URL": "postgresql://x/x", "HS256_SECRET": SECRET, "POOL_SIZE": "many"}, "MESOCYCLE_API_POOL_SIZE is wrong"),
    ],
)
def test_a_missing_or_wrong_setting_stops_the_start_and_says_which(monkeypatch, environment, sentence) -> None:
    for name in ("DATABASE_URL", "JWKS", "JWKS_FILE", "JWKS_URL", "HS256_SECRET", "POOL_SIZE"):
        monkeypatch.delenv(f"MESOCYCLE_API_{name}", raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(f"MESOCYCLE_API_{name}", value)
    with pytest.raises(SettingsInvalid, match=re.escape(sentence)) as error:
        create_app(load_settings())
    assert SECRET not in str(error.value)


def test_writes_of_one_caller_are_limited_and_others_are_not_touched(built, keys) -> None:
    async def run():
        async with listening(settings_for(built, keys, writes_per_minute=3)) as client:

            async def post(user):
                return await client.post("/api/v1/plans/generate", json={"userId": user}, headers=keys.header(user))

            return [await post("lifter") for _ in range(5)], await post("beginner")

    many, other = asyncio.run(run())
    assert [response.status_code for response in many] == [202, 202, 202, 429, 429]
    assert many[3].json()["type"] == "urn:mesocycle:problem:too-many-requests"
    assert 1 <= int(many[3].headers["retry-after"]) <= 120
    assert other.status_code == 202


@pytest.mark.parametrize(
    "statement",
    [
        "select * from app.profiles",
        "select * from app.workouts",
        "select * from app.workout_sets",
        "select * from app.imports",
        "select * from app.rejected_rows",
        "select * from staging.stg_workouts",
        "select * from intermediate.user_summary_rows",
        "update app.users set time_zone = 'UTC'",
        "delete from app.users",
        "update app.onboarding_events set step = 'x'",
        "delete from app.onboarding_events",
        "delete from plans.plans",
        "insert into plans.plans (user_key) values (1)",
        "update marts.user_payloads set payload = '{}'",
        "delete from marts.user_payloads",
        "truncate marts.user_payloads",
        "update ops.builds set succeeded = true",
        "insert into ops.build_clock (as_of) values (now())",
        "create table app.mine (x int)",
        "create table marts.mine (x int)",
        "create schema mine",
        "create function app.mine() returns int language sql as 'select 1'",
        "create role mine",
        "set role mesocycle_owner",
        "copy (select 1) to program 'true'",
        "select pg_read_file('/etc/passwd')",
        "alter table marts.user_payloads owner to mesocycle_api",
        "drop table marts.user_payloads",
    ],
)
def test_the_database_role_can_do_no_more_than_the_api_does(built_template, statement) -> None:
    with built_template.connect(Role.API) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute(statement)
