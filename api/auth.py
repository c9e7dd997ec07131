"""Who calls, and what they may: bearer tokens, the keys that verify them, and a memory of tokens verified before."""

import asyncio
import http.client
import json
import logging
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from api.errors import FORBIDDEN, KEYS_UNAVAILABLE, UNAUTHENTICATED, Problem
from api.settings import PREFIX, Settings, SettingsInvalid
from api.tokens import KeyUnusable, algorithm_of, thumbprint

log = logging.getLogger("mesocycle.api")

TOKEN_BYTES: Final = 8192
UNKNOWN_KEY_SECONDS: Final = 10.0
"""Tokens with unknown key ids make the key set be fetched again at most this often: anybody can send them."""
FILE_SECONDS: Final = 1.0
FETCH_SECONDS: Final = 5.0
FETCH_BYTES: Final = 1024 * 1024
UNREADABLE: Final = (ValueError, KeyError, TypeError, RecursionError, UnsupportedAlgorithm)
"""What `parse_keys` ends with where a text is no key set."""
UNFETCHABLE: Final = (OSError, http.client.HTTPException, *UNREADABLE)
"""What a download ends with. A cut or garbled answer is an HTTPException, which is no OSError."""


class Scope(StrEnum):
    """What a token's `scope` claim (space-separated) may hold; other words are ignored."""

    USER = "user"
    """Everything of the user that `sub` names, nothing of anybody else."""
    SERVICE = "service"
    """Every user's data: for the app's own servers."""
    ANALYST = "analyst"
    """Aggregates over all users; no single user's data."""


@dataclass(frozen=True, slots=True)
class Principal:
    """The caller, as a verified token names it; `expires_at` is in seconds since 1970, leeway included."""

    subject: str
    scopes: frozenset[Scope]
    expires_at: float
    is_service: bool
    own_user_id: str | None

    def may_open(self, user_id: str) -> bool:
        return self.is_service or self.own_user_id == user_id

    def require(self, *scopes: Scope) -> None:
        if not self.scopes.intersection(scopes):
            needed = " or ".join(scopes)
            raise Problem(
                FORBIDDEN,
                f"This needs a token with the scope {needed}.",
                headers={"WWW-Authenticate": f'Bearer realm="mesocycle", error="insufficient_scope", scope="{needed}"'},
            )


@dataclass(frozen=True)
class Key:
    """A key with the one algorithm that it's used with."""

    key_id: str
    algorithm: str
    key: Any


def parse_keys(text: str) -> dict[str, Key]:
    """Public keys by id, from a JSON Web Key Set or from PEM blocks. Keys that can't verify our tokens are left out.

    Raises one of UNREADABLE where the text is neither.
    """
    found: dict[str, Key] = {}
    for key_id, public, algorithm in _pem_keys(text) if "-----BEGIN" in text else _set_keys(text):
        try:
            derived = algorithm_of(public)
            if algorithm not in (None, derived):
                raise KeyUnusable(f"it is meant for {algorithm}, this API uses it with {derived}")
        except KeyUnusable as error:
            log.warning("a key of the set is left out: %s", error)
            continue
        name = key_id or thumbprint(public)
        found[name] = Key(name, derived, public)
    return found


def _pem_keys(text: str) -> list[tuple[str | None, Any, str | None]]:
    keys: list[tuple[str | None, Any, str | None]] = []
    for block in text.split("-----BEGIN ")[1:]:
        keys.append((None, serialization.load_pem_public_key(("-----BEGIN " + block).encode()), None))
    return keys


def _set_keys(text: str) -> list[tuple[str | None, Any, str | None]]:
    keys: list[tuple[str | None, Any, str | None]] = []
    members = json.loads(text)["keys"]
    for member in members:
        if not isinstance(member, dict) or member.get("use", "sig") != "sig" or member.get("kty") not in ("EC", "OKP", "RSA"):
            continue  # in particular: a symmetric key is never taken from a set that is public
        try:
            key = jwt.PyJWK(member).key
        except (jwt.PyJWTError, ValueError, UnsupportedAlgorithm) as error:
            log.warning("a key of the set is left out: %s", error)
            continue
        if isinstance(key, ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey):
            log.warning("a key of the set is left out: it is a private key")
            continue
        algorithm = member.get("alg")
        keys.append((member.get("kid"), key, algorithm))
    return keys


class KeyRing:
    """The keys that count now. Those of a file or an address are read again in time; a removed key stops counting at once."""

    def __init__(self, settings: Settings, on_change: Callable[[], None]) -> None:
        self._settings = settings
        self._on_change = on_change
        self._fixed: dict[str, Key] = {}
        self._from_file: dict[str, Key] = {}
        self._fetched: dict[str, Key] = {}
        self._file_stamp: tuple[int, int, int] | None = None
        self._fetched_at = float("-inf")
        self._attempted_at = float("-inf")
        self._fetching = asyncio.Lock()
        self.secret: Key | None = None
        if settings.hs256_secret:
            self.secret = Key("hs256", "HS256", settings.hs256_secret.get_secret_value().encode())
        if settings.jwks:
            self._fixed = self._parsed(settings.jwks, "JWKS")
        if settings.jwks_file:
            self._read_file(settings.jwks_file, first=True)
        self.keys: dict[str, Key] = {}
        self._combine()

    @staticmethod
    def _parsed(text: str, name: str) -> dict[str, Key]:
        try:
            keys = parse_keys(text)
        except UNREADABLE as error:
            raise SettingsInvalid(f"The API can't start: {PREFIX}{name} is neither a JSON Web Key Set nor PEM ({error}).") from None
        if not keys:
            raise SettingsInvalid(f"The API can't start: {PREFIX}{name} holds no public key for ES256, EdDSA or RS256.")
        return keys

    def _combine(self) -> None:
        combined = self._fetched | self._from_file | self._fixed
        changed = combined != self.keys
        self.keys = combined
        if changed:
            self._on_change()

    def _read_file(self, path: Path, *, first: bool = False) -> None:
        try:
            status = path.stat()
            stamp = (status.st_mtime_ns, status.st_size, status.st_ino)
            if stamp == self._file_stamp:
                return
            text = path.read_text()
            self._from_file = self._parsed(text, "JWKS_FILE") if first else parse_keys(text)
            self._file_stamp = stamp
        except (OSError, *UNREADABLE) as error:
            if first:
                raise SettingsInvalid(f"The API can't start: {PREFIX}JWKS_FILE: {error}.") from None
            log.warning("the key file can't be read, its last content counts: %s", error)

    async def _fetch(self) -> None:
        """Fetch the set once for all who wait; on an error the last one counts until it is too old."""
        url = self._settings.jwks_url
        if url is None:
            return
        asked_at = time.monotonic()
        async with self._fetching:
            if self._attempted_at >= asked_at:
                return
            self._attempted_at = time.monotonic()
            try:
                self._fetched = parse_keys(await asyncio.to_thread(_download, url))
                self._fetched_at = time.monotonic()
            except UNFETCHABLE as error:
                log.warning("the key set can't be fetched, the last one counts: %r", error)
        self._combine()

    async def find(self, key_id: str | None) -> Key:
        """The key that a token must be verified with; a Problem where there is none."""
        if key_id is None and self.secret is not None:
            return self.secret
        found = self._lookup(key_id)
        if found is None and self._settings.jwks_url and time.monotonic() - self._attempted_at > UNKNOWN_KEY_SECONDS:
            await self._fetch()
            found = self._lookup(key_id)
        if found is None:
            if not self.keys and not self.secret:
                raise Problem(KEYS_UNAVAILABLE)
            raise _unauthenticated("The token's key is not known here.")
        return found

    def _lookup(self, key_id: str | None) -> Key | None:
        if key_id is None:
            return next(iter(self.keys.values())) if len(self.keys) == 1 else None
        if self.secret is not None and key_id == self.secret.key_id:
            return self.secret
        return self.keys.get(key_id)

    async def watch(self) -> None:
        """Keep the keys current until cancelled."""
        settings = self._settings
        while settings.jwks_file or settings.jwks_url:
            if settings.jwks_file:
                self._read_file(settings.jwks_file)
                self._combine()
            if settings.jwks_url:
                age = time.monotonic() - self._fetched_at
                since_attempt = time.monotonic() - self._attempted_at
                if age >= settings.jwks_lifetime_seconds and since_attempt >= min(UNKNOWN_KEY_SECONDS, settings.jwks_lifetime_seconds):
                    await self._fetch()
                    age = time.monotonic() - self._fetched_at
                if self._fetched and age > settings.jwks_lifetime_seconds + settings.jwks_stale_seconds:
                    log.error("the key set could not be fetched for too long: its tokens are refused")
                    self._fetched = {}
                    self._combine()
            await asyncio.sleep(min(FILE_SECONDS, settings.jwks_lifetime_seconds))


def _download(url: str) -> str:
    request = urllib.request.Request(url, headers={"Accept": "application/json"})
    with urllib.request.urlopen(request, timeout=FETCH_SECONDS) as response:
        body = response.read(FETCH_BYTES + 1)
    if len(body) > FETCH_BYTES:
        raise ValueError("the key set is larger than 1 MB")
    return str(body.decode())


class Verifier:
    """Turns an Authorization header into a Principal. Verifying ES256 costs about 100 µs, remembering 0.2 µs."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._remembered: dict[bytes, Principal] = {}
        self.ring = KeyRing(settings, on_change=self._remembered.clear)

    def remembered(self, authorization: bytes) -> Principal | None:
        """The principal of a token that was verified before, is not expired, and whose key still counts."""
        principal = self._remembered.get(authorization)
        if principal is None or principal.expires_at <= time.time():
            return None
        return principal

    async def verify(self, authorization: bytes | None) -> Principal:
        """The principal, or Problem UNAUTHENTICATED saying why not."""
        if authorization is None:
            raise Problem(UNAUTHENTICATED)
        if (known := self.remembered(authorization)) is not None:
            return known
        self._remembered.pop(authorization, None)
        scheme, _, token = authorization.partition(b" ")
        token = token.strip()
        if scheme.lower() != b"bearer" or not token:
            raise _unauthenticated("The Authorization header must be: Bearer, a space, the token.")
        if len(token) > TOKEN_BYTES:
            raise _unauthenticated(f"The token is longer than {TOKEN_BYTES} bytes.")
        key = await self.ring.find(self._key_id(token))
        principal = self._principal(token, key)
        if self.ring.keys.get(key.key_id) is key or key is self.ring.secret:  # the ring may have changed while we verified
            self._remember(authorization, principal)
        return principal

    def _key_id(self, token: bytes) -> str | None:
        try:
            header = jwt.get_unverified_header(token)
        except (jwt.PyJWTError, ValueError, RecursionError):
            raise _unauthenticated("The token is not a JSON Web Token.") from None
        if "crit" in header:
            raise _unauthenticated("The token has critical extensions that this API doesn't know.")
        key_id = header.get("kid")
        if key_id is not None and not isinstance(key_id, str):
            raise _unauthenticated("The token's key id must be a string.")
        return key_id

    def _principal(self, token: bytes, key: Key) -> Principal:
        settings = self._settings
        try:
            claims = jwt.decode(
                token,
                key.key,
                algorithms=[key.algorithm],
                audience=settings.audience,
                issuer=settings.issuer,
                leeway=settings.leeway_seconds,
                options={"require": ["exp", "iss", "aud", "sub"]},
            )
            expires_at = float(claims["exp"]) + settings.leeway_seconds
        except jwt.ExpiredSignatureError:
            raise _unauthenticated("The token has expired.") from None
        except jwt.ImmatureSignatureError:
            raise _unauthenticated("The token is not valid yet.") from None
        except jwt.InvalidAudienceError:
            raise _unauthenticated("The token is for another audience.") from None
        except jwt.InvalidIssuerError:
            raise _unauthenticated("The token is from another issuer.") from None
        except jwt.MissingRequiredClaimError as error:
            raise _unauthenticated(f"The token lacks the claim {error.claim}.") from None
        except (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError):
            raise _unauthenticated("The token's signature or form is wrong.") from None
        words = claims.get("scope", "")
        scopes = frozenset(Scope(word) for word in words.split() if word in set(Scope)) if isinstance(words, str) else frozenset()
        subject = claims["sub"]
        own = subject if Scope.USER in scopes else None
        return Principal(subject, scopes, expires_at, Scope.SERVICE in scopes, own)

    def _remember(self, authorization: bytes, principal: Principal) -> None:
        limit = self._settings.verified_tokens
        if not limit:
            return
        while len(self._remembered) >= limit:
            self._remembered.pop(next(iter(self._remembered)))
        self._remembered[authorization] = principal


def _unauthenticated(reason: str) -> Problem:
    return Problem(UNAUTHENTICATED, reason, headers={"WWW-Authenticate": 'Bearer realm="mesocycle", error="invalid_token"'})
