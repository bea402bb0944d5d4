"""The probe: tries each line of a dialect on the live system, and believes only what it reads.

It writes Tasks of its own, marked as probes and about nobody, and removes them at the end,
whatever happened; what cannot be deleted is left as entered-in-error.
"""

import base64
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any
from uuid import uuid4

import orjson

from chartgate.adapters.fhir_r4.bodies import parse_location, write_etag
from chartgate.adapters.fhir_r4.dialect import PROBED
from chartgate.adapters.fhir_r4.encode import JSON_PATCH, REPRESENTATION
from chartgate.adapters.fhir_r4.link import FHIR_JSON, Answer, Link
from chartgate.adapters.fhir_r4.marks import MARKER_SYSTEM, bears_marker
from chartgate.adapters.fhir_r4.reader import Reader, ReadRefused
from chartgate.errors import ChartgateError, NotFound, OutcomeUnknown, SourceUnreachable
from chartgate.model.resource import Copy, NotModified, Resource
from chartgate.model.verdict import Verdict

PROBE_TYPE = "Task"
REFUSALS = frozenset({400, 409, 412, 422, 428})
HISTORY_MAX = 20


class Trial:
    """One run of the probe."""

    def __init__(self, link: Link, reader: Reader, report: Callable[[Verdict], None]) -> None:
        self._link = link
        self._reader = reader
        self._report = report
        self._run_id = f"probe-{uuid4()}"
        self._marks = 0
        self._made: list[str] = []
        self._verdicts: dict[str, Verdict] = {}
        self._failures: list[str] = []

    async def run(self) -> tuple[Verdict, ...]:
        """All verdicts, in the order of the dialect's lines."""
        try:
            for step in self._steps():
                try:
                    await step()
                except (OutcomeUnknown, ReadRefused) as error:
                    # A 5xx to one kind of write, or a search that is refused, says that this does
                    # not work here, no more.
                    self._failures.append(f"{step.__name__[1:]}: {error.operator_detail}")
        finally:
            await self._clean_up()
        for line in PROBED:
            if line not in self._verdicts:
                detail = "could not be tried; " + "; ".join(self._failures)
                self._say(line, holds=False, detail=detail)
        return tuple(self._verdicts[line] for line in PROBED)

    def _steps(self) -> tuple[Callable[[], Awaitable[None]], ...]:
        return (
            self._try_create,
            self._try_put,
            self._try_patch,
            self._try_patch_test,
            self._try_history,
            self._try_transaction,
            self._try_create_in_transaction,
            self._try_patch_in_transaction,
            self._try_delete,
            self._try_delete_in_transaction,
        )

    async def _try_create(self) -> None:
        mark = self._mark()
        answer = await self._create(mark)
        if answer.status != 201:
            raise SourceUnreachable(
                f"{self._link.name} does not let us create a {PROBE_TYPE}, and so cannot be probed",
                operator_detail=f"HTTP {answer.status}",
            )
        made = self._note_made(answer)
        copy = await self._seen(made)
        self._say("etag_present", holds=bool(copy and copy.version), detail="create, then read")
        found = await self._found(mark)
        kept = copy is not None and bears_marker(orjson.loads(copy.body), mark)
        self._say(
            "marker_survives",
            holds=kept and found == [made],
            detail=f"kept on save: {kept}; found by search: {len(found)}",
        )
        self._say("read_your_writes", holds=copy is not None and made in found, detail="at once")
        again = await self._create(mark)
        second = parse_location(again.headers.get("Location"))
        if again.status == 201 and second:
            self._made.append(second[0])
        matching = await self._found(mark)
        self._say(
            "if_none_exist",
            holds=again.status in (200, 304) and matching == [made],
            detail=f"second create: HTTP {again.status}; matches: {len(matching)}",
        )
        if copy is not None and copy.version:
            told = await self._reader.read(made, if_none_match=copy.version)
            held = isinstance(told, NotModified)
            self._say("conditional_read", holds=held, detail="If-None-Match")

    async def _try_put(self) -> None:
        first = await self._make()
        good = await self._put(first, first.version, "put-good")
        second = await self._seen(first.reference)
        moved = second is not None and second.version not in ("", first.version)
        if not moved:
            self._say("etag_present", holds=False, detail="a change does not change the version")
        worked = good.status in (200, 201) and _text_of(second) == "put-good"
        stale = await self._put(first, first.version, "put-stale")
        third = await self._seen(first.reference)
        refused = stale.status in REFUSALS and _text_of(third) == "put-good"
        self._say(
            "if_match_on_put",
            holds=worked and moved and refused,
            detail=f"good: HTTP {good.status}; stale: HTTP {stale.status}, refused: {refused}",
        )

    async def _try_patch(self) -> None:
        first = await self._make()
        good = await self._patch(first, [_say_text("patch-good")], if_match=first.version)
        second = await self._seen(first.reference)
        worked = good.status == 200 and _text_of(second) == "patch-good"
        stale = await self._patch(first, [_say_text("patch-stale")], if_match=first.version)
        third = await self._seen(first.reference)
        refused = stale.status in REFUSALS and _text_of(third) == "patch-good"
        self._say(
            "if_match_on_patch",
            holds=worked and refused,
            detail=f"good: HTTP {good.status}; stale: HTTP {stale.status}, refused: {refused}",
        )

    async def _try_patch_test(self) -> None:
        first = await self._make()
        guard = _version_test(first.version)
        good = await self._patch(first, [guard, _say_text("test-good")], if_match=None)
        second = await self._seen(first.reference)
        worked = good.status == 200 and _text_of(second) == "test-good"
        stale = await self._patch(first, [guard, _say_text("test-stale")], if_match=None)
        third = await self._seen(first.reference)
        refused = 400 <= stale.status < 500 and _text_of(third) == "test-good"
        self._say(
            "patch_test",
            holds=worked and refused,
            detail=f"good: HTTP {good.status}; failing: HTTP {stale.status}, refused: {refused}",
        )

    async def _try_history(self) -> None:
        first = await self._make()
        await self._put(first, first.version, "history")
        second = await self._seen(first.reference)
        try:
            versions = await self._reader.history(first.reference, count_max=HISTORY_MAX)
        except ChartgateError as error:
            self._say("history", holds=False, detail=error.operator_detail or str(error))
            return
        told = [version.version for version in versions]
        expected = [second.version if second else "", first.version]
        self._say("history", holds=told == expected, detail=f"{len(told)} versions of 2 told")

    async def _try_transaction(self) -> None:
        left, right = await self._make(), await self._make()
        good = await self._transact(
            _put_entry(left, left.version, "tx-good"), _put_entry(right, right.version, "tx-good")
        )
        lefts, rights = await self._seen(left.reference), await self._seen(right.reference)
        worked = good.status == 200 and (_text_of(lefts), _text_of(rights)) == ("tx-good",) * 2
        if not worked or lefts is None:
            detail = f"two good updates: HTTP {good.status}"
            self._say("transaction_atomic", holds=False, detail=detail)
            self._say("if_match_in_transaction", holds=False, detail=detail)
            return
        stale = await self._transact(
            _put_entry(lefts, lefts.version, "tx-stale"),
            _put_entry(right, right.version, "tx-stale"),
        )
        lefts, rights = await self._seen(left.reference), await self._seen(right.reference)
        minded = _text_of(rights) == "tx-good"
        whole = _text_of(lefts) == "tx-good"
        self._say("if_match_in_transaction", holds=minded, detail=f"HTTP {stale.status}")
        self._say(
            "transaction_atomic",
            holds=minded and whole and stale.status >= 400,
            detail=f"HTTP {stale.status}; the good entry was held back too: {whole}",
        )

    async def _try_create_in_transaction(self) -> None:
        mark = self._mark()
        self._note_made(await self._create(mark))
        entry = {
            "fullUrl": uuid4().urn,
            "resource": self._task("tx-create", mark),
            "request": {"method": "POST", "url": PROBE_TYPE, "ifNoneExist": _criteria(mark)},
        }
        other = await self._make()
        answer = await self._transact(entry, _put_entry(other, other.version, "tx-beside"))
        matching = await self._found(mark)
        self._made.extend(reference for reference in matching if reference not in self._made)
        self._say(
            "if_none_exist_in_transaction",
            holds=answer.status == 200 and len(matching) == 1,
            detail=f"HTTP {answer.status}; matches: {len(matching)}",
        )

    async def _try_patch_in_transaction(self) -> None:
        left, right = await self._make(), await self._make()
        good = await self._transact(
            _patch_entry(left, left.version, "txp-good"), _put_entry(right, right.version, "txp")
        )
        worked = good.status == 200 and _text_of(await self._seen(left.reference)) == "txp-good"
        beside = await self._seen(right.reference)
        stale = await self._transact(
            _patch_entry(left, left.version, "txp-stale"),
            _put_entry(right, beside.version if beside else "", "txp-beside"),
        )
        refused = _text_of(await self._seen(left.reference)) == "txp-good"
        self._say(
            "patch_in_transaction",
            holds=worked and refused and stale.status >= 400,
            detail=f"good: HTTP {good.status}; stale: HTTP {stale.status}, refused: {refused}",
        )

    async def _try_delete(self) -> None:
        first = await self._make()
        await self._put(first, first.version, "delete")
        second = await self._seen(first.reference)
        stale = await self._delete(first.reference, first.version)
        third = await self._seen(first.reference)
        good = await self._delete(first.reference, second.version if second else None)
        gone = await self._seen(first.reference) is None
        deleted = good.status in (200, 204) and gone
        self._say("delete", holds=deleted, detail=f"HTTP {good.status}")
        self._say(
            "if_match_on_delete",
            holds=deleted and stale.status in REFUSALS and third is not None,
            detail=f"stale: HTTP {stale.status}",
        )

    async def _try_delete_in_transaction(self) -> None:
        left, right = await self._make(), await self._make()
        await self._put(left, left.version, "txd")
        stale = await self._transact(
            _delete_entry(left, left.version), _put_entry(right, right.version, "txd")
        )
        kept = await self._seen(left.reference)
        beside = await self._seen(right.reference)
        good = await self._transact(
            _delete_entry(left, kept.version if kept else ""),
            _put_entry(right, beside.version if beside else "", "txd-good"),
        )
        gone = await self._seen(left.reference) is None
        self._say(
            "delete_in_transaction",
            holds=kept is not None and stale.status >= 400 and good.status == 200 and gone,
            detail=f"stale: HTTP {stale.status}; good: HTTP {good.status}",
        )

    async def _clean_up(self) -> None:
        if len(self._made) < self._marks:
            await self._find_lost()
        for reference in self._made:
            try:
                with suppress(OutcomeUnknown):
                    await self._delete(reference, None)
                copy = await self._seen(reference)
                if copy is not None:
                    resource = {**orjson.loads(copy.body), "status": "entered-in-error"}
                    await self._write("PUT", reference, FHIR_JSON, resource, copy.version)
            except ChartgateError:
                continue  # it is marked as a probe; the next thing may still be removed

    async def _find_lost(self) -> None:
        """Adds what was made while its answer got lost."""
        for number in range(1, self._marks + 1):
            try:
                found = await self._found(f"{self._run_id}.{number}")
            except ChartgateError:
                continue  # as above
            self._made.extend(reference for reference in found if reference not in self._made)

    def _mark(self) -> str:
        self._marks += 1
        return f"{self._run_id}.{self._marks}"

    def _task(self, text: str, mark: str) -> Resource:
        return {
            "resourceType": PROBE_TYPE,
            "identifier": [{"system": MARKER_SYSTEM, "value": mark}],
            "status": "draft",
            "intent": "proposal",
            "description": text,
            "note": [{"text": "Made by `chartgate probe`, about nobody. It may be deleted."}],
        }

    async def _make(self) -> Copy:
        """A fresh Task to try things on."""
        made = self._note_made(await self._create(self._mark()))
        copy = await self._seen(made)
        if copy is None:
            raise OutcomeUnknown("made, but not there", operator_detail="made, but not there")
        return copy

    def _note_made(self, answer: Answer) -> str:
        located = parse_location(answer.headers.get("Location"))
        if located is None:
            try:
                located = (f"{PROBE_TYPE}/{orjson.loads(answer.body)['id']}", None)
            except (orjson.JSONDecodeError, KeyError, TypeError):
                raise SourceUnreachable(f"{self._link.name} does not say what it created") from None
        self._made.append(located[0])
        return located[0]

    async def _create(self, mark: str) -> Answer:
        headers = {**REPRESENTATION, "Content-Type": FHIR_JSON, "If-None-Exist": _criteria(mark)}
        body = orjson.dumps(self._task("made", mark))
        return await self._link.write("POST", PROBE_TYPE, headers=headers, body=body)

    async def _put(self, copy: Copy, if_match: str, text: str) -> Answer:
        resource = {**orjson.loads(copy.body), "description": text}
        return await self._write("PUT", copy.reference, FHIR_JSON, resource, if_match)

    async def _patch(
        self, copy: Copy, operations: list[dict[str, Any]], *, if_match: str | None
    ) -> Answer:
        return await self._write("PATCH", copy.reference, JSON_PATCH, operations, if_match)

    async def _delete(self, reference: str, if_match: str | None) -> Answer:
        headers = {"If-Match": write_etag(if_match)} if if_match else {}
        return await self._link.write("DELETE", reference, headers=headers, body=None)

    async def _write(
        self, method: str, path: str, content_type: str, body: Any, if_match: str | None
    ) -> Answer:
        headers = {**REPRESENTATION, "Content-Type": content_type}
        if if_match:
            headers["If-Match"] = write_etag(if_match)
        return await self._link.write(method, path, headers=headers, body=orjson.dumps(body))

    async def _transact(self, *entries: Mapping[str, Any]) -> Answer:
        bundle = {"resourceType": "Bundle", "type": "transaction", "entry": list(entries)}
        return await self._write("POST", "", FHIR_JSON, bundle, None)

    async def _seen(self, reference: str) -> Copy | None:
        try:
            return await self._reader.current(reference)
        except NotFound:
            return None

    async def _found(self, mark: str) -> list[str]:
        criteria = [("identifier", f"{MARKER_SYSTEM}|{mark}")]
        page = await self._reader.search(PROBE_TYPE, criteria, count_max=10)
        return [c.reference for c in page.copies if bears_marker(orjson.loads(c.body), mark)]

    def _say(self, line: str, *, holds: bool, detail: str) -> None:
        known = self._verdicts.get(line)
        if known is not None and not known.holds:
            return  # what failed once does not hold
        verdict = Verdict(line=line, holds=holds, detail=detail)
        self._verdicts[line] = verdict
        self._report(verdict)


def _criteria(mark: str) -> str:
    return f"identifier={MARKER_SYSTEM}|{mark}"


def _say_text(text: str) -> dict[str, Any]:
    return {"op": "replace", "path": "/description", "value": text}


def _version_test(version: str) -> dict[str, Any]:
    return {"op": "test", "path": "/meta/versionId", "value": version}


def _text_of(copy: Copy | None) -> str | None:
    return orjson.loads(copy.body).get("description") if copy is not None else None


def _put_entry(copy: Copy, if_match: str, text: str) -> dict[str, Any]:
    return {
        "resource": {**orjson.loads(copy.body), "description": text},
        "request": {"method": "PUT", "url": copy.reference, "ifMatch": write_etag(if_match)},
    }


def _patch_entry(copy: Copy, if_match: str, text: str) -> dict[str, Any]:
    operations = [_version_test(if_match), _say_text(text)]
    return {
        "resource": {
            "resourceType": "Binary",
            "contentType": JSON_PATCH,
            "data": base64.b64encode(orjson.dumps(operations)).decode(),
        },
        "request": {"method": "PATCH", "url": copy.reference, "ifMatch": write_etag(if_match)},
    }


def _delete_entry(copy: Copy, if_match: str) -> dict[str, Any]:
    return {"request": {"method": "DELETE", "url": copy.reference, "ifMatch": write_etag(if_match)}}
