"""What a payload becomes on the wire: body, strong ETag, conditional answers, compression. Both lanes answer by this module."""

import time
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from hashlib import blake2b
from typing import Final

import brotli
import orjson

Headers = list[tuple[bytes, bytes]]

KEEP_AND_ASK: Final = (b"cache-control", b"private, no-cache")
"""Keep it, but ask each time whether it still holds: a 304 is cheap, and the next build may be a second away."""
VARY: Final = (b"vary", b"accept-encoding")
IS_JSON: Final = (b"content-type", b"application/json")
COMPRESS_FROM: Final = 2048
"""Bytes; below, the answer fits into a packet or two and compressing only costs."""
STALE_WARNING: Final = (b"warning", b'110 - "Response is Stale"')


@dataclass(slots=True)
class Representation:
    """One user's resource as bytes, with what conditional requests need; `read_at` is monotonic seconds.

    Without a body it says only which one is the current: enough for a 304.
    """

    body: bytes
    etag: bytes
    last_modified: bytes
    build_key: int
    read_at: float


@dataclass(frozen=True, slots=True)
class Build:
    """The last successful build of the marts: what `asOf`, `Last-Modified` and the ETags come from."""

    key: int
    as_of: datetime
    finished_at: datetime
    after_user_id: str
    """What follows the user's id in each body."""
    last_modified: bytes

    @classmethod
    def of(cls, key: int, as_of: datetime, finished_at: datetime) -> "Build":
        as_of_text = as_of.isoformat().replace("+00:00", "Z")
        return cls(key, as_of, finished_at, f',"asOf":"{as_of_text}",', format_datetime(finished_at, usegmt=True).encode())


NO_WORK: Final = (
    '"workouts":0,"activeDays":0,"trainingMinutes":0,"sets":0,"reps":0,"volumeKg":0,"avgRpe":null,"exercises":0,"recordEvents":0,'
    '"currentStreakWeeks":0,"longestStreakWeeks":0,"firstWorkoutAt":null,"lastWorkoutAt":null,"previousWorkouts":%s,"previousVolumeKg":%s,'
    '"volumeChangePct":null,"plannedSessions":0,"completedSessions":0,"adherence":null,"setsByMuscle":{}}'
)


NOTHING_YET: Final = {
    "records": '{"records":[]}',
    "timeline": '{"weeks":[]}',
    "top-lifts": '{"lifts":[]}',
    "muscles": '{"muscles":[]}',
    "record-feed": '{"events":[]}',
    "peers": '{"measures":[]}',
}


def payload_of_a_new_user(resource: str) -> str:
    """What a user has whom no build has seen yet: a summary of zeros, empty lists."""
    kind, _, parameter = resource.partition("/")
    if kind == "summary":
        previous = "null" if parameter == "all" else "0"
        return f'{{"range":"{parameter}",' + NO_WORK % (previous, previous)
    return NOTHING_YET[resource]


def represent(user_id: str, resource: str, payload: str | None, payload_hash: int | None, build: Build, read_at: float) -> Representation:
    """The body is the payload with whose it is and as of when in front; the ETag names its build and the payload's hash (64 bits)."""
    if payload is None:
        payload = payload_of_a_new_user(resource)
    body = f'{{"userId":{orjson.dumps(user_id).decode()}{build.after_user_id}{payload[1:]}'.encode()
    return Representation(
        body, b'"%x-%x"' % (build.key, (payload_hash or 0) & 0xFFFF_FFFF_FFFF_FFFF), build.last_modified, build.key, read_at
    )


def of_row(key: int, version: str, modified_at: datetime, body: bytes = b"") -> Representation:
    """What a row says by itself rather than a build: its key and the `version` of the code that writes it out make the ETag."""
    modified = format_datetime(modified_at.astimezone(UTC), usegmt=True).encode()
    return Representation(body, b'"%x-%s"' % (key, version.encode()), modified, key, time.monotonic())


def entity_tag(build_key: int, body: bytes) -> bytes:
    return b'"%x-%s"' % (build_key, blake2b(body, digest_size=9).hexdigest().encode())


def answer(found: Representation, request_headers: Mapping[bytes, bytes], *, stale: bool = False) -> tuple[int, Headers, bytes]:
    """Status, headers and body of a GET, by RFC 9110: If-None-Match before If-Modified-Since, an ETag per encoding."""
    body, etag = found.body, found.etag
    if len(body) < COMPRESS_FROM and not stale and b"if-none-match" not in request_headers and b"if-modified-since" not in request_headers:
        return (  # the common case, without the questions of the others
            200,
            [
                (b"etag", etag),
                (b"last-modified", found.last_modified),
                KEEP_AND_ASK,
                IS_JSON,
                (b"content-length", b"%d" % len(body)),
            ],
            body,
        )
    headers: Headers = [
        (b"etag", etag),
        (b"last-modified", found.last_modified),
        KEEP_AND_ASK,
    ]
    if len(body) >= COMPRESS_FROM:
        headers.append(VARY)
    if stale:
        headers += [STALE_WARNING, (b"age", b"%d" % max(0, int(time.monotonic() - found.read_at)))]
    coding = coding_for(request_headers.get(b"accept-encoding", b"")) if len(body) >= COMPRESS_FROM else None
    if coding is not None:
        etag = etag[:-1] + b"-" + coding + b'"'
        headers[0] = (b"etag", etag)
    if is_unchanged(request_headers, etag, found.last_modified):
        return 304, headers, b""
    if coding is not None:
        body = COMPRESS[coding](body)
        headers.append((b"content-encoding", coding))
    headers += [IS_JSON, (b"content-length", b"%d" % len(body))]
    return 200, headers, body


def unchanged(found: Representation, request_headers: Mapping[bytes, bytes]) -> tuple[int, Headers, bytes] | None:
    """The 304 of a representation whose body isn't there, as `answer` would make it; None where the body must be sent.

    Whether it would be compressed is not known without it, so a tag of either form counts.
    """
    coding = coding_for(request_headers.get(b"accept-encoding", b""))
    for etag in (found.etag, *([found.etag[:-1] + b"-" + coding + b'"'] if coding else [])):
        if is_unchanged(request_headers, etag, found.last_modified):
            return 304, [(b"etag", etag), (b"last-modified", found.last_modified), KEEP_AND_ASK, VARY], b""
    return None


def is_unchanged(request_headers: Mapping[bytes, bytes], etag: bytes, last_modified: bytes) -> bool:
    asked = request_headers.get(b"if-none-match")
    if asked is not None:
        if asked == etag or asked.strip() == b"*":
            return True
        return any(candidate.strip().removeprefix(b"W/") == etag for candidate in asked.split(b","))
    since = request_headers.get(b"if-modified-since")
    if since is None:
        return False
    then, modified = _date(since), _date(last_modified)
    return then is not None and modified is not None and modified <= then


def _date(text: bytes) -> datetime | None:
    try:
        date = parsedate_to_datetime(text.decode("ascii"))
        return date.replace(tzinfo=UTC) if date.tzinfo is None else date.astimezone(UTC)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


def coding_for(accept_encoding: bytes) -> bytes | None:
    """Brotli or gzip, whichever weighs more (brotli where both weigh the same); None where the client wants neither."""
    weights: dict[bytes, float] = {}
    for part in accept_encoding.lower().split(b","):
        coding, _, parameters = part.partition(b";")
        name, _, value = parameters.strip().partition(b"=")
        try:
            weights[coding.strip()] = float(value) if name.strip() == b"q" else 1.0
        except ValueError:
            weights[coding.strip()] = 0.0
    others = weights.get(b"*", 0.0)
    best = max(COMPRESS, key=lambda coding: weights.get(coding, others))
    return best if weights.get(best, others) > 0 else None


def _gzip(body: bytes) -> bytes:
    # No time stamp inside, so that equal bodies stay equal.
    compressor = zlib.compressobj(5, zlib.DEFLATED, 31)
    return compressor.compress(body) + compressor.flush()


def _brotli(body: bytes) -> bytes:
    return brotli.compress(body, quality=4)


COMPRESS: Final = {b"br": _brotli, b"gzip": _gzip}
"""At these levels either takes 0.3 ms for 40 kB of records; brotli's answer is a tenth smaller."""
