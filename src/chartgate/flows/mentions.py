"""What a proposal names and its AI did not read, looked up for whoever is to decide on it.

A reviewer must know whom they decide about, even where the AI worked from a Task alone. Nothing
is shown that the charter does not list, and the AI client never gets any of it.
"""

import asyncio
from collections.abc import Mapping

import orjson

from chartgate.errors import ChartgateError, Denied
from chartgate.flows.grounds import Grounds, patient_in, touched_by
from chartgate.gate import Gate
from chartgate.model.charter import Charter
from chartgate.model.proposal import Proposal
from chartgate.model.resource import Copy, Resource
from chartgate.policy.minimise import minimise
from chartgate.store.record import RecordStore

MENTIONS_MAX = 12  # lookups for one page


async def mentioned(
    gate: Gate, proposal: Proposal, charter: Charter, grounds: Grounds, *, timeout_s: float
) -> Mapping[str, Resource]:
    """By reference, minimised by the charter: the patient first, then what the changes refer to.

    From the live system, or as the record last knew it; what neither can tell is left out.
    """
    patient = patient_in(proposal.content, grounds.bodies)
    named = dict.fromkeys([*([patient] if patient else []), *touched_by(proposal.content.changes)])
    wanted = [r for r in named if r not in grounds.bodies and r.partition("/")[0] in charter.reads]
    found = await asyncio.gather(
        *(_copy(gate, proposal.connection, r, timeout_s) for r in wanted[:MENTIONS_MAX])
    )
    shown = {copy.reference: _shown(charter, copy) for copy in found if copy}
    return {reference: resource for reference, resource in shown.items() if resource}


async def _copy(gate: Gate, connection: str, reference: str, timeout_s: float) -> Copy | None:
    try:
        async with asyncio.timeout(timeout_s):
            copy = await gate.source(connection).read(reference)
            if isinstance(copy, Copy):
                return copy
    except (ChartgateError, TimeoutError):
        pass
    return await RecordStore(gate.database).current(connection, reference)


def _shown(charter: Charter, copy: Copy) -> Resource | None:
    try:
        return minimise(orjson.loads(copy.body), charter.reads[copy.resource_type])
    except Denied:
        return None
