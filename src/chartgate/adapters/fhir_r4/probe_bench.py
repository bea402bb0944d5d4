"""What the trials of a probe are done with: resources of our own, requests, and what they show.

Everything that is made is noted, so that it can be removed at the end. A 429 is waited out as
long as the system asks, within a budget: it did nothing, and so may be asked again.
"""

import asyncio
import base64
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar
from uuid import uuid4

import jsonpointer
import orjson

from chartgate.adapters.fhir_r4.bodies import parse_location, write_etag
from chartgate.adapters.fhir_r4.dialect import Dialect
from chartgate.adapters.fhir_r4.encode import JSON_PATCH, REPRESENTATION
from chartgate.adapters.fhir_r4.link import FHIR_JSON, Answer, Link
from chartgate.adapters.fhir_r4.marks import bears_marker, marked, marker_criteria
from chartgate.adapters.fhir_r4.reader import Reader
from chartgate.errors import NotFound, OutcomeUnknown, SourceUnreachable, Throttled
from chartgate.model.resource import Copy, Resource

T = TypeVar("T")
WAITS_MAX_S = 60.0  # spent on 429s in all; a probe is no load test
FOUND_MAX = 10
TASK: Resource = {
    "resourceType": "Task",
    "status": "draft",
    "intent": "proposal",
    "priority": "routine",
    "description": "made",
    "authoredOn": "2026-01-02T03:04:05Z",
    "note": [
        {"text": "Made by `chartgate probe`, about nobody. It may be deleted."},
        {"text": "A second note, which tells whether order is kept."},
    ],
    "input": [{"type": {"text": "dose"}, "valueDecimal": 1.25}],
}


@dataclass(frozen=True, kw_only=True)
class Sample:
    """What the probe makes copies of, and the one text in it that it changes."""

    resource: Resource = field(default_factory=lambda: dict(TASK))
    pointer: str = "/description"

    @property
    def kind(self) -> str:
        """Its resource type."""
        return str(self.resource["resourceType"])


class Bench:
    """One run's hands on one system."""

    def __init__(self, link: Link, reader: Reader, *, dialect: Dialect, sample: Sample) -> None:
        self.link = link
        self.reader = reader
        self.dialect = dialect
        self.sample = sample
        self.made: list[str] = []
        self.etags: Counter[str] = Counter()  # weak, strong or absent
        self.skews_s: list[float] = []
        self.pause_s = 0.0  # before a read that must show a write, once a lag was measured
        self._run_id = f"probe-{uuid4()}"
        self._marks = 0
        self._waited_s = 0.0
        self._lost = False

    @property
    def strong(self) -> bool:
        """Whether every ETag so far was strong; ours are written the same way then."""
        return self.etags["strong"] > 0 and not self.etags["weak"]

    @property
    def marks_lost(self) -> bool:
        """Whether something may have been made that is not known to be."""
        return self._lost or len(self.made) < self._marks

    def mark(self) -> str:
        """A mark of its own for one more resource."""
        self._marks += 1
        return f"{self._run_id}.{self._marks}"

    def marks(self) -> Sequence[str]:
        """All marks so far."""
        return [f"{self._run_id}.{number}" for number in range(1, self._marks + 1)]

    def resource(self, text: str, mark: str) -> Resource:
        """A marked copy of the sample that says `text`."""
        return marked(self.saying(self.sample.resource, text), mark, self.dialect)

    def saying(self, resource: Resource, text: str) -> Resource:
        """A copy of `resource` that says `text`."""
        changed = deepcopy(resource)
        try:
            jsonpointer.set_pointer(changed, self.sample.pointer, text)
        except jsonpointer.JsonPointerException:
            return changed  # the system dropped what holds it; the trial will see that
        return changed

    def say_text(self, text: str) -> dict[str, Any]:
        """The JSON Patch operation that makes a resource say `text`."""
        return {"op": "replace", "path": self.sample.pointer, "value": text}

    def text_of(self, copy: Copy | None) -> str | None:
        """What a copy says; None for no copy."""
        if copy is None:
            return None
        found = jsonpointer.resolve_pointer(orjson.loads(copy.body), self.sample.pointer, None)
        return found if isinstance(found, str) else None

    def etag(self, version: str) -> str:
        """A version as this system writes it."""
        return write_etag(version, strong=self.strong)

    def criteria(self, mark: str) -> str:
        """The search for a mark, as If-None-Exist has it."""
        pairs = marker_criteria(self.sample.kind, mark, self.dialect)
        return "&".join(f"{name}={value}" for name, value in pairs)

    async def make(self) -> Copy:
        """A fresh resource to try things on. Raises OutcomeUnknown if it is not there."""
        made = self.note_made(await self.create(self.mark()))
        copy = await self.seen(made)
        if copy is None:
            raise OutcomeUnknown("made, but not there", operator_detail="made, but not there")
        return copy

    def note_made(self, answer: Answer) -> str:
        """The reference of what a create made. Raises SourceUnreachable if it does not say."""
        located = parse_location(answer.headers.get("Location"))
        if located is None:
            try:
                located = (f"{self.sample.kind}/{orjson.loads(answer.body)['id']}", None)
            except (orjson.JSONDecodeError, KeyError, TypeError):
                raise SourceUnreachable(f"{self.link.name} does not say what it created") from None
        if located[0] not in self.made:
            self.made.append(located[0])
        return located[0]

    async def create(self, mark: str, *, text: str = "made") -> Answer:
        """A conditional create of a resource with this mark."""
        headers = {"If-None-Exist": self.criteria(mark)}
        resource = self.resource(text, mark)
        try:
            return await self._write("POST", self.sample.kind, FHIR_JSON, resource, headers)
        except OutcomeUnknown:
            self._lost = True
            raise

    async def put(self, copy: Copy, if_match: str, text: str) -> Answer:
        """PUT of `copy` saying `text`, on the version `if_match`."""
        resource = self.saying(orjson.loads(copy.body), text)
        return await self.put_as_is(copy.reference, if_match, resource)

    async def put_as_is(self, reference: str, if_match: str, resource: Resource) -> Answer:
        """PUT of a resource, on the version `if_match`."""
        return await self._write("PUT", reference, FHIR_JSON, resource, self._if_match(if_match))

    async def patch(
        self, copy: Copy, operations: Sequence[Mapping[str, Any]], *, if_match: str | None
    ) -> Answer:
        """JSON Patch, with or without If-Match."""
        headers = self._if_match(if_match)
        return await self._write("PATCH", copy.reference, JSON_PATCH, list(operations), headers)

    async def delete(self, reference: str, if_match: str | None) -> Answer:
        """DELETE, with or without If-Match."""
        headers = self._if_match(if_match)

        async def send() -> Answer:
            return await self.link.write("DELETE", reference, headers=headers, body=None)

        return self._noted(await self._patiently(send))

    async def bundle(self, kind: str, *entries: Mapping[str, Any]) -> Answer:
        """A transaction or a batch."""
        body = {"resourceType": "Bundle", "type": kind, "entry": list(entries)}
        return await self._write("POST", "", FHIR_JSON, body, {})

    def put_entry(self, copy: Copy, if_match: str, text: str) -> dict[str, Any]:
        """An entry that updates."""
        return {
            "resource": self.saying(orjson.loads(copy.body), text),
            "request": {"method": "PUT", "url": copy.reference, "ifMatch": self.etag(if_match)},
        }

    def patch_entry(self, copy: Copy, if_match: str, text: str) -> dict[str, Any]:
        """An entry that patches, guarded in both ways."""
        operations = [version_test(if_match), self.say_text(text)]
        return {
            "resource": {
                "resourceType": "Binary",
                "contentType": JSON_PATCH,
                "data": base64.b64encode(orjson.dumps(operations)).decode(),
            },
            "request": {"method": "PATCH", "url": copy.reference, "ifMatch": self.etag(if_match)},
        }

    def delete_entry(self, copy: Copy, if_match: str) -> dict[str, Any]:
        """An entry that deletes."""
        request = {"method": "DELETE", "url": copy.reference, "ifMatch": self.etag(if_match)}
        return {"request": request}

    async def seen(self, reference: str, *, at_once: bool = False) -> Copy | None:
        """What stands there now; None if nothing does."""
        if self.pause_s and not at_once:
            await asyncio.sleep(self.pause_s)
        try:
            return await self._patiently(lambda: self.reader.current(reference))
        except NotFound:
            return None

    async def found(self, mark: str, *, at_once: bool = False) -> list[str]:
        """References of what a search finds to bear a mark."""
        if self.pause_s and not at_once:
            await asyncio.sleep(self.pause_s)
        criteria = marker_criteria(self.sample.kind, mark, self.dialect)
        page = await self._patiently(
            lambda: self.reader.search(self.sample.kind, criteria, count_max=FOUND_MAX)
        )
        return [c.reference for c in page.copies if bears_marker(orjson.loads(c.body), mark)]

    async def asked(self, path: str, headers: Mapping[str, str]) -> Answer:
        """A plain GET with headers of our choice."""
        return self._noted(await self._patiently(lambda: self.link.read(path, headers=headers)))

    def _if_match(self, version: str | None) -> dict[str, str]:
        return {"If-Match": self.etag(version)} if version else {}

    async def _write(
        self, method: str, path: str, content_type: str, body: Any, headers: Mapping[str, str]
    ) -> Answer:
        sent = {**REPRESENTATION, "Content-Type": content_type, **headers}
        content = orjson.dumps(body)

        async def send() -> Answer:
            return await self.link.write(method, path, headers=sent, body=content)

        return self._noted(await self._patiently(send))

    async def _patiently(self, ask: Callable[[], Awaitable[T]]) -> T:
        """Asks; where it says 429, once more after the wait that it asks for."""
        while True:
            try:
                return await ask()
            except Throttled as error:
                wait_s = max(error.retry_after_s or 0.0, 0.1)
                self._waited_s += wait_s
                if self._waited_s > WAITS_MAX_S:
                    raise
            await asyncio.sleep(wait_s)

    def _noted(self, answer: Answer) -> Answer:
        """Looks at the headers of an answer in passing."""
        etag = answer.headers.get("ETag")
        if etag:
            self.etags["weak" if etag.lstrip().startswith("W/") else "strong"] += 1
        try:
            told = parsedate_to_datetime(answer.headers.get("Date", ""))
            self.skews_s.append((told - answer.asked_at).total_seconds())
        except (ValueError, TypeError, IndexError, OverflowError):
            pass  # no date, or junk, or one without a zone: nothing is learnt
        return answer


def version_test(version: str) -> dict[str, Any]:
    """The JSON Patch operation that fails on another version."""
    return {"op": "test", "path": "/meta/versionId", "value": version}


def check_sample(sample: Sample) -> str:
    """Why a sample cannot be used; empty if it can."""
    if not isinstance(sample.resource.get("resourceType"), str):
        return "it has no resourceType"
    if "id" in sample.resource:
        return "it has an id, and only what the probe made itself may be changed"
    try:
        found = jsonpointer.resolve_pointer(sample.resource, sample.pointer)
    except jsonpointer.JsonPointerException:
        return f"it has no text at {sample.pointer}"
    return "" if isinstance(found, str) else f"what it has at {sample.pointer} is no text"
