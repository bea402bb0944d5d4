"""The contract of every refusal, checked around one attack.

The system of record saw nothing of it (or no write); the stated status; a body without a canary,
a stack or anything unlike other refusals; exactly one audit event that is no success and says
why; one more on the counter that operators watch.
"""

import re
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from typing import Any

import orjson

from tests.web.front_desk import Answer, FrontDesk

# Stands in every text of the canary's chart. Whoever sees it was shown what they must not see.
CANARY = "Xq7canary"
STACK = re.compile(
    r"Traceback|File \"|\.py\b|line \d+, in|asyncpg|orjson|joserfc|uvicorn|starlette"
)
BODY_BYTES_MAX = 1_200  # a sentence in its envelope; a page of ours is larger
PAGE = "text/html"
SECURITY = ("cache-control", "content-security-policy", "x-content-type-options", "x-request-id")
COUNTER = "chartgate_refusals_total"
COUNTED = re.compile(rf'^{COUNTER}{{action="(.+?)",reason="(.+?)"}} (\d+)', re.MULTILINE)
# Differ between two answers that must not be told apart, and tell nothing.
OWN_TO_EACH = frozenset({"x-request-id"})
DECISION = "chartgate-decision"


@dataclass(frozen=True, kw_only=True)
class Counts:
    """Where everything stood at one moment."""

    asked: int  # of the system of record
    writes: int  # requests there that wanted to change something
    effects: int
    event: int  # the last audit event
    refusals: dict[tuple[str, str], int]


async def counts(desk: FrontDesk) -> Counts:
    """How things stand now; the counter is read as operators read it, over HTTP."""
    journal = desk.clinic.hospital.journal
    metrics = await desk.ask("GET", "/metrics")
    last = await desk.gate.database.fetch_value(
        "SELECT coalesce(max(id), 0) FROM audit_event WHERE tenant = $1"
    )
    return Counts(
        asked=journal.counts.total(),
        writes=len([seen for seen in journal.requests if not seen.path.endswith("_search")]),
        effects=len(journal.effects),
        event=last,
        refusals={(a, r): int(n) for a, r, n in COUNTED.findall(metrics.text)},
    )


async def events_since(desk: FrontDesk, before: Counts) -> list[dict[str, Any]]:
    """Audit events that are newer."""
    rows = await desk.gate.database.fetch(
        "SELECT body FROM audit_event WHERE tenant = $1 AND id > $2 ORDER BY id", before.event
    )
    return [orjson.loads(row["body"]) for row in rows]


async def refused(
    desk: FrontDesk,
    attack: Callable[[], Awaitable[Answer]],
    *,
    status: int | Collection[int],
    reason: str | Collection[str] | None = None,
    action: str | None = None,
    asked_max: int = 0,
) -> Answer:
    """Makes the attack and checks the whole contract. `asked_max`: how often the system of record
    may have been read for it, where only reading can tell that it must be refused."""
    before = await counts(desk)
    answer = await attack()
    after = await counts(desk)
    assert after.asked - before.asked <= asked_max, "the system of record was asked"
    assert (after.writes, after.effects) == (before.writes, before.effects), "it was written to"
    allowed = {status} if isinstance(status, int) else set(status)
    assert answer.status in allowed, f"{answer.status}, not {status}: {answer.body[:300]!r}"
    check_body(answer)
    event = check_events(await events_since(desk, before), reason=reason, action=action)
    check_counted(before, after, event)
    return answer


def check_body(answer: Answer) -> None:
    """No canary, no stack, nothing of the machinery, and every header that must be there."""
    shown = answer.body.decode("utf-8", "replace") + repr(list(answer.headers.items()))
    assert CANARY not in shown, "a canary got out"
    assert not STACK.search(answer.body.decode("utf-8", "replace")), answer.body[:500]
    headers = {name.lower() for name in answer.headers}
    assert "server" not in headers
    assert headers >= set(SECURITY), sorted(set(SECURITY) - headers)
    if not answer.body or PAGE in answer.headers.get("Content-Type", ""):
        return
    assert len(answer.body) <= BODY_BYTES_MAX, f"{len(answer.body)} bytes"
    value = answer.json
    if "error" in value:  # RFC 6749
        assert set(value) == {"error", "error_description"}
        return
    assert (value["resourceType"], len(value["issue"])) == ("OperationOutcome", 1)
    assert set(value["issue"][0]) == {"severity", "code", "diagnostics"}


def check_events(
    events: list[dict[str, Any]],
    *,
    reason: str | Collection[str] | None = None,
    action: str | None = None,
) -> dict[str, Any]:
    """Exactly one, no success, with a reason, and without a canary."""
    refusals = [event for event in events if event["outcome"] != "success"]
    assert len(refusals) == 1, f"{len(refusals)} audit events of a refusal: {refusals}"
    event = refusals[0]
    assert event.get("reason"), f"an audit event that does not say why: {event}"
    assert CANARY not in orjson.dumps(event).decode()
    if reason is not None:
        reasons = {reason} if isinstance(reason, str) else set(reason)
        assert event["reason"] in reasons, event
    if action is not None:
        assert event["action"] == action, event
    return event


def check_counted(before: Counts, after: Counts, event: dict[str, Any]) -> None:
    """The counter of this action went up by one, and no other."""
    assert sum(after.refusals.values()) - sum(before.refusals.values()) == 1, "not counted once"
    up = {k for k, n in after.refusals.items() if n > before.refusals.get(k, 0)}
    assert {action for action, _ in up} == {event["action"]}, up


def check_alike(one: Answer, other: Answer, *, asked_alike: bool = True) -> None:
    """Nobody can tell which of the two it was. The decision's id follows from what was asked and
    from the rules, so it is the same too where two ids of one type and site were asked for."""
    own = OWN_TO_EACH if asked_alike else OWN_TO_EACH | {DECISION}
    assert (DECISION in one.headers) == (DECISION in other.headers)
    assert one.status == other.status, f"{one.status} and {other.status}"
    assert one.body == other.body, f"{one.body!r} and {other.body!r}"

    def heads(answer: Answer) -> list[tuple[str, str]]:
        named = [(name.lower(), value) for name, value in answer.headers.items()]
        return [(name, value) for name, value in named if name not in own]

    assert heads(one) == heads(other), f"{heads(one)} and {heads(other)}"


async def nothing_happened(desk: FrontDesk, before: Counts) -> None:
    """The system of record was neither asked nor written to since."""
    after = await counts(desk)
    assert (after.asked, after.writes, after.effects) == (
        before.asked,
        before.writes,
        before.effects,
    )
