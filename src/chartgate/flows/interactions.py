"""What an AI client was shown in one interaction, put together again byte for byte."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import orjson

from chartgate.errors import Invalid, NotFound
from chartgate.formats.canonical import digest
from chartgate.gate import Gate
from chartgate.model.audit import AuditEvent
from chartgate.store.disclosures import Disclosed, DisclosureStore
from chartgate.store.interactions import InteractionStore

SHOWN = "as it was shown"
VERDICTS = {
    "": SHOWN,
    "erased": "a part of it was about a patient who has been erased",
    "deleted": "a part of it was deleted when its period was over",
    "damaged": "a part of it is not what was written",
}
SAY_OTHER = "its bytes are not those whose digest stands in the audit entry"
SAY_NO_EVENT = "as it was shown; its audit entry was deleted when its period was over"


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One answer."""

    number: int  # from 1
    event: int  # id of its audit event
    at: datetime
    action: str
    digest: str  # hex
    holds: bool  # all of it is here, and is what the audit entry says
    says: str
    body: bytes | None  # None: a part is gone
    parts: tuple[tuple[str, str, int], ...]  # of resources: digest, what is with it, length


@dataclass(frozen=True, kw_only=True)
class Shown:
    """All answers of an interaction."""

    interaction: str
    client: str
    charter: str
    site: str
    started_at: datetime
    answers: tuple[Answer, ...]


async def show(gate: Gate, id_: str, *, agent: str) -> Shown:
    """Raises Invalid, NotFound. That somebody looks is audited before they see anything."""
    try:
        name = str(UUID(id_))
    except ValueError:
        raise Invalid(f"{id_[:40]!r} is no id of an interaction") from None
    interaction = await InteractionStore(gate.database).get(name)
    if interaction is None:
        raise NotFound(f"there is no interaction {name}")
    event = AuditEvent(
        recorded=gate.clock(), action="interaction.show", agent=agent, site=interaction.site,
        interaction=name, charter=interaction.charter,
    )  # fmt: skip
    async with gate.database.change(event):
        found = await DisclosureStore(gate.database).of_interaction(name)
    return Shown(
        interaction=name,
        client=interaction.client,
        charter=interaction.charter,
        site=interaction.site,
        started_at=interaction.started_at,
        answers=tuple(_answer(number, one) for number, one in enumerate(found, start=1)),
    )


def _answer(number: int, one: Disclosed) -> Answer:
    body = one.answer
    event = orjson.loads(one.event) if one.event is not None else {}
    gone = next((part.gone for part in one.parts if part.gone), "")
    says, holds = VERDICTS[gone], body is not None
    if body is not None and digest(body) != one.digest:
        says, holds = VERDICTS["damaged"], False
    elif body is not None and one.event is None:
        says = SAY_NO_EVENT
    elif body is not None and event.get("disclosed", one.digest.hex()) != one.digest.hex():
        says, holds = SAY_OTHER, False
    return Answer(
        number=number,
        event=one.event_id,
        at=one.recorded,
        action=event.get("action", ""),
        digest=one.digest.hex(),
        holds=holds,
        says=says,
        body=body,
        parts=tuple(
            (part.digest.hex(), part.gone or "here", len(part.body or b""))
            for part in one.parts
            if part.digest is not None
        ),
    )
