"""Slowing down when told to: 429, Retry-After, RateLimit.

While the wait lasts nothing is sent; then one request goes first, and the rest follow only once
it was not refused, so that a wait never ends in a storm.
"""

import random
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

WAIT_MIN_S = 1.0  # "Retry-After: 0" must not make us ask many times a second
BACKOFF_BASE_S = 1.0
BACKOFF_CAP_S = 60.0
EPOCH_FROM = 1_000_000_000  # a reset this large is a time, not a wait

# RateLimit: "default";r=0;t=30 (draft-ietf-httpapi-ratelimit-headers-08 and later)
ITEM = re.compile(r'"[^"]*"((?:\s*;\s*[a-z]+=[^;,]+)*)')
PARAMETER = re.compile(r";\s*([a-z]+)=\s*\"?(-?\d+)")
# RateLimit: limit=100, remaining=0, reset=30 (draft 07)
MEMBER = re.compile(r"\b(remaining|reset)=(\d+)")

Headers = Mapping[str, str]


class Throttle:
    """One connection's memory of having been told to slow down."""

    def __init__(
        self,
        *,
        cap_s: float,
        clock: Callable[[], datetime],
        monotonic: Callable[[], float],
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._cap_s = cap_s
        self._clock = clock
        self._monotonic = monotonic
        self._jitter = jitter
        self._until = 0.0
        self._hits = 0
        self._trial = False
        self.refusals = 0  # 429s so far …
        self.refusals_told = 0  # … and those that said for how long

    def admit(self) -> float:
        """0: go. Else the seconds to wait."""
        if not self._until:
            return 0.0
        wait_s = self._until - self._monotonic()
        if wait_s > 0:
            return wait_s
        if self._trial:
            return WAIT_MIN_S
        self._trial = True
        return 0.0

    def note(self, status: int, headers: Headers) -> None:
        """Takes in one answer."""
        if status == 429:
            self._hits += 1
            told_s = told_wait_s(headers, self._clock())
            self.refusals += 1
            self.refusals_told += told_s is not None
            self._hold(told_s or self._backoff_s())
            return
        spent_s = spent_quota_wait_s(headers, self._clock)
        if spent_s is not None:
            self._hold(spent_s)
        elif self._until and self._monotonic() >= self._until:
            self._until, self._hits, self._trial = 0.0, 0, False

    def abandoned(self) -> None:
        """Nothing was learnt from the request that was let through."""
        self._trial = False

    def wait_s(self) -> float:
        """What is left of the wait."""
        return max(WAIT_MIN_S, self._until - self._monotonic())

    def _hold(self, wait_s: float) -> None:
        wait_s = min(self._cap_s, max(WAIT_MIN_S, wait_s))
        self._until = max(self._until, self._monotonic() + wait_s)
        self._trial = False

    def _backoff_s(self) -> float:
        longest: float = min(BACKOFF_CAP_S, BACKOFF_BASE_S * 2 ** min(self._hits, 16))
        return longest * (0.5 + 0.5 * self._jitter())


def told_wait_s(headers: Headers, now: datetime) -> float | None:
    """What a 429 asks for; None if it does not say, or only junk."""
    after = headers.get("Retry-After")
    if after is not None:
        wait_s = parse_retry_after(after, now)
        if wait_s is not None:
            return wait_s
    return spent_quota_wait_s(headers, lambda: now)


def parse_retry_after(value: str, now: datetime) -> float | None:
    """Seconds, or an HTTP date; None for junk. Source: RFC 9110, 10.2.3."""
    if value.strip().isdecimal() and value.strip().isascii():
        return max(WAIT_MIN_S, float(value.strip()[:10]))
    try:
        moment = parsedate_to_datetime(value)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(WAIT_MIN_S, (moment - now).total_seconds())


def spent_quota_wait_s(headers: Headers, clock: Callable[[], datetime]) -> float | None:
    """The wait if a quota is used up, by RateLimit or its older spellings."""
    limits = headers.get("RateLimit")
    if limits is not None:
        return _spent_policy_wait_s(limits)
    for prefix in ("RateLimit-", "X-RateLimit-"):
        if headers.get(f"{prefix}Remaining", "").strip() == "0":
            reset = headers.get(f"{prefix}Reset", "").strip()[:12]
            if not (reset.isdecimal() and reset.isascii()):
                return None
            at = float(reset)
            return at - clock().timestamp() if at >= EPOCH_FROM else at
    return None


def _spent_policy_wait_s(limits: str) -> float | None:
    waits = []
    for item in ITEM.finditer(limits[:1000]):
        parameters = dict(PARAMETER.findall(item[1]))
        if int(parameters.get("r", "1")) <= 0 and "t" in parameters:
            waits.append(float(parameters["t"]))
    members = dict(MEMBER.findall(limits[:1000]))
    if members.get("remaining") == "0" and "reset" in members:
        waits.append(float(members["reset"]))
    return max(waits) if waits else None
