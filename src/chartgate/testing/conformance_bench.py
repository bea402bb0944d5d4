"""What the checks of the conformance kit work with: a target, and what was written to it."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import uuid4

import orjson

from chartgate.errors import ChartgateError
from chartgate.formats.canonical import canonical_bytes, digest
from chartgate.model.ports import Sink, Source
from chartgate.model.resource import Copy, Resource
from chartgate.model.write import Change, Effect, Receipt, Write
from chartgate.testing.builders import task

GROUP_SYSTEM = "urn:chartgate:conformance"  # identifier that holds the resources of one check


class Adapter(Source, Sink, Protocol):
    """Both ports."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """What is checked: an open adapter whose writes are on, and a way to make resources.

    `make` gives a fresh resource that the system takes; `text_element` is an element of it that
    holds a free text. In `lost_answers()` the system must apply one write and lose its answer.
    """

    adapter: Adapter
    make: Callable[[], Resource] = task
    text_element: str = "description"
    lost_answers: Callable[[], AbstractAsyncContextManager[None]] | None = None


class Bench:
    """A target with what one check wrote to it."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.adapter = target.adapter
        self._left: dict[str, Change] = {}  # created and not undone, by reference

    def fresh(self, group: str = "") -> Resource:
        """A resource to create, findable by `group`."""
        resource = self.target.make()
        if group:
            mark = {"system": GROUP_SYSTEM, "value": group}
            resource["identifier"] = [*resource.get("identifier", ()), mark]
        return resource

    async def create(self, group: str = "") -> Copy:
        """A new resource, as the system shows it."""
        _, receipt = await self.commit(creation(self.fresh(group)))
        return await self.read(receipt.effects[0].reference)

    async def read(self, reference: str) -> Copy:
        """The current version."""
        copy = await self.adapter.read(reference)
        assert isinstance(copy, Copy), "an unconditional read was answered by 'not modified'"
        return copy

    async def commit(self, *changes: Change) -> tuple[Write, Receipt]:
        """One write, which must succeed."""
        write = Write(marker=f"conformance-{uuid4()}", changes=changes)
        return write, await self.send(write)

    async def send(self, write: Write) -> Receipt:
        """Commits a write and remembers what it created."""
        receipt = await self.adapter.commit(write)
        assert len(receipt.effects) == len(write.changes), "not one effect for each change"
        self.remember(write, receipt)
        return receipt

    def remember(self, write: Write, receipt: Receipt) -> None:
        """What clean_up has to undo."""
        for change, effect in zip(write.changes, receipt.effects, strict=True):
            if change.interaction == "create":
                self._left[effect.reference] = change

    def edited(self, copy: Copy, text: str) -> Change:
        """An update that changes the text alone."""
        resource = {**body(copy), self.target.text_element: text}
        return Change(
            interaction="update",
            resource_type=copy.resource_type,
            reference=copy.reference,
            resource=resource,
            if_match=copy.version,
        )

    def patched(self, copy: Copy, text: str) -> Change:
        """A patch that changes the text alone."""
        path = f"/{self.target.text_element}"
        return Change(
            interaction="patch",
            resource_type=copy.resource_type,
            reference=copy.reference,
            patch=({"op": "replace", "path": path, "value": text},),
            if_match=copy.version,
        )

    def text(self, copy: Copy) -> Any:
        """The text of a version."""
        return body(copy).get(self.target.text_element)

    async def clean_up(self) -> None:
        """Undoes every create that is left, as far as the system lets us."""
        for reference, change in self._left.items():
            try:
                copy = await self.read(reference)
                write = Write(marker=f"conformance-{uuid4()}", changes=(change,))
                undo = await self.adapter.compensation(write, _receipt_of(copy), ())
                await self.adapter.commit(undo)
            except ChartgateError:
                continue  # gone already, or not ours to remove


def creation(resource: Resource) -> Change:
    """The change that creates `resource`."""
    return Change(interaction="create", resource_type=resource["resourceType"], resource=resource)


def body(copy: Copy) -> Resource:
    """The resource in a copy."""
    resource: Resource = orjson.loads(copy.body)
    return resource


def without_meta(copy: Copy) -> Resource:
    """The resource without what each save changes."""
    return {key: value for key, value in body(copy).items() if key != "meta"}


def plain(copy: Copy, bench: Bench) -> Resource:
    """The resource without meta and the text that checks edit."""
    bare = without_meta(copy)
    return {key: value for key, value in bare.items() if key != bench.target.text_element}


def copy_of(resource: Resource, *, like: Copy) -> Copy:
    """A copy with another content."""
    content = canonical_bytes(resource)
    return Copy(
        reference=like.reference,
        version=like.version,
        digest=digest(content),
        body=content,
        as_of=like.as_of,
    )


def _receipt_of(copy: Copy) -> Receipt:
    from_create = Effect(reference=copy.reference, version_before=None, version_after=copy.version)
    return Receipt(effects=(from_create,), at=copy.as_of)
