"""FHIR read, search and history, turned into copies. Nothing that comes back is trusted."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from yarl import URL

from chartgate.adapters.fhir_r4.bodies import (
    BadAnswer,
    copy_of,
    meta_version,
    parse_etag,
    parse_resource,
    write_etag,
)
from chartgate.adapters.fhir_r4.link import Answer, Link
from chartgate.adapters.fhir_r4.options import FhirOptions
from chartgate.errors import NotFound, SourceRefused, SourceUnreachable
from chartgate.model.ports import Criteria
from chartgate.model.resource import Copy, NotModified, Resource, SearchPage, split_reference

UNCACHED = {"Cache-Control": "no-cache"}
# Without it a server may pass over a parameter that it does not know, and find everything.
# A server may answer a search from a cache of its own, HAPI for a minute: what is searched for is
# often what was created a moment ago.
STRICT = {**UNCACHED, "Prefer": "handling=strict"}
FORM = {**STRICT, "Content-Type": "application/x-www-form-urlencoded"}


class ReadRefused(SourceRefused):
    """It answered, but not with what was asked for."""


class Reader:
    """Reads one connection. All raise NotFound, Throttled, SourceUnreachable."""

    def __init__(self, link: Link, options: FhirOptions, *, search_by_post: bool) -> None:
        self._link = link
        self._options = options
        self._search_by_post = search_by_post
        self._origin = URL(options.url).origin()
        self._root = URL(options.url).path.rstrip("/")

    async def read(
        self,
        reference: str,
        *,
        if_none_match: str | None = None,
        uncached: bool = False,
        strong: bool = False,
    ) -> Copy | NotModified:
        """Source: https://hl7.org/fhir/R4/http.html#read and #cread"""
        if split_reference(reference) is None:
            raise NotFound("no such resource")
        known = write_etag(if_none_match, strong=strong) if if_none_match else ""
        headers = {"If-None-Match": known} if known else {}
        answer = await self._link.read(
            reference, headers={**UNCACHED, **headers} if uncached else headers
        )
        if answer.status == 304 and if_none_match:
            return NotModified(reference=reference, version=if_none_match, as_of=answer.asked_at)
        self._check_status(answer)
        try:
            resource = parse_resource(answer.body, depth_max=self._options.json_depth_max)
            etag = parse_etag(answer.headers.get("ETag"))
            copy = copy_of(resource, as_of=answer.asked_at, etag=etag)
            if copy.reference != reference:
                raise BadAnswer("another resource than the one asked for")
        except BadAnswer as error:
            raise self._bad(error) from None
        return copy

    async def current(self, reference: str) -> Copy:
        """The version that stands now, past any cache on the way."""
        copy = await self.read(reference, uncached=True)
        assert isinstance(copy, Copy), "an unconditional read is never answered by 304"
        return copy

    async def search(self, resource_type: str, criteria: Criteria, *, count_max: int) -> SearchPage:
        """Source: https://hl7.org/fhir/R4/http.html#search"""
        count = str(max(1, min(self._options.search_page_count, count_max)))
        answer = await self._ask_search(resource_type, [*criteria, ("_count", count)])
        as_of = answer.asked_at
        found: dict[str, Copy] = {}
        for page in range(1, self._options.search_pages_max + 1):
            if answer.status in (404, 410):
                raise self._bad(BadAnswer("no such search"))
            bundle = self._bundle(answer, "searchset")
            try:
                for resource in matches(bundle, resource_type):
                    copy = copy_of(resource, as_of=as_of)
                    found.setdefault(copy.reference, copy)
            except BadAnswer as error:
                raise self._bad(error) from None
            following = self._next_path(bundle)
            if (
                len(found) > count_max
                or following is None
                or page == self._options.search_pages_max
            ):
                break
            if len(found) == count_max:
                break
            answer = await self._link.read(following, headers=STRICT)
        complete = len(found) <= count_max and not next_url(bundle)
        return SearchPage(copies=tuple(found.values())[:count_max], complete=complete, as_of=as_of)

    async def history(self, reference: str, *, count_max: int) -> tuple[Copy, ...]:
        """Source: https://hl7.org/fhir/R4/http.html#history. Deletions have no copy."""
        if split_reference(reference) is None:
            raise NotFound("no such resource")
        count = max(1, min(self._options.search_page_count, count_max))
        answer = await self._link.read(f"{reference}/_history?_count={count}", headers=UNCACHED)
        versions: list[Copy] = []
        for _ in range(self._options.search_pages_max):
            bundle = self._bundle(answer, "history")
            try:
                versions.extend(_versions(bundle, reference, answer))
            except BadAnswer as error:
                raise self._bad(error) from None
            following = self._next_path(bundle)
            if following is None or len(versions) >= count_max:
                break
            answer = await self._link.read(following, headers=UNCACHED)
        return tuple(versions[:count_max])

    async def _ask_search(self, resource_type: str, criteria: Criteria) -> Answer:
        query = URL.build(query=list(criteria)).raw_query_string
        if self._search_by_post:
            return await self._link.read(
                f"{resource_type}/_search", headers=FORM, form=query.encode()
            )
        return await self._link.read(f"{resource_type}?{query}", headers=STRICT)

    def _bundle(self, answer: Answer, kind: str) -> Resource:
        self._check_status(answer)
        try:
            bundle = parse_resource(answer.body, depth_max=self._options.json_depth_max)
        except BadAnswer as error:
            raise self._bad(error) from None
        if bundle["resourceType"] != "Bundle" or bundle.get("type") != kind:
            raise self._bad(BadAnswer(f"no Bundle of type {kind}"))
        return bundle

    def _next_path(self, bundle: Resource) -> str | None:
        """The next page, relative to the base; None if there is none, or it lies elsewhere: a
        link to another host must never get our token."""
        following = next_url(bundle)
        if following is None:
            return None
        try:
            url = URL(self._options.url + "/").join(URL(following, encoded=True))
        except ValueError:
            return None
        if url.origin() != self._origin or ".." in url.raw_parts:
            return None
        if url.raw_path != self._root and not url.raw_path.startswith(f"{self._root}/"):
            return None
        path = url.raw_path[len(self._root) :].removeprefix("/")
        return f"{path}?{url.raw_query_string}" if url.raw_query_string else path

    def _check_status(self, answer: Answer) -> None:
        if answer.status == 200:
            return
        if answer.status in (404, 410):
            raise NotFound("no such resource")
        if answer.status in (401, 403):
            raise ReadRefused(
                f"{self._link.name} does not let us read this; check the scope and the rights of"
                f" our client there",
                operator_detail=f"HTTP {answer.status}",
            )
        raise ReadRefused(
            f"{self._link.name} could not answer this request",
            operator_detail=f"HTTP {answer.status}",
        )

    def _bad(self, error: BadAnswer) -> SourceUnreachable:
        return ReadRefused(
            f"{self._link.name} gave an answer that is not FHIR R4", operator_detail=str(error)
        )


def next_url(bundle: Mapping[str, Any]) -> str | None:
    """Bundle.link with relation "next"."""
    for link in _objects(bundle.get("link")):
        if link.get("relation") == "next" and isinstance(link.get("url"), str):
            return str(link["url"])
    return None


def matches(bundle: Mapping[str, Any], resource_type: str) -> Iterator[Resource]:
    """The resources that a search found: no includes, no outcomes.

    `search.mode` is optional in R4; an entry without it counts by its type. Raises BadAnswer.
    """
    for entry in _objects(bundle.get("entry")):
        resource = entry.get("resource")
        search = entry.get("search")
        mode = search.get("mode") if isinstance(search, dict) else None
        if not isinstance(resource, dict) or mode not in (None, "match"):
            continue
        if resource.get("resourceType") == resource_type:
            yield resource
        elif mode == "match" and resource.get("resourceType") != "OperationOutcome":
            raise BadAnswer("a search found resources of another type")


def _versions(bundle: Mapping[str, Any], reference: str, answer: Answer) -> Iterator[Copy]:
    for entry in _objects(bundle.get("entry")):
        resource = entry.get("resource")
        if not isinstance(resource, dict):
            continue  # a deletion
        response = entry.get("response")
        etag = response.get("etag") if isinstance(response, dict) else None
        version = parse_etag(etag if isinstance(etag, str) else None)
        copy = copy_of(resource, as_of=answer.asked_at, etag=version or meta_version(resource))
        if copy.reference != reference:
            raise BadAnswer("history of another resource than the one asked for")
        yield copy


def _objects(value: Any) -> Sequence[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
