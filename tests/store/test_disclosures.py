"""What was shown, kept with its audit event and put together again byte for byte."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chartgate.formats.canonical import canonical_bytes, digest
from chartgate.model.audit import AuditEvent
from chartgate.model.disclosure import Piece, Shown
from chartgate.model.interaction import Interaction
from chartgate.store.audit import AuditWriter
from chartgate.store.database import Database
from chartgate.store.disclosures import DisclosureStore

AT = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
EHR = "north-ehr"


def piece(name: str, patient: str | None) -> Piece:
    body = canonical_bytes({"resourceType": "Patient", "name": name})
    return Piece(digest=digest(body), body=body, patient=patient)


def bundle(*pieces: Piece) -> Shown:
    """As a search answers."""
    parts: list[bytes | Piece] = [b'{"entry":[']
    for number, one in enumerate(pieces):
        parts += [b',{"resource":' if number else b'{"resource":', one, b"}"]
    return Shown(connection=EHR, pieces=(*parts, b"]}"))


def event(interaction: str, *, after_s: float = 0) -> AuditEvent:
    return AuditEvent(
        recorded=AT + timedelta(seconds=after_s),
        action="fhir.read",
        agent="client:x",
        interaction=interaction,
    )


@pytest.fixture
async def writer(database: Database) -> AsyncIterator[AuditWriter]:
    started = AuditWriter(database)
    await started.start()
    yield started
    await started.close()


@pytest.fixture
def store(database: Database) -> DisclosureStore:
    return DisclosureStore(database)


def opened(id_: str) -> Interaction:
    return Interaction(id=id_, client="x", charter="c", site="s", started_at=AT)


async def show(writer: AuditWriter, *answers: Shown) -> str:
    """All in one interaction, whose id is given back."""
    id_ = str(uuid4())
    for number, shown in enumerate(answers):
        await writer.record(event(id_, after_s=number), disclosed=shown, opened=opened(id_))
    return id_


async def count(database: Database, table: str) -> int:
    found: int = await database.fetch_value(
        f"SELECT count(*) FROM {table} WHERE tenant = $1"  # noqa: S608 - the test's own words
    )
    return found


async def test_answer_when_put_together_again_is_the_same_bytes(
    writer: AuditWriter, store: DisclosureStore
) -> None:
    ada, ben = piece("Ada", "Patient/1"), piece("Ben", "Patient/2")
    answers = (Shown(connection=EHR, pieces=(ada,)), bundle(ada, ben), bundle())
    found = await store.of_interaction(await show(writer, *answers))
    assert [one.answer for one in found] == [shown.answer for shown in answers]
    assert [one.digest for one in found] == [digest(shown.answer) for shown in answers]
    assert all(one.event is not None and b"fhir.read" in one.event for one in found)


async def test_repeated_read_adds_one_frame_and_no_body(
    writer: AuditWriter, database: Database
) -> None:
    ada = Shown(connection=EHR, pieces=(piece("Ada", "Patient/1"),))
    await show(writer, ada, ada, ada)
    assert await count(database, "disclosure") == 1
    assert await count(database, "disclosure_frame") == 3


async def test_body_shown_by_another_process_is_kept_once(
    writer: AuditWriter, database: Database
) -> None:
    ada = Shown(connection=EHR, pieces=(piece("Ada", "Patient/1"),))
    await show(writer, ada)
    other = AuditWriter(database)
    await other.start()
    await show(other, ada)
    await other.close()
    assert await count(database, "disclosure") == 1


async def test_nothing_that_was_shown_lies_open_in_the_store(
    writer: AuditWriter, database: Database
) -> None:
    ada = piece("Lovelace", "Patient/1")
    searched = Shown(connection=EHR, pieces=(b'{"url":"?name=Lovelace"}', ada))
    await show(writer, Shown(connection=EHR, pieces=(ada,)), searched, bundle())
    for query in (
        "SELECT body FROM disclosure WHERE tenant = $1",
        "SELECT frame AS body FROM disclosure_frame WHERE tenant = $1",
    ):
        rows = await database.fetch(query)
        assert rows
        assert not [row for row in rows if b"Lovelace" in row["body"]]


async def test_two_equal_events_in_one_batch_each_have_their_frame(
    writer: AuditWriter, store: DisclosureStore
) -> None:
    id_ = str(uuid4())
    shown = [Shown(connection=EHR, pieces=(piece(n, "Patient/1"),)) for n in ("a", "b", "a")]
    await asyncio.gather(*(writer.record(event(id_), disclosed=s) for s in shown))
    found = await store.of_interaction(id_)
    assert len({one.event_id for one in found}) == 3
    assert sorted(one.answer or b"" for one in found) == sorted(s.answer for s in shown)


async def test_patient_whose_key_is_gone_says_erased_and_the_others_stay(
    writer: AuditWriter, store: DisclosureStore, database: Database
) -> None:
    ada, ben = piece("Ada", "Patient/1"), piece("Ben", "Patient/2")
    id_ = await show(writer, Shown(connection=EHR, pieces=(ada,)), bundle(ada, ben))
    await delete_key(database, "Patient/1")
    alone, both = await store.of_interaction(id_)
    assert [part.gone for part in alone.parts] == ["erased"]
    assert alone.answer is both.answer is None
    assert [part.gone for part in both.parts if part.digest] == ["erased", ""]
    assert ben.body in [part.body for part in both.parts]


async def test_body_about_somebody_erased_meanwhile_is_not_kept(
    writer: AuditWriter, store: DisclosureStore, database: Database
) -> None:
    """The process still holds the key in its memory; the statement looks for itself."""
    await show(writer, Shown(connection=EHR, pieces=(piece("Ada", "Patient/1"),)))
    await delete_key(database, "Patient/1")
    id_ = await show(writer, Shown(connection=EHR, pieces=(piece("Eva", "Patient/1"),)))
    assert await count(database, "disclosure") == 1
    [one] = await store.of_interaction(id_)
    assert one.answer is None


async def test_changed_byte_is_found(
    writer: AuditWriter, store: DisclosureStore, database: Database
) -> None:
    id_ = await show(writer, Shown(connection=EHR, pieces=(piece("Ada", "Patient/1"),)))
    async with database.bookkeeping() as transaction:
        changed = "UPDATE disclosure SET body = set_byte(body, 30, get_byte(body, 30) # 1)"
        await transaction.execute(changed)
    [one] = await store.of_interaction(id_)
    assert [part.gone for part in one.parts] == ["damaged"]


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.lists(
        st.lists(
            st.one_of(
                st.text(max_size=20).map(str.encode),
                st.tuples(st.text(max_size=8), st.sampled_from(["Patient/1", "Patient/2", None])),
            ),
            max_size=6,
        ),
        min_size=1,
        max_size=4,
    )
)
async def test_any_answer_comes_back_as_it_was(
    writer: AuditWriter,
    store: DisclosureStore,
    answers: Sequence[Sequence[bytes | tuple[str, str | None]]],
) -> None:
    made = [
        Shown(
            connection=EHR,
            pieces=tuple(p if isinstance(p, bytes) else piece(*p) for p in pieces),
        )
        for pieces in answers
    ]
    found = await store.of_interaction(await show(writer, *made))
    assert [one.answer for one in found] == [shown.answer for shown in made]


async def delete_key(database: Database, patient: str) -> None:
    async with database.bookkeeping() as transaction:
        query = "DELETE FROM patient_key WHERE patient = $1"
        assert await transaction.execute(query, patient) == "DELETE 1"
