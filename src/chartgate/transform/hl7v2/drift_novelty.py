"""When something new is a finding, and what a finding says.

What a stable feed holds now and then is no drift: a novelty is found once it came in several
messages of a window. One that did not is kept as rare, and found should it ever come often.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from chartgate.transform.hl7v2.drift_profile import Knowledge, Novelty, Position, knows

CANDIDATES_MAX = 128
RARE_MAX = 512
EXAMPLES_MAX = 5
COUNT_MAX = 1000  # a finding that came so often is counted no further, for the sake of speed


@dataclass(frozen=True, kw_only=True, slots=True)
class DriftRules:
    """When something is a finding. Counts are of messages of one sender and type."""

    learning: int = 200  # messages before anything is found, and after a change was accepted
    experience: int = 150  # messages that held a position, before news of it can be told
    window: int = 100  # in which a novelty must be confirmed
    confirm_young: int = 8  # messages, as long as fewer than `settled` held the position
    confirm: int = 3  # messages, from then on
    settled: int = 1000
    surge: int = 20  # messages of a window that make a finding of what has been rare
    vanished_share: int = 650  # per mille of the messages that held it, for it to be missed


RULES = DriftRules()


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One change. `was` and `now` are classes, or codes of tables; nothing of a patient."""

    kind: str  # new-segment new-field vanished-field new-code new-format new-length
    position: str  # "ZPI", "PID-8", "OBX-3.2"
    was: str
    now: str
    detail: str  # what tells it from others of its kind there
    count: int  # messages
    examples: tuple[int, ...]  # inbox ids, the first first
    first_seen_at: datetime
    last_seen_at: datetime

    @property
    def novelty(self) -> Novelty:
        """Its key within a profile."""
        return self.kind, self.position, self.detail

    def plus(self, count: int) -> "Finding":
        """The same, of more messages."""
        return replace(self, count=self.count + count)


@dataclass(kw_only=True, slots=True)
class _Sight:
    """A novelty that is being watched, before and after it became a finding."""

    start: int  # the message with which its window begins
    needed: int
    first_at: datetime
    last_at: datetime
    was: str
    now: str
    last: int = 0  # the message that held it last
    count: int = 0  # in this window; of a finding: since it was last told
    total: int = 0
    examples: list[int] = field(default_factory=list)


class Novelties:
    """Those of one profile."""

    def __init__(self, rules: DriftRules) -> None:
        self.rules = rules
        self.findings: list[Finding] = []  # new ones; whoever takes them empties it
        self._candidates: dict[Novelty, _Sight] = {}
        self._found: dict[Novelty, _Sight] = {}
        self._number = 0
        self._at = datetime.min  # noqa: DTZ901  always replaced before it is used

    def begin(self, number: int, at: datetime) -> None:
        """What follows is about this message."""
        self._number, self._at = number, at

    def is_settled(
        self,
        knowledge: Knowledge,
        novelty: Novelty,
        judge: Position,
        *,
        was: str,
        now: str,
        at_once: bool = False,
    ) -> bool:
        """Whether to take a novelty for known: still learning, or told often enough. `judge` is
        the position whose experience decides that."""
        rules = self.rules
        turn = knowledge.messages
        if turn - judge.born <= rules.learning or judge.count < rules.experience:
            return True
        sight = self._found.get(novelty)
        if sight is not None:
            self._see(sight, turn)
            return sight.total >= COUNT_MAX
        sight = self._candidates.get(novelty)
        if sight is None:
            if len(knowledge.rare) >= RARE_MAX:
                return True
            while len(self._candidates) >= CANDIDATES_MAX:
                del self._candidates[next(iter(self._candidates))]
            needed = self._needed(knowledge, novelty, judge, at_once=at_once)
            sight = self._candidates[novelty] = self._sight(turn, needed, was, now)
        elif turn - sight.start >= rules.window:
            knowledge.rare.add(novelty)
            sight = self._candidates[novelty] = self._sight(turn, rules.surge, was, now)
        self._see(sight, turn)
        if sight.count >= sight.needed:
            del self._candidates[novelty]
            knowledge.rare.discard(novelty)
            self._find(novelty, sight)
        return False

    def missed(self, turn: int, name: str, *, examples: Sequence[int], count: int) -> None:
        """A position that nearly all messages held is valued no more."""
        sight = self._sight(turn, 0, "valued", "empty")
        sight.count = sight.total = count
        sight.examples = list(examples)
        self._find(("vanished-field", name, ""), sight)

    def still_missing(self, name: str, count: int) -> None:
        """As many further messages did not hold it."""
        sight = self._found.get(("vanished-field", name, ""))
        if sight is not None:
            sight.count += count
            sight.last_at = self._at

    def returned(self, name: str) -> None:
        """What vanished is there again; its finding stays until somebody has seen it."""
        self._found.pop(("vanished-field", name, ""), None)

    def again(self, knowledge: Knowledge) -> list[Finding]:
        """How often findings came again since the last call."""
        seen = []
        for novelty, sight in list(self._found.items()):
            if sight.count:
                seen.append(_finding(novelty, sight))
                sight.count = 0
            if knows(knowledge.positions, novelty):
                del self._found[novelty]
        return seen

    def forget_known(self, knowledge: Knowledge) -> None:
        """Drops what others have found or accepted meanwhile."""
        for novelty in [n for n in self._candidates if knows(knowledge.positions, n)]:
            del self._candidates[novelty]

    def _needed(
        self, knowledge: Knowledge, novelty: Novelty, judge: Position, *, at_once: bool
    ) -> int:
        if novelty in knowledge.rare:
            return self.rules.surge
        if judge.count < self.rules.settled:
            return self.rules.confirm_young
        return 1 if at_once else self.rules.confirm

    def _sight(self, turn: int, needed: int, was: str, now: str) -> _Sight:
        return _Sight(
            start=turn, needed=needed, first_at=self._at, last_at=self._at, was=was, now=now
        )

    def _see(self, sight: _Sight, turn: int) -> None:
        if sight.last == turn:
            return
        sight.last, sight.last_at = turn, self._at
        sight.count += 1
        sight.total += 1
        if len(sight.examples) < EXAMPLES_MAX:
            sight.examples.append(self._number)

    def _find(self, novelty: Novelty, sight: _Sight) -> None:
        self.findings.append(_finding(novelty, sight))
        sight.count = 0
        self._found[novelty] = sight


def _finding(novelty: Novelty, sight: _Sight) -> Finding:
    kind, position, detail = novelty
    return Finding(
        kind=kind,
        position=position,
        was=sight.was,
        now=sight.now,
        detail=detail,
        count=sight.count,
        examples=tuple(sight.examples),
        first_seen_at=sight.first_at,
        last_seen_at=sight.last_at,
    )
