"""What a session may know of. One that an EHR opened for a patient knows of that patient's proposals
at that site, and of no others: they are as if they were not there."""

from chartgate.errors import NotFound
from chartgate.gate import Gate
from chartgate.model.principal import Person, Principal
from chartgate.model.proposal import Proposal
from chartgate.store.proposals import SAY_NOT_FOUND, ProposalStore


async def proposal_for(gate: Gate, principal: Principal, id_: str) -> Proposal:
    """The proposal of that id. Raises NotFound where it is of another patient than the session."""
    proposal = await ProposalStore(gate.database).get(id_)
    if not in_context(principal, proposal):
        raise NotFound(SAY_NOT_FOUND)
    return proposal


def is_bound(principal: Principal) -> bool:
    """Whether it is the session of an EHR launch, which is for one patient."""
    return isinstance(principal, Person) and principal.patient is not None


def in_context(principal: Principal, proposal: Proposal) -> bool:
    """Whether this principal's session may know of the proposal, as far as its patient goes."""
    if not isinstance(principal, Person) or principal.patient is None:
        return True
    if proposal.site not in principal.sites:
        return False
    return proposal.patient == principal.patient
