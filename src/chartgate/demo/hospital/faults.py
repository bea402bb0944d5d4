"""Faults by switch: how the sample hospital misbehaves, for tests and drills.

`PUT /control/faults` takes an object of fault names; a value is the setting itself, or an object
that narrows it, or a list of those:

    {"latency_s": 0.2}
    {"error_after_applying": {"value": 502, "interactions": ["create"], "times": 1}}
    {"latency_s": [{"value": 1, "types": ["Slot"]}, {"value": 0.1, "interactions": ["search"]}]}

`interactions` are read vread search history create update patch delete transaction batch metadata
token; `types` resource types (a transaction counts as all types in it); `times` how often it acts
before it switches itself off. What there is:

| name | value | what happens |
|---|---|---|
| latency_s | seconds | waits before doing anything |
| down | "503", "reset" | answers 503, or cuts the connection, and does nothing |
| throttle | {"retry_after_s": n}, {"rate_limit_s": n} or {} | 429 with that header, or none |
| unauthorised | true | 401, whatever the token |
| expire_tokens | true | every token issued so far stops working now |
| error_after_applying | 500, 502, 504 | applies, then answers that status |
| reset_after_applying | true | applies, then cuts the connection |
| hang_after_applying_s | seconds | applies, then answers that much later |
| apply_late_s | seconds | answers 504 at once and applies that much later |
| stale_reads | {"versions": n} or {"seconds": t} | reads and searches see an older state |
| ignore_if_match | true | If-Match is not looked at (narrow by interactions) |
| ignore_if_none_exist | true | creates duplicates |
| change_on_save | {"drop": [paths], "set": {path: value}, "reorder": true, "strip_marker": true} | stores something else than was sent |
| no_etag | "headers", "all" | no ETag; with "all" no meta.versionId either |
| batch_partial | n | a transaction does n entries, then fails with 500, keeping them |
| keep_half | true | a transaction that is refused keeps what it did before |
| forget_writes | true | answers as if it had written, and stores nothing |
| frozen_etag | true | every version is version 1, and If-Match of it always holds |
| strong_etags | true | ETags are strong, and a weak If-Match never holds |
| always_304 | true | each conditional read is answered with 304 |
| race_s | seconds | that long between looking for If-None-Exist and creating |
| clock_skew_s | seconds | Date headers are that much ahead |
"""

import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import jsonpatch
import jsonpointer

from chartgate.demo.hospital.journal import MARKER_SYSTEM

NAMES = frozenset(
    [
        "latency_s",
        "down",
        "throttle",
        "unauthorised",
        "expire_tokens",
        "error_after_applying",
        "reset_after_applying",
        "hang_after_applying_s",
        "apply_late_s",
        "stale_reads",
        "ignore_if_match",
        "ignore_if_none_exist",
        "change_on_save",
        "no_etag",
        "batch_partial",
        "keep_half",
        "forget_writes",
        "frozen_etag",
        "strong_etags",
        "always_304",
        "race_s",
        "clock_skew_s",
    ]
)


@dataclass(slots=True, kw_only=True)
class Fault:
    """One switched-on fault. Empty filters mean everything; `times` None means for ever."""

    name: str
    value: Any = True
    interactions: frozenset[str] = frozenset()
    types: frozenset[str] = frozenset()
    times: int | None = None
    hits: int = 0
    since: float = field(default_factory=time.monotonic)

    def acts_on(self, interaction: str, types: frozenset[str]) -> bool:
        """Whether it is still on, and for this."""
        if self.times is not None and self.hits >= self.times:
            return False
        if self.interactions and interaction not in self.interactions:
            return False
        return not self.types or not self.types.isdisjoint(types)


class Faults:
    """The switches."""

    def __init__(self) -> None:
        self.on: list[Fault] = []

    def switch(
        self,
        name: str,
        value: Any = True,
        *,
        interactions: Iterable[str] = (),
        types: Iterable[str] = (),
        times: int | None = None,
    ) -> Fault:
        """Adds a fault. Raises ValueError for a name that is not known."""
        if name not in NAMES:
            raise ValueError(f"no fault is called {name}; there are {', '.join(sorted(NAMES))}")
        fault = Fault(
            name=name,
            value=value,
            interactions=frozenset(interactions),
            types=frozenset(types),
            times=times,
        )
        self.on.append(fault)
        return fault

    def clear(self, name: str = "") -> None:
        """Switches one kind, or everything, off."""
        self.on = [f for f in self.on if name and f.name != name]

    def hit(self, name: str, interaction: str, types: frozenset[str]) -> Any:
        """The value of the first such fault that acts here, counted; None if none does."""
        for fault in self.on:
            if fault.name == name and fault.acts_on(interaction, types):
                fault.hits += 1
                return fault.value
        return None

    def load(self, table: Mapping[str, Any]) -> None:
        """Replaces all by what a PUT says. Raises ValueError; then nothing is changed."""
        before, self.on = self.on, []
        try:
            for name, settings in table.items():
                for setting in settings if isinstance(settings, list) else [settings]:
                    narrowed = isinstance(setting, dict) and "value" in setting
                    self.switch(name, **(setting if narrowed else {"value": setting}))
        except (ValueError, TypeError):
            self.on = before
            raise

    def shown(self) -> list[dict[str, Any]]:
        """All switches with how often each acted."""
        rows = [asdict(fault) for fault in self.on]
        for row in rows:
            row["interactions"], row["types"] = sorted(row["interactions"]), sorted(row["types"])
            del row["since"]
        return rows


def altered(resource: Mapping[str, Any], setting: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a hospital with `change_on_save` stores instead of `resource`."""
    changed = dict(resource)
    operations = [{"op": "remove", "path": path} for path in setting.get("drop", ())]
    operations += [
        {"op": "add", "path": path, "value": value}
        for path, value in setting.get("set", {}).items()
    ]
    for operation in operations:
        try:
            changed = jsonpatch.apply_patch(changed, [operation])
        except (jsonpatch.JsonPatchException, jsonpointer.JsonPointerException):
            continue  # this resource has no such element
    if setting.get("strip_marker"):
        changed = _without_marker(changed)
    if setting.get("reorder"):
        changed = {
            name: value[::-1] if isinstance(value, list) else value
            for name, value in reversed(changed.items())
        }
    return changed


def _without_marker(resource: dict[str, Any]) -> dict[str, Any]:
    changed = dict(resource)
    identifiers = changed.get("identifier")
    if isinstance(identifiers, list):
        kept = [i for i in identifiers if i.get("system") != MARKER_SYSTEM]
        changed["identifier"] = kept
        if not kept:
            del changed["identifier"]
    meta = changed.get("meta")
    if isinstance(meta, dict) and "tag" in meta:
        tags = [t for t in meta["tag"] if t.get("system") != MARKER_SYSTEM]
        changed["meta"] = {**{k: v for k, v in meta.items() if k != "tag"}}
        if tags:
            changed["meta"]["tag"] = tags
    return changed
