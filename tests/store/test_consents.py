"""What was said of patients' consents: copies that only move forward, and the epoch that moves."""

from datetime import timedelta

import orjson
import pytest

from chartgate.model.audit import AuditEvent
from chartgate.store.consents import ConsentStore, Known, Local, forget
from chartgate.store.database import Database
from chartgate.store.governance import current_epoch
from chartgate.testing.clock import FakeClock

EHR, SITE, ANN, BEN = "north-ehr", "north", "Patient/1", "Patient/2"
ONE, TWO = b'{"id":"1"}', b'{"id":"2"}'


class Kept:
    """Keeps what a system said, with the audit event that stands for a change."""

    def __init__(self, database: Database, clock: FakeClock) -> None:
        self.database, self.clock, self.store = database, clock, ConsentStore(database)

    async def say(
        self, *bodies: bytes, patient: str = ANN, ago_s: float = 0, first_counts: bool = False
    ) -> None:
        event = AuditEvent(
            recorded=self.clock(), action="consent.change", agent="process:test", patient=patient
        )
        await self.store.keep(
            EHR,
            patient,
            bodies,
            as_of=self.clock() - timedelta(seconds=ago_s),
            changed=event,
            first_counts=first_counts,
        )

    async def bodies(self, patient: str = ANN) -> tuple[bytes, ...]:
        return (await known_of(self, patient)).bodies

    async def changes(self) -> int:
        rows = await self.database.fetch("SELECT body FROM audit_event WHERE tenant = $1")
        return sum(orjson.loads(row["body"])["action"] == "consent.change" for row in rows)


async def known_of(kept: Kept, patient: str = ANN, *, site: str = SITE) -> Known:
    wanted = (site, EHR, patient)
    return (await kept.store.known([wanted, wanted]))[wanted]


@pytest.fixture
def kept(database: Database, clock: FakeClock) -> Kept:
    return Kept(database, clock)


async def test_patient_of_whom_nothing_was_heard_has_no_time(kept: Kept) -> None:
    known = await known_of(kept)
    assert (known.as_of, known.bodies, known.local) == (None, (), ())


async def test_nothing_said_is_an_answer_too(kept: Kept) -> None:
    await kept.say()
    known = await known_of(kept)
    assert (known.as_of, known.bodies) == (kept.clock(), ())


async def test_same_again_moves_the_time_and_a_difference_the_epoch(kept: Kept) -> None:
    await kept.say(ONE, TWO)
    assert (await current_epoch(kept.database), await kept.changes()) == (0, 0)
    kept.clock.advance(60)
    await kept.say(TWO, ONE)
    known = await known_of(kept)
    assert known.as_of == kept.clock()
    assert (await current_epoch(kept.database), await kept.changes()) == (0, 0)
    await kept.say(ONE)
    assert await kept.bodies() == (ONE,)
    assert (await current_epoch(kept.database) > 0, await kept.changes()) == (True, 1)


async def test_what_was_said_earlier_never_takes_the_place_of_later(kept: Kept) -> None:
    await kept.say(ONE)
    await kept.say(TWO, ago_s=10)
    await kept.say(ONE, ago_s=10)
    known = await known_of(kept)
    assert (known.bodies, known.as_of) == ((ONE,), kept.clock())
    assert (await current_epoch(kept.database), await kept.changes()) == (0, 0)


@pytest.mark.parametrize(("bodies", "changes"), [((ONE,), 1), ((), 0)])
async def test_first_word_counts_where_silence_permitted(
    kept: Kept, bodies: tuple[bytes, ...], changes: int
) -> None:
    await kept.say(*bodies, first_counts=True)
    epoch = await current_epoch(kept.database)
    assert (epoch > 0, await kept.changes()) == (changes > 0, changes)
    await kept.say(*bodies, first_counts=True)
    assert await current_epoch(kept.database) == epoch


@pytest.mark.parametrize(
    "tamper",
    ["UPDATE consent_state SET bodies = '{}'", "UPDATE consent_state SET digest = sha256('x')"],
)
async def test_copy_that_was_altered_here_is_as_if_never_asked(kept: Kept, tamper: str) -> None:
    await kept.say(ONE)
    async with kept.database.bookkeeping() as transaction:
        await transaction.execute(tamper)
    known = await known_of(kept)
    assert (known.as_of, known.bodies) == (None, ())


async def put(kept: Kept, id_: str, body: bytes, *, site: str = SITE) -> None:
    local = Local(
        id=id_, kind="consent", body=body, recorded_by="process:t", recorded_at=kept.clock()
    )
    event = AuditEvent(recorded=kept.clock(), action="consent.import", agent="process:t")
    async with kept.database.change(event) as transaction:
        await kept.store.put_local(transaction, site, ANN, local)


async def test_what_is_recorded_here_is_of_one_site_and_moves_the_epoch(kept: Kept) -> None:
    epochs = [await current_epoch(kept.database)]
    for id_, body in (("a", ONE), ("b", TWO), ("a", TWO)):
        await put(kept, id_, body)
        epochs.append(await current_epoch(kept.database))
    assert epochs == sorted(set(epochs)), "each moved it"
    assert (await known_of(kept)).local == (TWO, TWO)
    assert (await known_of(kept, BEN)).local == ()
    assert [local.id for local in await kept.store.local(SITE, ANN)] == ["a", "b"]
    assert (await known_of(kept, site="south")).local == ()


async def test_patient_who_is_erased_leaves_no_consent(kept: Kept) -> None:
    await kept.say(ONE)
    await kept.say(ONE, patient=BEN)
    await put(kept, "a", ONE)
    event = AuditEvent(recorded=kept.clock(), action="consent.change", agent="process:t")
    async with kept.database.change(event) as transaction:
        await forget(transaction, "main", site=SITE, connections=[EHR], patient=ANN)
    known = await known_of(kept)
    assert (known.as_of, known.local) == (None, ())
    assert await kept.bodies(BEN) == (ONE,)
