"""Contracts with vendors, while Chartgate runs: one that ends closes at once what the vendor runs
for us (egress door, tokens, notifications), and this says so in the audit, once a state."""

from chartgate.gate import Gate
from chartgate.model.audit import AuditEvent, Outcome
from chartgate.policy.vendors import processors
from chartgate.store.governance import bump_epoch

AGENT = "process:worker"


class ContractWatch:
    """What this worker has told of each vendor."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._told: dict[str, str] = {}

    async def tell_next(self) -> int:
        """Tells of contracts that end soon or have ended, in production; how many were new.
        Raises Unavailable."""
        gate = self._gate
        if not gate.config.production:
            return 0
        told = 0
        for one in processors(gate.config, gate.clock().date()):
            name = one.vendor.name
            if one.state == self._told.get(name, "good"):
                continue
            event = AuditEvent(
                recorded=gate.clock(),
                action="vendor.contract",
                agent=AGENT,
                outcome=Outcome.SUCCESS if one.is_good else Outcome.DENIED,
                reason=one.state,
                details=(("vendor", name), ("contract", one.vendor.contract)),
            )
            async with gate.database.change(event) as transaction:
                if not one.is_good:
                    await bump_epoch(transaction, gate.database.tenant)
            self._told[name] = one.state
            told += 1
        return told
