"""The contract as a judge: each call of a test is held against openapi.yaml, both ways."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import jsonschema_rs
import yaml

from chartgate.web.api.contract import contract_text
from tests.web.front_desk import Answer, FrontDesk

METHODS = ("get", "put", "post", "delete", "patch")


@cache
def document() -> dict[str, Any]:
    """openapi.yaml, parsed."""
    parsed: dict[str, Any] = yaml.safe_load(contract_text())
    return parsed


def operations() -> dict[tuple[str, str], dict[str, Any]]:
    """Every operation by method and path template."""
    return {
        (method.upper(), path): item[method]
        for path, item in document()["paths"].items()
        for method in METHODS
        if method in item
    }


def resolved(value: dict[str, Any]) -> dict[str, Any]:
    """What a `$ref` of ours points to, or the value itself."""
    while "$ref" in value:
        place: Any = document()
        for step in value["$ref"].removeprefix("#/").split("/"):
            place = place[step]
        value = place
    return value


def violations(schema: dict[str, Any], value: Any) -> list[str]:
    """What of the schema the value breaks."""
    whole = {"allOf": [schema], "components": document()["components"]}
    validator = jsonschema_rs.validator_for(whole, validate_formats=True)
    return [f"{error.instance_path}: {error.message}" for error in validator.iter_errors(value)]


def operation_of(method: str, path: str) -> dict[str, Any]:
    """The operation that a request is for."""
    for (verb, template), operation in operations().items():
        pattern = re.sub(r"\{\w+\}", "[^/]+", template)
        if verb == method and re.fullmatch(pattern, path.partition("?")[0]):
            return operation
    raise AssertionError(f"openapi.yaml has no {method} {path}")


@dataclass(frozen=True, kw_only=True)
class Api:
    """Calls the API. What the contract forbids must be refused; every answer must be as promised."""

    desk: FrontDesk

    async def __call__(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        json: Any = None,
        **more: Any,
    ) -> Answer:
        answer = await self.desk.ask(method, path, headers=headers, json=json, **more)
        operation = operation_of(method, path)
        self._check_answer(operation, answer)
        if json is not None:
            content = operation["requestBody"]["content"]["application/json"]
            broken = violations(content["schema"], json)
            assert answer.status >= 400 or not broken, broken
        return answer

    def _check_answer(self, operation: dict[str, Any], answer: Answer) -> None:
        responses = operation["responses"]
        promised = resolved(responses.get(str(answer.status)) or responses["default"])
        if "content" not in promised:
            assert not answer.body
            return
        media_type = answer.headers["Content-Type"].partition(";")[0]
        schema = promised["content"][media_type]["schema"]
        value = answer.text if media_type == "application/yaml" else answer.json
        assert not violations(schema, value)
        if answer.status >= 400:
            assert responses.get(str(answer.status)) is None
            assert answer.diagnostics.strip()
