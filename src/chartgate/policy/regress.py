"""Whether a resource stands before what was known of it: an EHR restored from a backup, or a replica
that lags behind."""

from datetime import datetime
from typing import Any

from chartgate.model.resource import Resource


def is_before(
    known_version: str, known: Resource | None, live_version: str, live: Resource
) -> bool:
    """Whether `live` is older than the version known before, or another content under its number.
    Version ids are opaque: only whole numbers have an order. What cannot be told is no."""
    numbered = known_version.isdecimal() and live_version.isdecimal()
    if numbered and int(live_version) < int(known_version):
        return True
    if known is None:
        return False
    then, now = _updated(known), _updated(live)
    if then is not None and now is not None and now < then:
        return True
    return live_version == known_version != "" and _bare(live) != _bare(known)


def _updated(resource: Resource) -> datetime | None:
    meta: Any = resource.get("meta")
    stamp = meta.get("lastUpdated") if isinstance(meta, dict) else None
    try:
        found = datetime.fromisoformat(stamp) if isinstance(stamp, str) else None
    except ValueError:
        return None
    return found if found is not None and found.tzinfo is not None else None


def _bare(resource: Resource) -> Resource:
    return {k: v for k, v in resource.items() if k not in ("meta", "text")}
