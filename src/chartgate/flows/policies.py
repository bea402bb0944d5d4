"""Policy looked at from outside: which questions it was asked, why it answered so, and what another
revision of the rules would answer."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta

import orjson

from chartgate.errors import NotFound
from chartgate.formats.canonical import canonical_bytes
from chartgate.gate import Gate
from chartgate.model.decision import Decision, Request
from chartgate.policy.asked import question_of, request_of
from chartgate.policy.cedar import Answered
from chartgate.policy.charters import CharterBook
from chartgate.policy.decide import decide_anew
from chartgate.policy.matrix import questions
from chartgate.store.policy_questions import PolicyQuestionStore

FLUSHED_MAX = 2_000  # different questions in one write; the others wait for the next
FORGOTTEN_AFTER = timedelta(days=90)
SAY_NO_DECISION = (
    "no question that was recorded has this decision under the rules that run now; the audit entry "
    "names its agent, action and site: ask with those"
)


@dataclass(frozen=True, kw_only=True)
class Differing:
    """A question that two revisions answer differently."""

    request: Request
    before: Decision
    after: Decision
    count: int  # how often it was asked; 0: it follows from the charters alone


async def flush_questions(gate: Gate) -> int:
    """Writes down what was asked since the last time; how many different questions. It runs beside
    the requests, so that no decision waits for it. Raises Unavailable."""
    asked = [
        (request, answered, answered.count) for request, answered in _kept(gate) if answered.count
    ][:FLUSHED_MAX]
    if not asked:
        return 0
    counts: dict[bytes, int] = {}
    for request, _, count in asked:
        question = canonical_bytes(question_of(request))
        counts[question] = counts.get(question, 0) + count
    now = gate.clock()
    await PolicyQuestionStore(gate.database).count(counts, at=now, since=now - FORGOTTEN_AFTER)
    for _, answered, count in asked:
        answered.count -= count
    return len(counts)


async def recorded(gate: Gate) -> Sequence[tuple[Request, int]]:
    """Questions that were asked, with how often; the most frequent first. Raises Unavailable."""
    rows = await PolicyQuestionStore(gate.database).listed()
    return [(request_of(orjson.loads(row.question)), row.count) for row in rows]


async def request_with(gate: Gate, decision: str) -> Request:
    """The question that a decision's id stands for, under the rules that run now. Raises
    NotFound."""
    asked = [request for request, _ in await recorded(gate)]
    for request in (*asked, *questions(gate.charters)):
        if decide_anew(gate.charters.rulebook, request).id == decision:
            return request
    raise NotFound(SAY_NO_DECISION)


def differing(
    before: CharterBook, after: CharterBook, asked: Iterable[tuple[Request, int]]
) -> tuple[int, tuple[Differing, ...]]:
    """How many questions were compared, and those that are answered differently: all that were
    asked, and all that either revision's charters lead to."""
    counts = dict(asked)
    for request in questions(before, after):
        counts.setdefault(request, 0)
    found = []
    for request, count in counts.items():
        old = decide_anew(before.rulebook, request)
        new = decide_anew(after.rulebook, request)
        if old.permitted != new.permitted:
            found.append(Differing(request=request, before=old, after=new, count=count))
    found.sort(key=lambda d: (-d.count, d.before.permitted))
    return len(counts), tuple(found)


def _kept(gate: Gate) -> list[tuple[Request, Answered]]:
    return list(gate.charters.rulebook.answers.items())
