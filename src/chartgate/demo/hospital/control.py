"""What tests and drills use beside FHIR: faults, journal, and edits behind everyone's back.

GET, PUT, DELETE /control/faults; GET /control/journal?marker=&since= and /control/requests (JSON
lists); GET /control/counts (requests by interaction); PUT /control/chart (a resource with its id,
written at once, as if somebody in the hospital did it); GET /control/scenario, /control/types and
/control/resource?reference= (without a token); POST /control/reset (journal and faults);
POST /control/expire-tokens.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from typing import Any
from urllib.parse import parse_qsl

import orjson

from chartgate.demo.hospital.chart import Chart
from chartgate.demo.hospital.exchange import Answer, Refused, Request, json_answer
from chartgate.demo.hospital.faults import Faults
from chartgate.demo.hospital.journal import Effect, Journal
from chartgate.demo.hospital.oauth import TokenDesk
from chartgate.demo.hospital.scenario import Scenario
from chartgate.demo.hospital.validate import check_id, check_resource, check_type

JSON = b"application/json"
LOCAL = "hospital-staff"  # the client name of edits made here


class Control:
    """The /control routes."""

    def __init__(self, chart: Chart, faults: Faults, journal: Journal, desk: TokenDesk) -> None:
        self.chart = chart
        self.faults = faults
        self.journal = journal
        self.desk = desk
        self.scenario: Scenario | None = None  # set by who fills the chart
        self.routes: Mapping[str, Callable[[Request], Any]] = {
            "GET faults": lambda request: self.faults.shown(),
            "PUT faults": self._put_faults,
            "DELETE faults": self._clear_faults,
            "GET journal": self._effects,
            "GET requests": lambda request: list(map(asdict, self.journal.requests)),
            "GET counts": lambda request: {**self.journal.counts},
            "GET types": lambda request: self.chart.types(),
            "GET scenario": lambda request: self.scenario and asdict(self.scenario),
            "GET resource": self._resource,
            "PUT chart": lambda request: self.edit(_json(request)),
            "POST reset": self._reset,
            "POST expire-tokens": self._expire,
        }

    def answer(self, request: Request) -> Answer:
        """Raises Refused for what is not here."""
        key = f"{request.method} {request.path.removeprefix('control/')}"
        if key not in self.routes:
            raise Refused(404, "not-found", f"control has: {', '.join(self.routes)}")
        return json_answer(200, self.routes[key](request), content_type=JSON)

    def edit(self, resource: Any) -> dict[str, Any]:
        """Creates or overwrites a resource under its own id, without preconditions."""
        if not isinstance(resource, dict):
            raise Refused(400, "structure", "a resource is expected")
        resource_type, resource_id = str(resource.get("resourceType")), str(resource.get("id"))
        check_type(resource_type)
        check_id(resource_id)
        body = check_resource(resource, resource_type)
        reference = f"{resource_type}/{resource_id}"
        interaction = "update" if reference in self.chart.current else "create"
        version = self.chart.put(reference, body, method="PUT")
        self.journal.record([(interaction, version)], request_id="", client=LOCAL)
        return {"reference": reference, "version": version.number}

    def _resource(self, request: Request) -> Any:
        version = self.chart.current.get(dict(parse_qsl(request.query)).get("reference", ""))
        if version is None or version.resource is None:
            raise Refused(404, "not-found", "there is no such resource")
        return version.resource

    def _put_faults(self, request: Request) -> Any:
        table = _json(request)
        if not isinstance(table, dict):
            raise Refused(400, "structure", "an object of fault names is expected")
        try:
            self.faults.load(table)
        except (ValueError, TypeError) as error:
            raise Refused(400, "invalid", str(error)) from None
        return self.faults.shown()

    def _clear_faults(self, request: Request) -> Any:
        self.faults.clear()
        return []

    def _effects(self, request: Request) -> Any:
        wanted = dict(parse_qsl(request.query))
        since = wanted.get("since", "0")
        if not since.isdecimal():
            raise Refused(400, "invalid", "since must be the seq of an effect")
        effects: Iterable[Effect] = self.journal.effects[int(since) :]
        if "marker" in wanted:
            effects = (e for e in effects if wanted["marker"] in e.markers)
        return list(map(asdict, effects))

    def _reset(self, request: Request) -> Any:
        self.faults.clear()
        self.journal.clear()
        return {"reset": True}

    def _expire(self, request: Request) -> Any:
        self.desk.expire_all()
        return {"expired": True}


def _json(request: Request) -> Any:
    try:
        return orjson.loads(request.body)
    except orjson.JSONDecodeError:
        raise Refused(400, "structure", "the body is no JSON") from None
