"""Create, update, patch and delete: preconditions first, then one version more.

A `Writer` serves one HTTP request. What it has applied can be undone as long as it is not kept,
which is how a transaction stays atomic.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

import jsonpatch
import jsonpointer

from chartgate.demo.hospital.chart import Chart, Version
from chartgate.demo.hospital.exchange import Refused
from chartgate.demo.hospital.search import parse_query, run
from chartgate.demo.hospital.validate import check_id, check_resource, check_type

ETAG = re.compile(r'(?:W/)?"([^"]*)"')
Alter = Callable[[Mapping[str, Any]], Mapping[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What a write came to. `applied` is False where a conditional create found its match."""

    status: int
    version: Version
    applied: bool = True


@dataclass(slots=True, kw_only=True)
class Habits:
    """How this hospital deviates from the standard, by its faults and by what it wears."""

    ignore_if_match: frozenset[str] = frozenset()  # update, patch, delete
    ignore_if_none_exist: bool = False
    alter: Alter | None = None  # changes content on save
    if_match_required: bool = False
    stale_status: int = 412
    checks_codes: bool = True
    keeps_half: bool = False  # of a transaction that fails


class Writer:
    """The writes of one request."""

    def __init__(self, chart: Chart, habits: Habits) -> None:
        self.chart = chart
        self.habits = habits
        self.applied: list[tuple[str, Version]] = []

    def undo(self) -> None:
        """Takes everything back, newest first."""
        while self.applied:
            self.chart.undo(self.applied.pop()[1])

    def match(self, resource_type: str, if_none_exist: str) -> Version | None:
        """The one resource that a conditional create would duplicate. Raises Refused (412)."""
        if not if_none_exist or self.habits.ignore_if_none_exist:
            return None
        pairs = parse_qsl(if_none_exist.lstrip("?"), keep_blank_values=True)
        query = parse_query(resource_type, pairs)
        if not query.conditions:
            raise Refused(412, "required", "If-None-Exist holds no search criteria")
        found = run(self.chart, query)
        if len(found) > 1:
            raise Refused(412, "duplicate", "If-None-Exist matches more than one resource")
        return found[0] if found else None

    def create(
        self,
        resource_type: str,
        resource: Any,
        *,
        if_none_exist: str = "",
        resource_id: str = "",
    ) -> Written:
        """FHIR create. `resource_id` is one that a transaction has set aside."""
        check_type(resource_type)
        body = self._checked(resource, resource_type)
        existing = self.match(resource_type, if_none_exist)
        if existing is not None:
            return Written(status=200, version=existing, applied=False)
        reference = f"{resource_type}/{resource_id or self.chart.new_id()}"
        return Written(status=201, version=self._put("create", reference, body, "POST"))

    def update(
        self, resource_type: str, resource_id: str, resource: Any, *, if_match: str = ""
    ) -> Written:
        """FHIR update. An id that the server never gave is refused: no update as create."""
        check_type(resource_type)
        check_id(resource_id)
        body = self._checked(resource, resource_type)
        if body.get("id") != resource_id:
            raise Refused(400, "invalid", "the id of the body is not the id of the URL")
        reference = f"{resource_type}/{resource_id}"
        current = self.chart.current.get(reference)
        if current is None:
            raise Refused(405, "not-supported", "this server gives the ids: create by POST")
        self.check_if_match(current, if_match, "update")
        status = 201 if current.deleted else 200
        return Written(status=status, version=self._put("update", reference, body, "PUT"))

    def patch(
        self, resource_type: str, resource_id: str, operations: Any, *, if_match: str = ""
    ) -> Written:
        """FHIR patch by JSON Patch (RFC 6902). A failing `test` answers 409."""
        current = self._living(resource_type, resource_id)
        self.check_if_match(current, if_match, "patch")
        try:
            patched = jsonpatch.apply_patch(dict(current.resource or {}), operations)
        except jsonpatch.JsonPatchTestFailed:
            raise Refused(409, "conflict", "a test operation of the patch failed") from None
        except jsonpatch.InvalidJsonPatch:
            raise Refused(
                400, "structure", "the patch is no list of JSON Patch operations"
            ) from None
        except (jsonpatch.JsonPatchException, jsonpointer.JsonPointerException):
            raise Refused(422, "processing", "the patch does not apply to the resource") from None
        except (TypeError, KeyError, AttributeError):
            raise Refused(
                400, "structure", "the patch is no list of JSON Patch operations"
            ) from None
        body = self._checked(patched, resource_type)
        if body.get("id") != resource_id:
            raise Refused(422, "business-rule", "a patch cannot change the id")
        return Written(status=200, version=self._put("patch", current.reference, body, "PATCH"))

    def delete(self, resource_type: str, resource_id: str, *, if_match: str = "") -> Written:
        """FHIR delete; of what is deleted already it answers 204 and changes nothing."""
        check_type(resource_type)
        current = self.chart.current.get(f"{resource_type}/{resource_id}")
        if current is None:
            raise Refused(404, "not-found", f"there is no such {resource_type}")
        if current.deleted:
            return Written(status=204, version=current, applied=False)
        self.check_if_match(current, if_match, "delete")
        version = self.chart.put(current.reference, None, method="DELETE")
        self.applied.append(("delete", version))
        return Written(status=204, version=version)

    def check_if_match(self, current: Version, if_match: str, interaction: str) -> None:
        """Raises Refused if `if_match` names another version than the current one."""
        if not if_match and self.habits.if_match_required:
            raise Refused(412, "required", "a change needs If-Match here")
        if not if_match or interaction in self.habits.ignore_if_match:
            return
        shape = ETAG.fullmatch(if_match.strip())
        if shape is None:
            raise Refused(400, "value", 'If-Match must look like W/"3"')
        if shape[1] != str(current.number):
            text = "the resource has changed: If-Match does not hold"
            raise Refused(self.habits.stale_status, "conflict", text)

    def _checked(self, resource: Any, resource_type: str) -> Mapping[str, Any]:
        return check_resource(resource, resource_type, codes=self.habits.checks_codes)

    def _living(self, resource_type: str, resource_id: str) -> Version:
        check_type(resource_type)
        current = self.chart.current.get(f"{resource_type}/{resource_id}")
        if current is None:
            raise Refused(404, "not-found", f"there is no such {resource_type}")
        if current.deleted:
            raise Refused(410, "deleted", f"the {resource_type} has been deleted")
        return current

    def _put(
        self, interaction: str, reference: str, body: Mapping[str, Any], method: str
    ) -> Version:
        altered = self.habits.alter(body) if self.habits.alter else body
        version = self.chart.put(reference, altered, method=method)
        self.applied.append((interaction, version))
        return version
