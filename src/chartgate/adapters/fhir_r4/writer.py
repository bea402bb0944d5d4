"""FHIR writes: each sent once, each with its precondition, each answer given its exact meaning.

Three meanings matter: it was written (a receipt), nothing was written (VersionConflict,
WriteRefused, Throttled, SourceUnreachable), and nobody knows (OutcomeUnknown: read, never repeat).
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

import orjson

from chartgate.adapters.fhir_r4 import compensate
from chartgate.adapters.fhir_r4.bodies import (
    BadAnswer,
    issue_codes,
    meta_version,
    parse_etag,
    parse_location,
    parse_resource,
    reference_of,
)
from chartgate.adapters.fhir_r4.compare import patched
from chartgate.adapters.fhir_r4.dialect import Habits
from chartgate.adapters.fhir_r4.encode import Request, encode_alone, encode_transaction
from chartgate.adapters.fhir_r4.link import Answer, Link
from chartgate.adapters.fhir_r4.preconditions import why_off
from chartgate.adapters.fhir_r4.reader import Reader
from chartgate.adapters.fhir_r4.resolver import created_effects
from chartgate.errors import (
    ChartgateError,
    NotFound,
    OutcomeUnknown,
    SourceUnreachable,
    Throttled,
    VersionConflict,
    WriteRefused,
)
from chartgate.model.ports import LastLook
from chartgate.model.write import Change, Effect, Receipt, Write, create_marks

CONFLICTS = frozenset({409, 412, 423})  # 423: somebody is changing it right now
# Redirects that say "ask there instead": nothing was done. Others may follow what was done.
NOT_HERE = frozenset({301, 307, 308})
GUARD_FAILURES = frozenset({400, 422})  # how servers report a JSON Patch test that fails


class Writer:
    """Writes to one connection."""

    def __init__(
        self, link: Link, reader: Reader, *, depth_max: int, clock: Callable[[], datetime]
    ) -> None:
        self._link = link
        self._reader = reader
        self._depth_max = depth_max
        self._clock = clock

    async def commit(
        self, write: Write, habits: Habits, *, last_look: LastLook | None = None
    ) -> Receipt:
        """As Sink.commit."""
        self._check(write, habits)
        together = len(write.changes) > 1
        changes = tuple([await self._sendable(c, habits, together=together) for c in write.changes])
        marks = create_marks(write)
        if together:
            request = encode_transaction(changes, marks, habits)
        else:
            request = encode_alone(changes[0], marks[0], habits)
        answer = await self._send(request, last_look)
        if not _done(answer.status, together=together):
            return await self._not_done(answer, replace(write, changes=changes), habits)
        # If-None-Exist matched: an earlier request of ours may have got through.
        entries = self._entries(answer, changes) if together else ()
        if together and any(map(_matched, entries, changes)):
            return await self._already_created(write, habits)
        if not together and changes[0].interaction == "create" and answer.status != 201:
            return await self._already_created(write, habits)
        if together:
            effects = tuple(map(self._entry_effect, entries, changes))
        else:
            effects = (self._effect(answer, changes[0]),)
        return Receipt(effects=effects, at=self._clock())

    def _check(self, write: Write, habits: Habits) -> None:
        """Refuses before anything is sent. Raises WriteRefused."""
        name = self._link.name
        if not write.changes:
            raise WriteRefused("a write without changes")
        reason = why_off(name, write, habits)
        if reason:
            raise WriteRefused(reason)
        for change in write.changes:
            if change.interaction != "create" and not change.if_match:
                raise WriteRefused("a write without the version that it stands on")
            if change.interaction == "create" and not compensate.can_undo_create(
                change.resource_type, habits
            ):
                raise WriteRefused(
                    f"creating {change.resource_type} in {name} could not be undone: it has no"
                    f" guarded delete, and its dialect names no status that stands in for one"
                )

    async def _sendable(self, change: Change, habits: Habits, *, together: bool) -> Change:
        """A patch becomes an update where the system cannot take it as a guarded patch."""
        if change.interaction != "patch":
            return change
        as_patch = habits.holds("patch_in_transaction") if together else habits.patch_guard != "put"
        if as_patch:
            return change
        assert change.reference is not None
        try:
            current = await self._reader.current(change.reference)
        except NotFound:
            raise VersionConflict(f"{change.resource_type} is gone since it was read") from None
        if current.version != change.if_match:
            raise VersionConflict(f"{change.resource_type} changed since it was read")
        resource = patched(orjson.loads(current.body), change.patch)
        if resource is None:
            raise WriteRefused("the patch does not apply to the resource as it stands")
        return replace(change, interaction="update", resource=resource, patch=())

    async def _send(self, request: Request, last_look: LastLook | None) -> Answer:
        return await self._link.write(
            request.method,
            request.path,
            headers=request.headers,
            body=request.body,
            last_look=last_look,
        )

    def _effect(self, answer: Answer, change: Change) -> Effect:
        """What one request did. Raises OutcomeUnknown if the answer does not name the version."""
        if change.interaction == "delete":
            assert change.reference is not None
            return Effect(
                reference=change.reference, version_before=change.if_match, version_after=None
            )
        if answer.status == 304:  # some servers make no new version if nothing changes
            return _unchanged(change)
        located = parse_location(
            answer.headers.get("Location") or answer.headers.get("Content-Location")
        )
        version = parse_etag(answer.headers.get("ETag")) or (located[1] if located else None)
        reference = change.reference or (located[0] if located else None)
        if version is None or reference is None:
            try:
                resource = parse_resource(answer.body, depth_max=self._depth_max)
                reference = reference or reference_of(resource)
                version = version or meta_version(resource)
            except BadAnswer as error:
                raise self._unknown(str(error)) from None
        if version is None:
            raise self._unknown("the answer names no version")
        return Effect(reference=reference, version_before=change.if_match, version_after=version)

    def _entries(self, answer: Answer, changes: tuple[Change, ...]) -> tuple[dict[str, Any], ...]:
        """The entries of a transaction's answer, one a change. Raises OutcomeUnknown."""
        try:
            bundle = parse_resource(answer.body, depth_max=self._depth_max)
        except BadAnswer as error:
            raise self._unknown(str(error)) from None
        entries = bundle.get("entry")
        if not isinstance(entries, list) or len(entries) != len(changes):
            raise self._unknown("not as many entries as were sent")
        return tuple(entry if isinstance(entry, dict) else {} for entry in entries)

    def _entry_effect(self, entry: dict[str, Any], change: Change) -> Effect:
        response = _response(entry)
        status = _entry_status(entry)
        if status == "304" and change.interaction != "create":
            return _unchanged(change)
        # A system that takes a transaction for a batch answers each entry by itself.
        if not status.startswith("2"):
            raise self._unknown(f"an entry was answered with {status or 'nothing'}")
        if change.interaction == "delete":
            assert change.reference is not None
            return Effect(
                reference=change.reference, version_before=change.if_match, version_after=None
            )
        located = parse_location(_text(response.get("location")))
        resource = entry.get("resource")
        version = (
            parse_etag(_text(response.get("etag")))
            or (located[1] if located else None)
            or (meta_version(resource) if isinstance(resource, dict) else None)
        )
        reference = change.reference or (located[0] if located else None)
        if version is None or reference is None:
            raise self._unknown("an entry names no version")
        return Effect(reference=reference, version_before=change.if_match, version_after=version)

    async def _not_done(self, answer: Answer, write: Write, habits: Habits) -> Receipt:
        """A definite no, unless an earlier request of ours has done it already."""
        status = answer.status
        detail = f"HTTP {status}: {issue_codes(answer.body)}"
        if status == 202 or (300 <= status < 400 and status not in NOT_HERE):
            raise self._unknown(detail)
        if status in CONFLICTS and any(c.interaction == "create" for c in write.changes):
            # The marks are ours alone: what bears them is an earlier request of ours, come late.
            effects = await self._earlier_effects(write, habits)
            if effects is not None:
                return Receipt(effects=effects, at=self._clock(), resolved=True)
            if not habits.holds("read_your_writes"):
                raise self._unknown(f"{detail}, and what we wrote may be seen late")
        if status in CONFLICTS or (
            status in GUARD_FAILURES and await self._guard_failed(write, habits)
        ):
            raise VersionConflict(
                f"the chart in {self._link.name} changed since it was read; nothing was written",
                operator_detail=detail,
            )
        raise WriteRefused(
            f"{self._link.name} refused the write{_advice(status)}; nothing was written",
            operator_detail=detail,
        )

    async def _already_created(self, write: Write, habits: Habits) -> Receipt:
        """The receipt of an earlier request of ours that got through."""
        effects = await self._earlier_effects(write, habits)
        if effects is None and not habits.holds("read_your_writes"):
            raise self._unknown("it exists already, and what we wrote may be seen late")
        if effects is None:
            raise WriteRefused(
                f"{self._link.name} says that this exists already, but shows nothing of ours;"
                f" run `chartgate probe {self._link.name}`"
            )
        return Receipt(effects=effects, at=self._clock(), resolved=True)

    async def _earlier_effects(self, write: Write, habits: Habits) -> tuple[Effect, ...] | None:
        """What an earlier request of ours created; not being able to read is not knowing."""
        try:
            return await created_effects(self._reader, write, habits)
        except (SourceUnreachable, Throttled, NotFound) as error:
            raise self._unknown(error.operator_detail or str(error)) from error

    async def _guard_failed(self, write: Write, habits: Habits) -> bool:
        """Whether a refusal comes from a failing test of the version, told by reading."""
        tested = habits.patch_guard == "test" or len(write.changes) > 1
        for change in write.changes:
            if change.interaction == "patch" and tested:
                assert change.reference is not None
                try:
                    current = await self._reader.current(change.reference)
                except NotFound:
                    return True
                except ChartgateError:
                    return False  # refused all the same; only the reason stays open
                if current.version != change.if_match:
                    return True
        return False

    def _unknown(self, detail: str) -> OutcomeUnknown:
        return OutcomeUnknown(
            f"{self._link.name} did not say what became of the write", operator_detail=detail
        )


def _done(status: int, *, together: bool) -> bool:
    return (200 <= status < 300 and status != 202) or (status == 304 and not together)


def _unchanged(change: Change) -> Effect:
    assert change.reference is not None
    return Effect(
        reference=change.reference,
        version_before=change.if_match,
        version_after=change.if_match,
    )


def _response(entry: dict[str, Any]) -> dict[str, Any]:
    response = entry.get("response")
    return response if isinstance(response, dict) else {}


def _entry_status(entry: dict[str, Any]) -> str:
    return str(_response(entry).get("status", ""))[:3]


def _matched(entry: dict[str, Any], change: Change) -> bool:
    return change.interaction == "create" and _entry_status(entry) in ("200", "304")


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _advice(status: int) -> str:
    advice: Mapping[int, str] = {
        401: ": our token does not hold; check the credential in chartgate.toml",
        403: ": our client lacks the right to do this there",
        404: ": the resource is not there",
        405: ": it does not support this kind of write",
        410: ": the resource was deleted",
        413: ": it is too large",
        422: ": it breaks a rule of that system",
    }
    if status in NOT_HERE:
        return ": it answers by a redirect; check url in chartgate.toml"
    return advice.get(status, "")
