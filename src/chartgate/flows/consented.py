"""Whether the patients of a proposal let this AI act on what is theirs: asked when it proposes, and
again directly before anything is written, so that a consent that was taken back stops both."""

from collections.abc import Iterable, Mapping

from chartgate.errors import SourceUnreachable
from chartgate.flows.consents import Asked, decide_for
from chartgate.formats.compartment import SOMEBODY, is_unattributed, patients_named
from chartgate.gate import Gate
from chartgate.model.principal import CLIENT_PREFIX
from chartgate.model.proposal import Proposal
from chartgate.model.resource import Resource
from chartgate.policy.consent_question import question_about
from chartgate.policy.labels import labels_of

SAY_NO_CONSENT = "a patient's consent, or the lack of one, stands against this use of AI"
SAY_CANNOT_ASK = "the patients' consents cannot be asked now; try again shortly"
MISSING = "missing"  # the rule of an answer that was a no because not all was known


async def why_not_consented(
    gate: Gate, proposal: Proposal, bodies: Mapping[str, Resource]
) -> str | None:
    """The sentence for a no; None: nobody objects. `bodies` are the resources that the changes
    change, by reference. Raises SourceUnreachable where consents are out of reach, Unavailable."""
    charter = gate.charters.get(proposal.charter)
    at = gate.clock()
    asked: list[Asked] = []
    for resource in _touched(proposal, bodies):
        named = patients_named(resource)
        if is_unattributed(resource, named):
            named = frozenset({SOMEBODY})
        if named:
            question = question_about(
                resource,
                patient="",
                purpose=charter.purpose_of_use,
                actors=frozenset(),
                labels=labels_of(resource, gate.charters.labels),
                at=at,
            )
            asked.append(Asked(patients=named, question=question))
    if not asked:
        return None
    client = proposal.author.removeprefix(CLIENT_PREFIX)
    answers = await decide_for(gate, proposal.site, client, asked, at=at)
    refused = [answer for answer in answers if not answer.permitted]
    if not refused:
        return None
    if all(answer.rule == MISSING for answer in refused):
        raise SourceUnreachable(SAY_CANNOT_ASK)
    return SAY_NO_CONSENT


def _touched(proposal: Proposal, bodies: Mapping[str, Resource]) -> Iterable[Resource]:
    """What is created, and what is changed as it stands."""
    for change in proposal.content.changes:
        if change.resource is not None:
            yield change.resource
        before = bodies.get(change.reference or "")
        if before is not None:
            yield before
