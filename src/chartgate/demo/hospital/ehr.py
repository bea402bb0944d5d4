"""The FHIR interactions of the sample hospital: a request in, an answer out, no sockets.

Source: https://hl7.org/fhir/R4/http.html
"""

import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import orjson

from chartgate.demo.hospital.chart import Chart, Version, View
from chartgate.demo.hospital.exchange import (
    Answer,
    Refused,
    Request,
    json_answer,
    outcome,
)
from chartgate.demo.hospital.search import Query, parse_query, run
from chartgate.demo.hospital.transactions import parse_entries, run_batch, run_transaction
from chartgate.demo.hospital.validate import check_type
from chartgate.demo.hospital.writes import Writer, Written

CURSORS_MAX = 2000
HISTORY_COUNT = 50
JSON_TYPES = ("application/fhir+json", "application/json")
PATCH_TYPE = "application/json-patch+json"
LETTERS: Mapping[str, str] = {  # of a SMART scope, by interaction
    "read": "r",
    "vread": "r",
    "history": "r",
    "search": "s",
    "create": "c",
    "update": "u",
    "patch": "u",
    "delete": "d",
}
WRITES = frozenset({"create", "update", "patch", "delete", "transaction", "batch"})
METHOD_LETTERS = {"GET": "r", "HEAD": "r", "POST": "c", "PUT": "u", "PATCH": "u", "DELETE": "d"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """Which interaction a request wants, on what."""

    interaction: str
    resource_type: str = ""
    resource_id: str = ""
    version: str = ""
    types: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Pages:
    """What is left of a search or history: the next page starts at `offset`."""

    kind: str
    versions: Sequence[Version]
    query: Query | None
    path: str
    offset: int
    count: int


class Ehr:
    """The chart behind FHIR interactions. `base_url` is that of /fhir."""

    def __init__(self, chart: Chart, *, base_url: str) -> None:
        self.chart = chart
        self.base_url = base_url
        self._cursors: dict[str, Pages] = {}

    def perform(
        self,
        route: Route,
        request: Request,
        writer: Writer,
        *,
        view: View | None = None,
        stop_after: int | None = None,
    ) -> Answer:
        """Does it. What `writer` has applied afterwards stays, even if this raises Refused."""
        if route.interaction not in WRITES:
            return self._reading(route, request, view)
        if route.interaction in ("transaction", "batch"):
            return self._bundle(route, request, writer, stop_after)
        return self._writing(route, request, writer)

    def _reading(self, route: Route, request: Request, view: View | None) -> Answer:
        if route.interaction == "search":
            return self._search(route.resource_type, request, view)
        check_type(route.resource_type)
        reference = f"{route.resource_type}/{route.resource_id}"
        if route.interaction == "history":
            return self._history(reference, request)
        if route.interaction == "vread":
            return self._vread(reference, route.version)
        return read(
            (view or self.chart.current.get)(reference), request.headers.get("if-none-match", "")
        )

    def _vread(self, reference: str, number: str) -> Answer:
        for version in self.chart.history(reference):
            if str(version.number) == number:
                return read(version, "")
        raise Refused(404, "not-found", "there is no such version")

    def _search(self, resource_type: str, request: Request, view: View | None) -> Answer:
        pairs = request.pairs()
        for name, value in pairs:
            if name == "_cursor":
                return self._next_page(value)
        check_type(resource_type)
        query = parse_query(resource_type, pairs, lenient=request.prefers("handling=lenient"))
        found = run(self.chart, query, view=view)
        if query.counted_only:
            return json_answer(200, {**_bundle_head("searchset"), "total": len(found)})
        return self._page(
            Pages(
                kind="searchset",
                versions=found,
                query=query,
                path=resource_type,
                offset=0,
                count=query.count,
            )
        )

    def _history(self, reference: str, request: Request) -> Answer:
        versions = self.chart.history(reference)
        if not versions:
            raise Refused(404, "not-found", "there is no such resource")
        count = HISTORY_COUNT
        for name, value in request.pairs():
            if name == "_cursor":
                return self._next_page(value)
            if name == "_count" and value.isdecimal() and int(value):
                count = int(value)
        path = f"{reference}/_history"
        pages = Pages(
            kind="history", versions=versions, query=None, path=path, offset=0, count=count
        )
        return self._page(pages)

    def _next_page(self, cursor: str) -> Answer:
        pages = self._cursors.get(cursor)
        if pages is None:
            raise Refused(410, "expired", "this page is no longer kept: search again")
        return self._page(pages)

    def _page(self, pages: Pages) -> Answer:
        end = pages.offset + pages.count
        query = pages.query
        url = f"{self.base_url}/{pages.path}"
        text = f"?{query.text}" if query is not None and query.text else ""
        links = [b'{"relation":"self","url":%s}' % orjson.dumps(url + text)]
        if end < len(pages.versions):
            cursor = secrets.token_urlsafe(12)
            self._keep(
                cursor,
                Pages(
                    kind=pages.kind,
                    versions=pages.versions,
                    query=query,
                    path=pages.path,
                    offset=end,
                    count=pages.count,
                ),
            )
            links.append(b'{"relation":"next","url":%s}' % orjson.dumps(f"{url}?_cursor={cursor}"))
        write = _match_entry if pages.kind == "searchset" else _history_entry
        entries = [write(v, self.base_url) for v in pages.versions[pages.offset : end]]
        if query is not None and query.ignored:
            entries.append(_ignored_entry(query.ignored))
        total = b""
        if query is None or query.with_total:
            total = b',"total":%d' % len(pages.versions)
        body = b'{"resourceType":"Bundle","type":"%s"%s,"link":[%s]%s}' % (
            pages.kind.encode(),
            total,
            b",".join(links),
            b',"entry":[' + b",".join(entries) + b"]" if entries else b"",
        )
        return Answer(status=200, body=body)

    def _keep(self, cursor: str, pages: Pages) -> None:
        while len(self._cursors) >= CURSORS_MAX:
            del self._cursors[next(iter(self._cursors))]
        self._cursors[cursor] = pages

    def _writing(self, route: Route, request: Request, writer: Writer) -> Answer:
        if_match = request.headers.get("if-match", "")
        kind, target = route.resource_type, route.resource_id
        if route.interaction == "create":
            body = parsed(request, JSON_TYPES)
            written = writer.create(
                kind, body, if_none_exist=request.headers.get("if-none-exist", "")
            )
        elif route.interaction == "update":
            written = writer.update(kind, target, parsed(request, JSON_TYPES), if_match=if_match)
        elif route.interaction == "patch":
            operations = parsed(request, (PATCH_TYPE,))
            written = writer.patch(kind, target, operations, if_match=if_match)
        else:
            written = writer.delete(kind, target, if_match=if_match)
        return self._written(written, request)

    def _written(self, written: Written, request: Request) -> Answer:
        version = written.version
        place = f"{self.base_url}/{version.reference}/_history/{version.number}".encode()
        headers = [*version.headers, (b"location", place)]
        if version.deleted or request.prefers("return=minimal"):
            return Answer(status=written.status, headers=headers)
        if request.prefers("return=OperationOutcome"):
            answer = json_answer(
                written.status, outcome("informational", "done", severity="information")
            )
            answer.headers = headers
            return answer
        return Answer(status=written.status, body=version.content, headers=headers)

    def _bundle(
        self, route: Route, request: Request, writer: Writer, stop_after: int | None
    ) -> Answer:
        entries = parse_entries(parsed(request, JSON_TYPES))
        for entry in entries:
            check_allowed(request, METHOD_LETTERS[entry.method], entry.resource_type)

        def get(url: str) -> dict[str, Any]:
            return self._entry_of(url)

        if route.interaction == "batch":
            told = run_batch(entries, writer, get)
        else:
            told = run_transaction(entries, writer, get, stop_after=stop_after)
        if request.prefers("return=minimal"):
            for item in told["entry"]:
                if not str(item["response"]["status"]).startswith("4"):
                    item.pop("resource", None)
        return json_answer(200, told)

    def _entry_of(self, url: str) -> dict[str, Any]:
        """The response entry of a GET within a Bundle."""
        path, _, query = url.partition("?")
        request = Request(method="GET", path=path, query=query, headers={})
        answer = self._reading(route_of(request), request, None)
        resource = orjson.loads(answer.body)
        response = {"status": str(answer.status)}
        tags = [value.decode() for name, value in answer.headers if name == b"etag"]
        if tags:
            response["etag"] = tags[0]
        return {"resource": resource, "response": response}


def read(version: Version | None, if_none_match: str) -> Answer:
    """The answer to a read, conditional if `if_none_match` is not empty. Raises Refused."""
    if version is None:
        raise Refused(404, "not-found", "there is no such resource")
    if version.deleted:
        raise Refused(410, "deleted", "the resource has been deleted")
    if if_none_match and version.etag.decode() in (t.strip() for t in if_none_match.split(",")):
        return Answer(status=304, headers=list(version.headers))
    return Answer(status=200, body=version.content, headers=list(version.headers))


def route_of(request: Request) -> Route:
    """What a request under /fhir wants. Raises Refused."""
    method, parts = request.method, request.segments
    method = "GET" if method == "HEAD" else method
    if not parts:
        if method != "POST":
            _no_such(method, request.path)
        return _bundle_route(request)
    name = parts[0]
    types = frozenset({name})
    if parts == ("metadata",) and method == "GET":
        return Route(interaction="metadata")
    if len(parts) == 1 and method in ("GET", "POST"):
        interaction = "search" if method == "GET" else "create"
        return Route(interaction=interaction, resource_type=name, types=types)
    if len(parts) == 2 and parts[1] == "_search" and method == "POST":
        return Route(interaction="search", resource_type=name, types=types)
    interactions = {"GET": "read", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
    if len(parts) == 2 and method in interactions:
        wanted = interactions[method]
        return Route(interaction=wanted, resource_type=name, resource_id=parts[1], types=types)
    if 3 <= len(parts) <= 4 and parts[2] == "_history" and method == "GET":
        return Route(
            interaction="vread" if len(parts) == 4 else "history",
            resource_type=name,
            resource_id=parts[1],
            version=parts[3] if len(parts) == 4 else "",
            types=types,
        )
    _no_such(method, request.path)


def check_allowed(request: Request, letter: str, resource_type: str) -> None:
    """Raises Refused (403) if the token's scopes do not hold `letter` for the type."""
    if request.allowed is not None:
        letters = request.allowed.get(resource_type, "") + request.allowed.get("*", "")
        if letter not in letters and not (letter == "r" and "s" in letters):
            raise Refused(403, "forbidden", f"no scope allows this on {resource_type}")


def parsed(request: Request, content_types: Sequence[str]) -> Any:
    """The JSON body. Raises Refused (400, 415)."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in content_types:
        raise Refused(415, "not-supported", f"Content-Type must be {' or '.join(content_types)}")
    try:
        return orjson.loads(request.body)
    except orjson.JSONDecodeError:
        raise Refused(400, "structure", "the body is no JSON") from None


def _bundle_route(request: Request) -> Route:
    """Transaction or batch, and the types in it: the faults and the answer depend on them."""
    bundle = parsed(request, JSON_TYPES)
    entries = parse_entries(bundle)
    types = frozenset(entry.resource_type for entry in entries)
    return Route(interaction=bundle["type"], types=types)


def _no_such(method: str, path: str) -> NoReturn:
    if re.fullmatch(r"[A-Za-z]+(/[A-Za-z0-9\-.]+)?", path):
        raise Refused(405, "not-supported", f"{method} is not supported here")
    raise Refused(404, "not-supported", "the server has no such interaction")


def _match_entry(version: Version, base_url: str) -> bytes:
    url = orjson.dumps(f"{base_url}/{version.reference}")
    return b'{"fullUrl":%s,"resource":%s,"search":{"mode":"match"}}' % (url, version.content)


def _history_entry(version: Version, base_url: str) -> bytes:
    resource_type, _, _ = version.reference.partition("/")
    entry: dict[str, Any] = {
        "fullUrl": f"{base_url}/{version.reference}",
        "request": {
            "method": version.method,
            "url": resource_type if version.method == "POST" else version.reference,
        },
        "response": {
            "status": {"POST": "201", "DELETE": "204"}.get(version.method, "200"),
            "etag": version.etag.decode(),
            "lastModified": version.at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        },
    }
    if version.resource is not None:
        entry["resource"] = version.resource
    return orjson.dumps(entry)


def _ignored_entry(ignored: Sequence[str]) -> bytes:
    text = f"not searched by: {', '.join(ignored)}"
    told = outcome("not-supported", text, severity="warning")
    return orjson.dumps({"resource": told, "search": {"mode": "outcome"}})


def _bundle_head(kind: str) -> dict[str, Any]:
    return {"resourceType": "Bundle", "type": kind}
