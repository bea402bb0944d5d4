"""How many patients an AI client may meet: in an hour, and in one interaction.

Each new patient is counted in the store before the answer leaves, exactly, over all processes. A
patient who was counted a short while ago is not counted again: the client has met them.
"""

from collections.abc import Collection
from datetime import timedelta

from chartgate.errors import Throttled
from chartgate.flows.read_walk import Walk, record, record_denied, with_decision
from chartgate.model.audit import Outcome
from chartgate.store.budgets import BudgetStore

HOUR = timedelta(hours=1)
FOR_EVER = timedelta(days=3650)
COUNT_AGAIN_AFTER = timedelta(minutes=30)  # a patient who is met all the time stays counted
RETRY_AFTER_S = 300.0
SAY_HOUR = "this charter's budget of patients an hour is used up; go on with those you have met"


async def spend(walk: Walk, entity: str, patients: Collection[str]) -> None:
    """Counts these patients. Raises Throttled over the hour's budget, and NotFound for a patient
    whom this interaction may not go on to; each is audited."""
    budgets = walk.charter.budgets
    new = sorted(p for p in patients if _is_new(walk, p))
    if not new:
        return
    most = budgets.get("patients_per_interaction")
    scope = f"interaction:{walk.interaction.id}"
    if most is not None and not await _meet(walk, scope, new, most, FOR_EVER):
        raise await record_denied(walk, entity, reason="other-patient")
    most = budgets.get("patients_per_hour")
    scope = f"{walk.client.agent} charter:{walk.charter.name}"
    if most is not None and not await _meet(walk, scope, new, most, HOUR):
        await record(walk, walk.event(entity, outcome=Outcome.DENIED, reason="patient-budget"))
        raise with_decision(Throttled(SAY_HOUR, retry_after_s=RETRY_AFTER_S), walk)
    for patient in new:
        walk.gate.caches.met.put(_key(walk, patient), walk.at)


async def _meet(walk: Walk, scope: str, patients: list[str], most: int, age: timedelta) -> bool:
    named = [f"{walk.connection}/{patient}" for patient in patients]
    store = BudgetStore(walk.gate.database)
    return await store.meet(scope, named, most=most, since=walk.at - age, now=walk.at)


def _is_new(walk: Walk, patient: str) -> bool:
    met_at = walk.gate.caches.met.get(_key(walk, patient))
    return met_at is None or walk.at - met_at > COUNT_AGAIN_AFTER


def _key(walk: Walk, patient: str) -> tuple[str, str, str, str]:
    bound = "patients_per_interaction" in walk.charter.budgets
    return (
        walk.client.id,
        walk.charter.name,
        f"{walk.connection}/{patient}",
        walk.interaction.id if bound else "",
    )
