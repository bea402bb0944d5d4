"""What the hospital wears: a dialect file of Chartgate, behaved as its lines say.

`--dialect NAME` makes the sample hospital refuse, ignore and answer as the lines of
`adapters/fhir_r4/dialects/NAME.toml` say, so that each quirk can be tried. The files are read as
data; no code is shared with the adapter. A line that a file does not have is as FHIR has it.
"""

import time
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

import orjson

from chartgate.demo.hospital.exchange import Answer, Refused, Request
from chartgate.demo.hospital.lies import with_frozen_etag, without_etag
from chartgate.demo.hospital.writes import Alter
from chartgate.errors import ConfigError

SEARCH_CACHED_S = 60.0  # HAPI's default
TOGETHER = ("transaction_atomic", "if_match_in_transaction", "patch_in_transaction")
WITH_CONTENT = ("create", "update", "patch")
VERSIONED = ("create", "update", "patch", "read", "search", "history", "vread", "transaction")


@dataclass(frozen=True, kw_only=True)
class Dress:
    """The lines of one dialect, by their names. Without any it is plain FHIR."""

    name: str = ""
    lines: Mapping[str, str | bool] = field(default_factory=dict)
    filled: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # paths it fills on save
    searches: dict[str, tuple[float, Answer]] = field(default_factory=dict)

    @property
    def plain(self) -> bool:
        """Whether nothing deviates."""
        return not self.lines and not self.filled

    def denies(self, line: str) -> bool:
        """Whether its dialect says that this does not hold."""
        return self.lines.get(line) is False

    def says(self, line: str) -> bool:
        """Whether its dialect says that this holds."""
        return self.lines.get(line) is True

    def check(self, interaction: str, resource_type: str, request: Request) -> None:
        """Raises Refused for what this product does not offer."""
        offered = {
            "create": _among(self.lines.get("creates"), resource_type),
            "update": _among(self.lines.get("updates"), resource_type),
            "patch": not (self.denies("if_match_on_patch") and self.denies("patch_test")),
            "delete": not self.denies("delete"),
            "history": not self.denies("history"),
            "transaction": not all(map(self.denies, TOGETHER)),
            "batch": not self.denies("if_match_in_batch"),
        }
        if not offered.get(interaction, True):
            raise Refused(405, "not-supported", f"{interaction} is not offered here")
        if interaction == "patch" and self.denies("patch_test"):
            _check_paths(request.body)

    def hear(self, request: Request) -> Request:
        """The request as far as this product looks at it."""
        if self.denies("conditional_read") and "if-none-match" in request.headers:
            headers = dict(request.headers)
            del headers["if-none-match"]
            request.headers = headers
        return request

    def ignored_if_match(self, interaction: str) -> frozenset[str]:
        """Which writes pass over If-Match, in a request of this kind."""
        together = interaction in ("transaction", "batch")
        lines = {
            "update": "if_match_in_transaction" if together else "if_match_on_put",
            "patch": "if_match_on_patch",
            "delete": "delete_in_transaction" if together else "if_match_on_delete",
        }
        return frozenset(write for write, line in lines.items() if self.denies(line))

    def ignores_if_none_exist(self, interaction: str) -> bool:
        """Whether creates pass over If-None-Exist, in a request of this kind."""
        together = interaction in ("transaction", "batch")
        return self.denies("if_none_exist_in_transaction" if together else "if_none_exist")

    @property
    def splits_transactions(self) -> bool:
        """Whether a transaction is done entry by entry."""
        return self.denies("transaction_atomic")

    @property
    def alter(self) -> Alter | None:
        """What it fills in by itself on each save; None for nothing."""
        return self._fill if self.filled else None

    def show(self, interaction: str, answer: Answer) -> Answer:
        """The answer as this product gives it."""
        if self.says("versions_frozen"):
            answer = with_frozen_etag(answer)
        elif self.denies("etag_present") and interaction in VERSIONED:
            answer = without_etag(answer, everywhere=True)
        if self.denies("answers_with_content") and interaction in WITH_CONTENT:
            answer.body = b""
        return answer

    def throttle(self, setting: dict[str, Any]) -> dict[str, Any]:
        """How a 429 is worded here."""
        if self.denies("retry_after_on_429") and "retry_after_s" in setting:
            return {"rate_limit_s": setting["retry_after_s"]}
        return setting

    def cached(self, request: Request) -> Answer | None:
        """A search that was answered a moment ago, unless its sender wants no cache."""
        kept = self.searches.get(f"{request.path}?{request.query}")
        if not self.says("caches_searches") or kept is None or _uncached(request):
            return None
        return kept[1] if time.monotonic() - kept[0] < SEARCH_CACHED_S else None

    def keep(self, request: Request, answer: Answer) -> None:
        """Keeps the answer to a search."""
        if self.says("caches_searches"):
            self.searches[f"{request.path}?{request.query}"] = (time.monotonic(), answer)

    def _fill(self, resource: Mapping[str, Any]) -> Mapping[str, Any]:
        changed = orjson.loads(orjson.dumps(resource))
        paths = self.filled.get("*", ()) + self.filled.get(str(resource["resourceType"]), ())
        for path in paths:
            *parents, name = path.split(".")
            holder = changed
            for parent in parents:
                holder = holder.setdefault(parent, {})
            holder[name] = f"filled by {self.name}"
        return dict(changed)


def load_dress(name: str, *, without: Collection[str] = ()) -> Dress:
    """A dialect to wear, by its name, less some of its lines. Raises ConfigError."""
    table = _table(name)
    return Dress(
        name=name,
        lines={k: line["value"] for k, line in table["lines"].items() if k not in without},
        filled={key: tuple(row["paths"]) for key, row in table["ignores"].items()},
    )


def dialect_names() -> list[str]:
    """The dialects that there are."""
    folder = resources.files("chartgate.adapters.fhir_r4") / "dialects"
    return sorted(f.name.removesuffix(".toml") for f in folder.iterdir() if f.name.endswith("toml"))


def _table(name: str) -> dict[str, dict[str, Any]]:
    if name not in dialect_names():
        raise ConfigError(f"there is no dialect {name}; there are {', '.join(dialect_names())}")
    file = resources.files("chartgate.adapters.fhir_r4") / "dialects" / f"{name}.toml"
    table = tomllib.loads(file.read_text(encoding="utf-8"))
    parent = _table(table["extends"]) if "extends" in table else {"lines": {}, "ignores": {}}
    return {key: {**parent[key], **table.get(key, {})} for key in ("lines", "ignores")}


def _among(types: str | bool | None, resource_type: str) -> bool:
    return types is None or types == "*" or resource_type in str(types).split()


def _check_paths(body: bytes) -> None:
    """A product that patches named elements only knows none of those of the server."""
    try:
        operations = orjson.loads(body)
    except orjson.JSONDecodeError:
        return  # refused further on, in its own words
    for operation in operations if isinstance(operations, list) else ():
        path = operation.get("path") if isinstance(operation, dict) else None
        if str(path).startswith("/meta"):
            raise Refused(422, "business-rule", "this path cannot be patched here")


def _uncached(request: Request) -> bool:
    return "no-cache" in request.headers.get("cache-control", "")
