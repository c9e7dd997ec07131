"""Request ids: the caller's own where it sent a decent one, else a counter behind a prefix that no other process has."""

import itertools
import re
import secrets
from typing import Final

DECENT: Final = re.compile(rb"[A-Za-z0-9._:/+=-]{1,128}\Z")


class _Ids:
    def __init__(self) -> None:
        self.prefix = secrets.token_hex(6).encode() + b"-%x"
        self.numbers = itertools.count(1)


_ids = _Ids()


def next_request_id() -> bytes:
    return _ids.prefix % next(_ids.numbers)


def request_id_of(sent: bytes | None) -> bytes:
    """The id that a request goes by: what it sent in X-Request-Id, if that can stand in a log and a header."""
    return sent if sent is not None and DECENT.match(sent) else next_request_id()
