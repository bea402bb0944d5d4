"""The invariants of a simulated world, held against what the hospital's journal and chart say.

`at_send` looks at every write as it goes out; `at_rest` at the end, when the weather is calm and
nothing is left to do. Everything is worked out from the outside: the journal, the chart's versions
and the store's rows, with no help from the code that is tested.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import pairwise
from typing import Any

import jsonpatch
import orjson

from chartgate.demo.hospital.journal import MARKER_SYSTEM, Effect
from chartgate.flows.commits import EARLIER_VERSION
from chartgate.model.proposal import Proposal, Status
from chartgate.model.write import Change
from chartgate.store.proposals import ProposalStore
from tests.simulation.network import Sent
from tests.simulation.world import World

REST = frozenset(
    {
        Status.PENDING_REVIEW,
        Status.REJECTED,
        Status.WITHDRAWN,
        Status.HANDED_OFF,
        Status.VERIFIED,
        Status.ROLLED_BACK,
        Status.CLOSED,
        Status.SHADOWED,
    }
)
AT_SEND = """
SELECT p.status, p.decided_by, p.decided_digest = p.content_digest AS decided,
  (SELECT count(*) FROM proposal_attempt a WHERE a.tenant = p.tenant AND a.proposal = p.id
     AND a.direction = $3 AND a.verdict IS NULL) AS attempts,
  EXISTS (SELECT FROM halt h WHERE h.tenant = p.tenant AND h.scope IN ('*', p.charter)) AS halted,
  EXISTS (SELECT FROM charter_stage s WHERE s.tenant = p.tenant AND s.charter = p.charter
     AND s.stage = 'shadow') AS shadowed
FROM proposal p WHERE p.tenant = $1 AND p.id = $2"""
ATTEMPTS = """SELECT proposal::text, direction, verdict FROM proposal_attempt WHERE tenant = $1"""
HANDOFFS = """SELECT proposal::text, status, count(*) AS n FROM handoff WHERE tenant = $1
GROUP BY proposal, status"""
AUDIT = "SELECT action, outcome, body FROM audit_event WHERE tenant = $1 ORDER BY id"


class Broken(AssertionError):
    """An invariant does not hold; the message begins with its number."""


class Checker:
    """Collects what is broken in one world."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.broken: list[str] = []

    def note(self, invariant: str, words: str, proposal: str = "") -> None:
        """Something is broken, of this proposal."""
        self.broken.append(f"{invariant}: {words} {proposal}".rstrip())

    async def at_send(self, sent: Sent) -> None:
        """I3, I6, I10, and intent before effect, for one write on its way out."""
        database = self.world.gate.database
        direction = "rollback" if sent.is_rollback else "commit"
        row = await database.fetch_row(AT_SEND, sent.proposal, direction)
        if row is None:
            self.note("I3", "a write of no proposal")
            return
        wanted = "rolling-back" if sent.is_rollback else "committing"
        if row["status"] != wanted or not row["decided"] or not row["decided_by"]:
            self.note("I3", f"a {direction} was sent while {row['status']}")
        if not row["attempts"]:
            self.note("I3", f"a {direction} was sent without an open intent")
        if row["halted"] or (row["shadowed"] and not sent.is_rollback):
            self.note("I10", f"a {direction} was sent under a halt or in shadow")
        for what in _unguarded(sent):
            self.note("I6", f"{what} went out without a precondition")

    async def at_rest(self) -> None:
        """Everything else, once nothing is left to do."""
        store = ProposalStore(self.world.gate.database)
        proposals = await store.listed(limit=500)
        attempts: dict[tuple[str, str], list[str | None]] = defaultdict(list)
        for row in await self.world.gate.database.fetch(ATTEMPTS):
            attempts[row["proposal"], row["direction"]].append(row["verdict"])
        done = _applied(self.world.session.sent)
        for proposal in proposals:
            commits = done.get((proposal.id, False), [])
            rollbacks = done.get((proposal.id, True), [])
            self._counted(proposal, commits, rollbacks)
            self._told_truly(proposal, commits, rollbacks, attempts)
            if commits and proposal.status in (Status.VERIFIED, Status.ROLLED_BACK):
                self._as_approved(proposal, commits[0])
            if commits and rollbacks:
                self._only_ours_undone(commits[0], rollbacks[0])
        known = {p.id for p in proposals}
        for marker, _ in done:
            if marker not in known:
                self.note("I3", "an effect of no proposal")
        await self._handed_off(proposals)
        await self._audited(proposals, done)

    def _counted(
        self, proposal: Proposal, commits: list[list[Effect]], rollbacks: list[list[Effect]]
    ) -> None:
        if len(commits) > 1:
            self.note("I2", f"written {len(commits)} times", proposal.id)
        if len(rollbacks) > 1:
            self.note("I2", f"taken back {len(rollbacks)} times", proposal.id)
        if proposal.status not in REST:
            self.note("I5", f"stuck as {proposal.status.value}", proposal.id)
        never = (Status.PENDING_REVIEW, Status.REJECTED, Status.WITHDRAWN, Status.SHADOWED)
        if commits and proposal.status in never:
            self.note("I3", f"written, and {proposal.status.value}", proposal.id)

    def _told_truly(
        self,
        proposal: Proposal,
        commits: list[list[Effect]],
        rollbacks: list[list[Effect]],
        attempts: Mapping[tuple[str, str], Sequence[str | None]],
    ) -> None:
        status, reason = proposal.status, proposal.reason or ""
        written = bool(commits) or self._reads_as_sent(proposal, proposal.content.changes)
        undo = proposal.compensation.changes if proposal.compensation else ()
        undone = bool(rollbacks) or self._reads_as_sent(proposal, undo)
        if status in (Status.VERIFIED, Status.ROLLED_BACK) and not written:
            self.note("I4", f"{status.value}, and nothing was written", proposal.id)
        if status is Status.ROLLED_BACK and not undone:
            self.note("I4", "rolled-back, and nothing was taken back", proposal.id)
        if status is Status.VERIFIED and rollbacks:
            self.note("I4", f"verified ({reason}), and it was taken back", proposal.id)
        if "not what was approved" in reason and EARLIER_VERSION not in reason:
            self.note("I4", "called a mismatch, and nothing alters what is written", proposal.id)
        for direction, effects, done in (
            ("commit", commits, written),
            ("rollback", rollbacks, undone),
        ):
            told = attempts.get((proposal.id, direction), ())
            if effects and told and set(told) == {"not-applied"}:
                words = f"each {direction} was called not-applied, and one was applied"
                self.note("I4", words, proposal.id)
            if not done and "applied" in told:
                self.note("I4", f"a {direction} was called applied, and none was", proposal.id)

    def _reads_as_sent(self, proposal: Proposal, changes: Sequence[Change]) -> bool:
        """Whether somebody else, perhaps another proposal, made just these changes to the version
        that they stood on. What creates nothing bears no mark: no history tells whose it was."""
        if not changes or any(c.interaction == "create" for c in changes):
            return False
        for change in changes:
            versions = self.world.app.chart.history(change.reference or "")[::-1]
            pairs = pairwise(versions)
            if not any(_is_made(change, one.resource, two.resource) for one, two in pairs):
                return False
        return True

    def _as_approved(self, proposal: Proposal, effects: Sequence[Effect]) -> None:
        """I4: the versions that we made hold what was approved, and nothing else."""
        changes = proposal.content.changes
        if len(effects) != len(changes):
            self.note("I4", f"{len(effects)} effects of {len(changes)} changes", proposal.id)
            return
        for change, effect in zip(changes, _ordered(changes, effects), strict=True):
            before, after = self._versions(effect)
            if _plain(_intended(change, before)) != _plain(after):
                self.note("I4", f"{effect.reference} is not what was approved", proposal.id)

    def _only_ours_undone(self, commits: list[Effect], rollbacks: list[Effect]) -> None:
        """A rollback finds what we wrote, and so overwrites nobody's edit. Others of our writes
        may have come on top, if they were taken back before."""
        ours = {effect.reference: self._versions(effect)[1] for effect in commits}
        for effect in rollbacks:
            found, _ = self._versions(effect)
            if _plain(found) != _plain(ours.get(effect.reference, {})):
                self.note("I4", f"a rollback overwrote an edit of {effect.reference}")

    def _versions(self, effect: Effect) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        history = {v.number: v for v in self.world.app.chart.history(effect.reference)}
        before = history.get(effect.version - 1)
        after = history.get(effect.version)
        return (before and before.resource) or {}, (after and after.resource) or {}

    async def _handed_off(self, proposals: Sequence[Proposal]) -> None:
        """Work for staff is there once, and only where a proposal says so."""
        found: Counter[tuple[str, bool]] = Counter()
        for row in await self.world.gate.database.fetch(HANDOFFS):
            found[row["proposal"], row["status"] != "closed"] += row["n"]
        for proposal in proposals:
            wanted = int(proposal.status is Status.HANDED_OFF)
            if found[proposal.id, True] != wanted:
                self.note(
                    "I12",
                    f"{found[proposal.id, True]} handoffs, {proposal.status.value}",
                    proposal.id,
                )

    async def _audited(
        self, proposals: Sequence[Proposal], done: Mapping[tuple[str, bool], object]
    ) -> None:
        """I8: each step that counts has its event, once."""
        seen: Counter[tuple[str, str]] = Counter()
        for row in await self.world.gate.database.fetch(AUDIT):
            if row["outcome"] == "success":
                for entity in orjson.loads(row["body"]).get("entities", ()):
                    seen[entity.removeprefix("Proposal/"), row["action"]] += 1
        for proposal in proposals:
            wanted = {
                "proposal.submit": True,
                "proposal.commit": proposal.receipt is not None,
                "proposal.rolled-back": proposal.status is Status.ROLLED_BACK,
            }
            for action, is_wanted in wanted.items():
                if seen[proposal.id, action] != int(is_wanted):
                    self.note("I8", f"{seen[proposal.id, action]} events {action}", proposal.id)
        for marker, is_rollback in done:
            if not seen[marker, "proposal.send-rollback" if is_rollback else "proposal.send"]:
                self.note("I8", "an effect without the event of its sending", marker)


def _applied(sent: Sequence[Sent]) -> dict[tuple[str, bool], list[list[Effect]]]:
    """By proposal and direction: the effects of each request that had any. One that arrived
    twice and acted twice counts twice."""
    found: dict[tuple[str, bool], list[list[Effect]]] = defaultdict(list)
    for one in sent:
        effects = list(one.effects)
        references = Counter(e.reference for e in effects)
        for _ in range(max(references.values(), default=0)):
            share = [e for e in dict.fromkeys(effects) if e.reference in references]
            found[one.proposal, one.is_rollback].append(share)
    return found


def _ordered(changes: Sequence[Change], effects: Sequence[Effect]) -> Iterator[Effect]:
    created = [e for e in effects if e.interaction == "create"]
    others = {e.reference: e for e in effects if e.interaction != "create"}
    for change in changes:
        yield created.pop(0) if change.interaction == "create" else others[change.reference or ""]


def _intended(change: Change, before: Mapping[str, Any]) -> Mapping[str, Any]:
    if change.interaction == "patch":
        with suppress(jsonpatch.JsonPatchException):
            patched: Mapping[str, Any] = jsonpatch.apply_patch(dict(before), list(change.patch))
            return patched
    return change.resource or {}


def _plain(resource: Mapping[str, Any]) -> dict[str, Any]:
    """Without what the hospital sets, and without our mark."""
    plain = {k: v for k, v in resource.items() if k not in ("id", "meta", "identifier")}
    kept = [i for i in resource.get("identifier", ()) if i.get("system") != MARKER_SYSTEM]
    return {**plain, "identifier": kept} if kept else plain


def _is_made(
    change: Change, before: Mapping[str, Any] | None, after: Mapping[str, Any] | None
) -> bool:
    return _plain(_intended(change, before or {})) == _plain(after or {})


def _unguarded(sent: Sent) -> Iterator[str]:
    if sent.path.rstrip("/").endswith("/fhir"):
        for entry in orjson.loads(sent.body)["entry"]:
            request = entry["request"]
            if not (request.get("ifMatch") or request.get("ifNoneExist")):
                yield f"an entry {request['method']}"
        return
    names = {name.lower() for name in sent.headers}
    if not names & {"if-match", "if-none-exist"}:
        yield sent.method
