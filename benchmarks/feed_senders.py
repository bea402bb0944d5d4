"""Senders of a crash campaign, and what each of them knows afterwards.

Each is one system with patients of its own and one connection. It makes messages as it goes: most
are good; some come late, are bad, or use a control id again, with the same content or another. Its
log of answers is what the campaign holds against the store.
"""

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from hashlib import sha256

from chartgate.demo.sender import Ack
from chartgate.testing.messages import adt, header, merge, message, patient, siu

START = datetime(2026, 1, 5, 8)  # noqa: DTZ001  the sender's local time
LATE_BY = timedelta(hours=1)
STAMP, NAME, GIVEN = b"20240102030405", b"|ADT1|", b"^Ada|"  # what the templates hold
BIRTH, NO_BIRTH = b"19800102", b"19801399"
AGAIN_SHARE, COLLISION_SHARE = 0.02, 0.002
REPEATED_FROM = 2_000  # of the last that were acknowledged


class Kind(Enum):
    """What a message is, and so what has to become of it."""

    GOOD = "delivered"
    LATE = "late"  # delivered, and flagged
    UNSUPPORTED = "filtered"
    NOBODY = "nobody"  # quarantined: no PID-3
    BIRTH_DATE = "birth date"  # quarantined: there is no such day


CHANCES = {
    Kind.GOOD: 0.979,
    Kind.LATE: 0.01,
    Kind.UNSUPPORTED: 0.005,
    Kind.NOBODY: 0.003,
    Kind.BIRTH_DATE: 0.003,
}


@dataclass(kw_only=True)
class Sent:
    """One message with a control id of its own."""

    raw: bytes
    kind: Kind
    patients: tuple[str, ...]  # whose order it has to keep: two of a merge
    acknowledged: bool = False

    @property
    def digest(self) -> bytes:
        """SHA-256 of what was sent."""
        return sha256(self.raw).digest()


@dataclass(kw_only=True)
class Sender:
    """One sending system. `messages` gives `count` control ids, and repeats between them."""

    name: str
    patients: tuple[str, ...]
    count: int
    dice: random.Random
    sent: dict[str, Sent] = field(default_factory=dict)  # by control id
    first_acks: list[str] = field(default_factory=list)  # control ids, as they were first taken
    given: dict[str, str] = field(default_factory=dict)  # of each patient, as it has to be
    stamps: dict[str, datetime] = field(default_factory=dict)  # of each patient's last good one
    collisions: set[str] = field(default_factory=set)  # digests
    repeats: int = 0
    answers: Counter[str] = field(default_factory=Counter)
    unexpected: list[str] = field(default_factory=list)

    def messages(self) -> Iterator[bytes]:
        """Made when they are asked for, so that a repeat is of what has been acknowledged."""
        while len(self.sent) < self.count:
            chance = self.dice.random()
            if self.first_acks and chance < AGAIN_SHARE:
                self.repeats += 1
                yield self._acknowledged_before().raw
            elif self.first_acks and chance < AGAIN_SHARE + COLLISION_SHARE:
                yield self._acknowledged_before().raw.replace(b"Testville", b"Otherton")
            else:
                yield self._new()

    def heard(self, ack: Ack) -> None:
        """Notes an answer: AA to what was sent, AE to another content under its control id."""
        self.answers[ack.code] += 1
        sent = self.sent.get(ack.control_id)
        known = sent is not None and ack.digest == sent.digest.hex()
        if sent is None or (ack.code == "AA") != known:
            self.unexpected.append(f"{ack.code} to {ack.control_id}")
        elif not known:
            self.collisions.add(ack.digest)
        elif not sent.acknowledged:
            sent.acknowledged = True
            self.first_acks.append(ack.control_id)

    def _acknowledged_before(self) -> Sent:
        return self.sent[self.dice.choice(self.first_acks[-REPEATED_FROM:])]

    def _new(self) -> bytes:
        number = len(self.sent)
        mrn = self.dice.choice(self.patients)
        kind = self.dice.choices(list(CHANCES), list(CHANCES.values()))[0]
        if mrn not in self.given and kind is Kind.LATE:
            kind = Kind.GOOD  # later than nothing
        at, given = START + timedelta(seconds=number), f"Given{number}"
        about: tuple[str, ...] = () if kind is Kind.NOBODY else (mrn,)
        raw = self._content(kind, f"{number}", mrn)
        if kind is Kind.LATE:
            at = self.stamps[mrn] - LATE_BY
        elif kind is Kind.GOOD:
            if self.dice.random() < 0.003:
                other = self.dice.choice([p for p in self.patients if p != mrn])
                raw, about = merge(f"{number}", mrn=mrn, prior=other), (mrn, other)
            self.given[mrn] = given
            self.stamps.update(dict.fromkeys(about, at))
        raw = raw.replace(STAMP, at.strftime("%Y%m%d%H%M%S").encode())
        raw = raw.replace(NAME, f"|{self.name}|".encode()).replace(GIVEN, f"^{given}|".encode())
        self.sent[f"{number}"] = Sent(raw=raw, kind=kind, patients=about)
        return raw

    def _content(self, kind: Kind, control_id: str, mrn: str) -> bytes:
        if kind is Kind.UNSUPPORTED:
            return message(header("ZZZ^Z01", control_id), patient(mrn))
        if kind is Kind.NOBODY:
            return adt("A08", control_id, mrn="")
        if kind is Kind.BIRTH_DATE:
            return adt("A08", control_id, mrn=mrn).replace(BIRTH, NO_BIRTH)
        if kind is Kind.GOOD and self.dice.random() < 0.1:
            return siu("S12", control_id, mrn=mrn, appointment=f"{self.name}-{control_id}")
        return adt(self.dice.choice(("A01", "A04", "A08")), control_id, mrn=mrn)


def make_senders(*, messages: int, senders: int, patients: int, seed: int) -> list[Sender]:
    """That many, with as many patients and messages each. Same arguments, same senders."""
    each = -(-patients // senders)
    return [
        Sender(
            name=f"APP{number}",
            patients=tuple(f"{number}-{one}" for one in range(each)),
            count=messages // senders + (number < messages % senders),
            dice=random.Random(f"{seed}/{number}"),
        )
        for number in range(senders)
    ]
