"""What a change of chartgate.toml makes weaker, in sentences.

`posture` takes out of the settings what rights, proof and privacy hang on. Of that, a change counts
unless a row here says that this direction is the stricter one.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from typing import Any

from chartgate.config import Config
from chartgate.policy.weakening import fewer, harmless, higher, lower, more, other

Compare = Callable[[Any, Any], str | None]

# How loose each mode of consent is.
CONSENT_MODES = ("opt-in", "opt-in-with-exceptions", "opt-out", "not-needed")
# Sections, and tables of sections, that say how the machine runs and not what may be done.
RUNNING = {"store", "mllp", "worker", "drift", "folder", "data_dir", "charters_dir"}
WEB = (
    "public_url", "token_lifetime_s", "session_idle_s", "session_lifetime_s",
    "sign_in_failures_max", "sign_in_lock_s", "trusted_proxies",
)  # fmt: skip
NAMED = ("connections", "clients", "sites", "launch", "vendors")  # tables by name


def posture(config: Config) -> dict[str, Any]:
    """The settings that matter, as plain values."""
    whole = {k: v for k, v in asdict(config).items() if k not in RUNNING}
    whole["web"] = {k: v for k, v in whole["web"].items() if k in WEB}
    plain: dict[str, Any] = _plain(whole)
    return plain


def config_weakenings(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[str, ...]:
    """A sentence for each setting that is weaker in `after`. Both are postures."""
    found: list[str] = []
    for section in sorted({*before, *after}):
        old, new = before.get(section), after.get(section)
        if section in NAMED:
            found += _tables(section, old or {}, new or {})
        elif isinstance(old, Mapping) and isinstance(new, Mapping):
            found += (f"[{section}] {what}" for what in _compared(old, new))
        elif old is None:
            continue  # a section that this release knows and the one before did not
        else:
            found += _one(section, old, new)
    return tuple(found)


def _tables(
    section: str, before: Mapping[str, Mapping[str, Any]], after: Mapping[str, Mapping[str, Any]]
) -> Iterator[str]:
    """Named tables: one that is new gives nothing by itself, except who may sign in or send."""
    for name in sorted({*before, *after}):
        old, new = before.get(name), after.get(name)
        if old is None and section == "launch":
            yield f"[launch.{name}] lets another system sign people in"
        elif new is None and section in ("vendors", "sites"):
            yield f"[{section}.{name}] is gone"
        elif old is not None and new is not None:
            yield from (f"[{section}.{name}] {what}" for what in _compared(old, new))


def _compared(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    for key in sorted({*before, *after}):
        if key in before:
            yield from _one(key, before[key], after.get(key))


def _one(key: str, before: Any, after: Any) -> Iterator[str]:
    if before == after:
        return
    found = KEYS.get(key, other)(before, after) if after is not None else "is gone"
    if found:
        yield f"{key} {found}"


def _off(before: Any, after: Any) -> str | None:
    """A switch that was on, or a word that was the stricter."""
    return f"is {_word(after)}, and was {_word(before)}" if before in (True, "required") else None


def _on(before: Any, after: Any) -> str | None:
    return f"is {_word(after)}, and was {_word(before)}" if after is True else None


def _consent(before: str, after: str) -> str | None:
    known = before in CONSENT_MODES and after in CONSENT_MODES
    if known and CONSENT_MODES.index(after) < CONSENT_MODES.index(before):
        return None
    return f"is {after}, and was {before}"


def _word(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, frozenset | set):
        return sorted(str(v) for v in value)
    return value if isinstance(value, str | int | float | bool | None) else str(value)


KEYS: Mapping[str, Compare] = {
    "production": _off,
    "mfa": _off,
    "two_people": _off,
    "keep_passwords": _on,
    "consent": _consent,
    "consent_fresh_s": higher,
    "change_within_h": higher,
    "break_glass_roles": more,
    "break_glass_minutes_max": higher,
    "break_glass_per_day": higher,
    "break_glass_review_within_h": higher,
    "private": more,  # networks of [egress]
    "origins": more,
    "trusted_proxies": more,
    "mfa_amr": more,
    "mfa_acr": more,
    "scopes": more,
    "token_lifetime_s": higher,
    "session_idle_s": higher,
    "session_lifetime_s": higher,
    "sign_in_failures_max": higher,
    "sign_in_lock_s": lower,
    "dwell_s": lower,
    "word_s": lower,
    "field_s": lower,
    "interval_s": higher,  # merge delay of the ledger
    "site": other,
    "name": harmless,
    "crl_file": other,
    "contracts": fewer,
}
