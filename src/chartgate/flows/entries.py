"""Each change of a proposal decided on by itself, where the charter asks for that.

What somebody refuses is left out. What remains is another content: it is checked anew, and
approved as it then is, so that no approval is ever of something that nobody was shown.
"""

from collections.abc import Sequence
from typing import Any

from chartgate.errors import Unprocessable
from chartgate.model.charter import ActionRule
from chartgate.model.proposal import Content
from chartgate.model.write import change_json

VERDICTS = ("approve", "refuse")


def kept_changes(
    action: ActionRule | None, content: Content, each: Sequence[str]
) -> list[dict[str, Any]]:
    """The changes that remain, as JSON, where some are refused; empty: all are approved, or none
    is decided on by itself. Raises Unprocessable where a verdict is missing."""
    count = len(content.changes)
    asked = action is not None and action.review_each and count > 1
    if not each and not asked:
        return []
    if not asked:
        raise Unprocessable("this action takes one decision on all of its changes")
    if len(each) != count or any(verdict not in VERDICTS for verdict in each):
        raise Unprocessable(
            f"this action asks for a decision on each change: send {count} times approve or "
            "refuse, in the order of the changes"
        )
    if "approve" not in each:
        raise Unprocessable("every change is refused; refuse the proposal, and say why")
    if "refuse" not in each:
        return []
    pairs = zip(content.changes, each, strict=True)
    return [change_json(change) for change, verdict in pairs if verdict == "approve"]
