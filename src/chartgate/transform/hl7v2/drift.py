"""Schema drift: what one sender's messages of one type begin, or cease, to hold.

`Profile.observe` learns from the first messages and then names what is new: a segment, a field or
a component, a code in a table, a format, a length; and what is no longer valued. It sees each
line as a shape (`drift_shapes`), so that one look-up tells that nothing in it is new; only what
was not seen before is taken apart. Presence is counted in every fourth message.
"""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from operator import contains, getitem

from chartgate.formats.hl7v2 import NULL, Message, Segment, Separators
from chartgate.transform.hl7v2.drift_codes import CODES_MAX, code_key, told
from chartgate.transform.hl7v2.drift_novelty import (
    EXAMPLES_MAX,
    RULES,
    DriftRules,
    Finding,
    Novelties,
)
from chartgate.transform.hl7v2.drift_profile import (
    PER_MILLE,
    UNCODED,
    Knowledge,
    Position,
    fresh,
    widen,
)
from chartgate.transform.hl7v2.drift_shapes import (
    FIELD_MAX,
    FREE,
    LINE_MAX,
    format_of,
    is_within,
    length_class,
    lengths_of,
    parts_of,
    shape_of,
    table_of,
)

BLOCK = 32  # messages, after which presence is judged
# A golden ratio apart: a quarter of the messages, in step with no rhythm of a sender's.
GOLDEN, QUARTER = 0x9E3779B1, 1 << 30
LINES_MAX = 64  # shapes of lines, and of a field, that are remembered for each
CODED_TEXTS_MAX = 256
CODES_TOLD_MAX = 12
SAY_UNCODED = "a text that is no code"
NOWHERE: frozenset[str] = frozenset()


class _Wide(dict[bytes, frozenset[str]]):
    """A field of too many shapes to remember: each of them is taken for known, and looked at
    only in the messages of the sample."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name

    def __contains__(self, shape: object) -> bool:
        return True

    def __missing__(self, shape: bytes) -> frozenset[str]:
        return _names(self._name, shape)


class _Watched:
    """What is known of one segment's lines and fields, as it is looked up."""

    __slots__ = ("coded", "fields", "lines", "offset", "wide")

    def __init__(self, name: str) -> None:
        self.offset = 1 if name == "MSH" else 0  # MSH-1 is the separator itself
        self.lines: dict[bytes, frozenset[str]] = {}
        self.fields: list[dict[bytes, frozenset[str]]] = []
        self.wide: set[int] = set()  # indices into `fields`
        self.coded: dict[int, dict[str, tuple[str, ...]]] = {}  # field: its texts, their codes


class Profile:
    """One sender's messages of one type, as one worker sees them."""

    def __init__(self, knowledge: Knowledge | None = None, *, rules: DriftRules = RULES) -> None:
        self.knowledge = knowledge or Knowledge()
        self._rules = rules
        self._novelties = Novelties(rules)
        self._watched: dict[str, _Watched] = {}
        self._sets: dict[frozenset[str], frozenset[str]] = {}  # one copy of each
        self._turn = 0
        self._block: Counter[str] = Counter()
        self._sampled = 0  # messages of this block
        self._missing: set[str] = set()  # positions that the block before did not hold
        self._latest: tuple[int, ...] = ()

    def observe(self, message: Message, *, number: int, at: datetime) -> Sequence[Finding]:
        """What this message proves to have changed; `number` is its inbox id."""
        self.knowledge.messages += 1
        self._turn += 1
        sampled = (self._turn * GOLDEN & 0xFFFFFFFF) < QUARTER
        self._novelties.begin(number, at)
        separators = message.separators
        table = table_of(separators)
        present: set[str] = set()
        for segment in message.segments():
            watched = self._watched.get(segment.name) or self._segment(segment.name)
            if watched is None:
                continue
            line = segment.line
            shape = shape_of(line if len(line) <= LINE_MAX else _cut(line, separators), table)
            names = watched.lines.get(shape)
            if names is None:
                names = self._line(watched, segment, shape, sampled)
            if watched.coded:
                self._codes(watched, segment, separators, sampled)
            if sampled:
                present |= names
        if sampled:
            self._block.update(present)
            self._sampled += 1
            self._latest = (number, *self._latest[: EXAMPLES_MAX - 1])
        if self._turn % BLOCK == 0:
            self._judge_presence()
        if not self._novelties.findings:
            return ()
        found, self._novelties.findings = self._novelties.findings, []
        return found

    def again(self) -> list[Finding]:
        """How often findings came again since the last call, as their `count`."""
        return self._novelties.again(self.knowledge)

    def adopt(self, knowledge: Knowledge) -> None:
        """Goes on with what others know, too: `merged` with what is known here."""
        self.knowledge = knowledge
        self._novelties.forget_known(knowledge)

    def _segment(self, name: str) -> _Watched | None:
        """None while it is a novelty."""
        positions = self.knowledge.positions
        if name not in positions:
            header = positions.get("MSH")
            if header and not self._novelties.is_settled(
                self.knowledge, ("new-segment", name, ""), header, was="absent", now="present"
            ):
                return None
            self._add(name)
        watched = self._watched[name] = _Watched(name)
        return watched

    def _line(
        self, watched: _Watched, segment: Segment, shape: bytes, sampled: bool
    ) -> frozenset[str]:
        """The positions valued in a line whose shape was not seen before, as far as known."""
        shapes = shape.split(b"|")
        fields = watched.fields
        if not fields:
            fields.append({shapes[0]: frozenset({segment.name})})
        while len(fields) < len(shapes):
            fields.append({b"": NOWHERE})
        if not self._are_known(watched, segment, shapes, sampled):
            return _names_in(segment, watched, shapes) if sampled else NOWHERE
        if len(watched.lines) < LINES_MAX:
            names = self._same(NOWHERE.union(*map(getitem, fields, shapes)))
            watched.lines[shape] = names
            return names
        return NOWHERE.union(*map(getitem, fields, shapes)) if sampled else NOWHERE

    def _are_known(
        self, watched: _Watched, segment: Segment, shapes: Sequence[bytes], sampled: bool
    ) -> bool:
        fields = watched.fields
        looked = [i for i in watched.wide if i < len(shapes) and shapes[i]] if sampled else []
        if not all(map(contains, fields, shapes)):
            looked += [i for i, shape in enumerate(shapes) if shape not in fields[i]]
        known = True
        for index in looked:  # each of them, whatever the one before was
            known &= self._field(watched, segment, index, shapes[index])
        return known

    def _field(self, watched: _Watched, segment: Segment, index: int, shape: bytes) -> bool:
        """Looks at a field of a shape that was not seen before. False: it holds a novelty."""
        number = index + watched.offset
        name = f"{segment.name}-{number}"
        if name == "MSH-2":
            watched.fields[index][shape] = NOWHERE
            return True
        position = self._position(name, self.knowledge.positions[segment.name])
        if position is None:
            return False
        if position.codes is not None:
            watched.coded.setdefault(number, {"": ()})
        known = b"~" not in shape or self._format(name, position, "repetitions")
        for component, part, raw in parts_of(shape, segment.raw(number)):
            if component == 1:
                known &= self._part(name, position, part, raw, coded=bool(position.codes))
            else:
                own = f"{name}.{component}"
                inner = self._position(own, position)
                coded = bool(position.codes)  # then this is the code's text or system
                known &= inner is not None and self._part(own, inner, part, raw, coded=coded)
        if known and index not in watched.wide:
            if len(watched.fields[index]) < LINES_MAX:
                watched.fields[index][shape] = self._same(_names(name, shape))
            else:
                watched.wide.add(index)
                watched.fields[index] = _Wide(name)
        return known

    def _position(self, name: str, parent: Position) -> Position | None:
        """None while it is a novelty."""
        position = self.knowledge.positions.get(name)
        if position is not None:
            return position
        novelty = ("new-field", name, "")
        if self._novelties.is_settled(self.knowledge, novelty, parent, was="empty", now="valued"):
            return self._add(name)
        return None

    def _add(self, name: str) -> Position:
        position = self.knowledge.positions[name] = fresh(name)
        if self.knowledge.messages > self._rules.learning:
            position.born = self.knowledge.messages
        return position

    def _part(self, name: str, position: Position, shape: bytes, raw: str, *, coded: bool) -> bool:
        """Format and length of one component. False: one of them is a novelty."""
        form = format_of(shape, raw)
        length = length_class(min(len(shape), FIELD_MAX))
        if coded:  # what changes there, its codes say better
            position.formats.add(form)
            widen(position, length)
            return True
        if not is_within(form, position.formats) and not self._format(name, position, form):
            return False
        slack = 1 if FREE & position.formats else 0
        if position.shortest - slack <= length <= position.longest + slack:
            return True
        known = self._novelties.is_settled(
            self.knowledge,
            ("new-length", name, str(length)),
            position,
            was=lengths_of(position.shortest, position.longest),
            now=lengths_of(length, length),
        )
        if known:
            widen(position, length)
        return known

    def _format(self, name: str, position: Position, form: str) -> bool:
        if form in position.formats:
            return True
        known = self._novelties.is_settled(
            self.knowledge,
            ("new-format", name, form),
            position,
            was=", ".join(sorted(position.formats)),
            now=form,
        )
        if known:
            position.formats.add(form)
        return known

    def _codes(
        self, watched: _Watched, segment: Segment, separators: Separators, sampled: bool
    ) -> None:
        """Looks for new codes in the tables of a line; counts those of the sample."""
        fields = segment.fields
        size = len(fields)
        if not sampled:
            for number, texts in watched.coded.items():
                if number < size and fields[number] not in texts:
                    break
            else:
                return
        for number, texts in list(watched.coded.items()):
            if number >= size:
                continue
            name = f"{segment.name}-{number}"
            codes = self._codes_of(name, fields[number], texts, separators)
            if codes is None:
                del watched.coded[number]
            elif sampled:
                book = self.knowledge.positions[name].codes or {}
                for code in codes:
                    book[code] = book.get(code, 0) + 1

    def _codes_of(
        self, name: str, text: str, texts: dict[str, tuple[str, ...]], separators: Separators
    ) -> tuple[str, ...] | None:
        """The known codes in a field. None: it has turned out to be no table."""
        position = self.knowledge.positions[name]
        if position.codes is None:
            return None
        if text in texts:
            return texts[text]
        known, codes = True, []
        for repetition in text.split(separators.repetition):
            value = repetition.split(separators.component)[0]
            if value in ("", NULL):
                continue
            code = code_key(name[:3], value) or UNCODED
            if code in position.codes:
                codes.append(code)
            elif not self._is_settled_code(name, position, code):
                known = False
            elif code == UNCODED or len(position.codes) == CODES_MAX:
                position.codes = None
                return None
            else:
                position.codes[code] = 0
                codes.append(code)
        if known and len(texts) < CODED_TEXTS_MAX:
            texts[text] = tuple(codes)
        return tuple(codes)

    def _is_settled_code(self, name: str, position: Position, code: str) -> bool:
        codes = position.codes or {}
        shown = sorted({told(one) for one in codes})
        more = f" and {len(codes) - CODES_TOLD_MAX} more" if len(codes) > CODES_TOLD_MAX else ""
        return self._novelties.is_settled(
            self.knowledge,
            ("new-code", name, code),
            position,
            was=", ".join(shown[:CODES_TOLD_MAX]) + more,
            now=SAY_UNCODED if code == UNCODED else told(code),
            at_once=min(codes.values(), default=0) > 1,  # nothing in it is seldom
        )

    def _judge_presence(self) -> None:
        """Finds what nearly all messages held and those of two blocks do not."""
        turn = self.knowledge.messages
        missing = set()
        for name, position in self.knowledge.positions.items():
            held = self._block.get(name, 0)
            if held:
                position.count += held * BLOCK // self._sampled
                self._novelties.returned(name)
            else:
                self._novelties.still_missing(name, BLOCK)
            if (
                not held
                and position.share >= self._rules.vanished_share
                and turn - position.born > self._rules.learning
            ):
                missing.add(name)
                continue
            share = held * PER_MILLE // self._sampled
            position.share = (7 * position.share + share) // 8 if position.as_of else share
            position.as_of = turn
        for name in sorted(missing & self._missing):
            if name.rpartition("." if "." in name else "-")[0] not in missing:
                self._novelties.missed(turn, name, examples=self._latest, count=2 * BLOCK)
            gone = self.knowledge.positions[name]
            gone.share, gone.as_of = 0, turn
        self._missing = missing
        self._block = Counter()
        self._sampled = 0

    def _same(self, names: frozenset[str]) -> frozenset[str]:
        return self._sets.setdefault(names, names)


def _names_in(segment: Segment, watched: _Watched, shapes: Sequence[bytes]) -> frozenset[str]:
    """The positions that a line holds, whatever of their shapes is known."""
    names = set(watched.fields[0][shapes[0]])
    for number, shape in enumerate(shapes[1:], start=1 + watched.offset):
        if shape:
            names |= _names(f"{segment.name}-{number}", shape)
    return frozenset(names)


def _names(name: str, shape: bytes) -> frozenset[str]:
    """The positions that a field of that shape holds."""
    parts = {number for number, _, _ in parts_of(shape, "")}
    return frozenset({name, *(f"{name}.{number}" for number in parts if number > 1)})


def _cut(line: str, separators: Separators) -> str:
    """A long line with the beginning of each field."""
    mark = separators.field
    return mark.join(field[:FIELD_MAX] for field in line.split(mark))
