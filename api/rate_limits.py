"""How often one caller may write."""

import math
import time

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter

from api.auth import Principal
from api.errors import TOO_MANY, Problem
from api.settings import Settings


class WriteLimiter:
    """Counts writes per subject over a sliding minute, in this process: with n workers a caller gets up to n times as many."""

    def __init__(self, settings: Settings) -> None:
        self._user = RateLimitItemPerMinute(settings.writes_per_minute)
        self._service = RateLimitItemPerMinute(settings.service_writes_per_minute)
        self._limiter = SlidingWindowCounterRateLimiter(MemoryStorage())

    def count(self, caller: Principal) -> None:
        """Problem TOO_MANY, with Retry-After, where the caller has written too often."""
        item = self._service if caller.is_service else self._user
        kind = "service" if caller.is_service else "user"
        if not self._limiter.hit(item, kind, caller.subject):
            reset_at = self._limiter.get_window_stats(item, kind, caller.subject).reset_time
            seconds = max(1, math.ceil(reset_at - time.time()))
            raise Problem(
                TOO_MANY, f"At most {item.amount} writes a minute. Try again in {seconds} s.", headers={"Retry-After": str(seconds)}
            )
