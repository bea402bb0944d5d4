"""Three versions of one resource, element by element: before our write, as we wrote it, and now."""

from dataclasses import dataclass
from typing import Any

from chartgate.model.resource import Resource
from chartgate.policy.differences import leaf_changes

SERVER_OWNED = ("id", "meta", "text")  # not what anybody wrote


@dataclass(frozen=True, kw_only=True)
class ThreeWay:
    """One element that differs between the three. None: not there."""

    path: str
    before: Any
    written: Any
    now: Any

    @property
    def moved_on(self) -> bool:
        """Whether somebody changed it after we wrote it."""
        return type(self.written) is not type(self.now) or self.written != self.now


def three_way(
    before: Resource | None, written: Resource | None, now: Resource | None
) -> tuple[ThreeWay, ...]:
    """Each element that our write changed, or that somebody changed since; what changed since
    comes first."""
    ours = {path: (old, new) for path, old, new in leaf_changes(_plain(before), _plain(written))}
    since = {path: (old, new) for path, old, new in leaf_changes(_plain(written), _plain(now))}
    found = []
    for path in dict.fromkeys([*since, *ours]):
        old, left = ours[path] if path in ours else (since[path][0], since[path][0])
        found.append(
            ThreeWay(
                path=path, before=old, written=left, now=since[path][1] if path in since else left
            )
        )
    return tuple(found)


def _plain(resource: Resource | None) -> Resource | None:
    if resource is None:
        return None
    return {k: v for k, v in resource.items() if k not in SERVER_OWNED}
