"""Whether a forbid's condition can only hold more as a resource's labels get more restrictive.

A rule such as "forbid unless it is labelled PSY", or one on confidentiality "R" that forgets "V",
would give more to whoever sees the more restricted resource. Labels only restrict, so a forbid
that cannot be seen to keep to that is not taken. The check reads Cedar's JSON form of expressions.
Source: https://docs.cedarpolicy.com/policies/json-format.html
"""

from collections.abc import Iterator, Mapping
from typing import Any

from chartgate.model.label import CONFIDENTIALITY

SENSITIVITIES = "sensitivities"
CONFIDENTIALITY_KEY = "confidentiality"
LABEL_KEYS = frozenset({SENSITIVITIES, CONFIDENTIALITY_KEY})
CONTEXT = {"Var": "context"}
WHOLE = "*"  # the context used as a whole: whatever is in it


def keys_asked(node: Any) -> Iterator[str]:
    """Keys of the context that an expression looks at."""
    if isinstance(node, list):
        for each in node:
            yield from keys_asked(each)
    elif isinstance(node, Mapping):
        if node == CONTEXT:
            yield WHOLE
            return
        for operator, body in node.items():
            if operator in (".", "has") and body.get("left") == CONTEXT:
                yield body["attr"]
            elif operator != "Value":
                yield from keys_asked(body)


def only_restricts(condition: Mapping[str, Any]) -> bool:
    """Whether one `when` or `unless` of a forbid holds more, never less, as labels are added."""
    return _grows(condition["body"], up=condition["kind"] == "when")


def _grows(node: Mapping[str, Any], *, up: bool) -> bool:
    """With `up`: more labels never make it false. Without: they never make it true."""
    if not _on_labels(node):
        return True
    ((operator, body),) = node.items()
    match operator:
        case "has":
            return True  # whether labels are known does not depend on what they are
        case "&&" | "||":
            return _grows(body["left"], up=up) and _grows(body["right"], up=up)
        case "!":
            return _grows(body["arg"], up=not up)
        case "if-then-else" if not _on_labels(body["if"]):
            return _grows(body["then"], up=up) and _grows(body["else"], up=up)
        case "isEmpty":
            return not up and _is_key(body["arg"], SENSITIVITIES)
        case "contains" | "containsAny" | "containsAll" | "==" | "!=":
            return _compares(operator, body["left"], body["right"], up=up)
    return False


def _compares(operator: str, left: Any, right: Any, *, up: bool) -> bool:
    if operator == "containsAll" and _is_key(right, SENSITIVITIES):
        return not up and not _on_labels(left)
    if operator.startswith("contains") and _is_key(left, SENSITIVITIES):
        return up and not _on_labels(right)
    if operator == "containsAny" and _is_key(right, SENSITIVITIES):
        return up and not _on_labels(left)
    if operator == "contains" and _is_key(right, CONFIDENTIALITY_KEY):
        return _is_end(_texts(left), up=up)
    if operator in ("==", "!="):
        value = next((v for k, v in ((left, right), (right, left)) if _is_level(k)), None)
        return _is_end(_texts([value]), up=up if operator == "==" else not up)
    return False


def _is_end(levels: frozenset[str] | None, *, up: bool) -> bool:
    """Whether these are all levels from one on, upwards or downwards."""
    if levels is None or not levels <= set(CONFIDENTIALITY):
        return False  # a level that there is not is a typo for one that there is
    scale = CONFIDENTIALITY if up else CONFIDENTIALITY[::-1]
    inside = [level in levels for level in scale]
    return inside == sorted(inside)


def _texts(node: Any) -> frozenset[str] | None:
    """The texts of a literal set; None for anything else."""
    if isinstance(node, Mapping):
        node = node.get("Set", node.get("Value"))
    if not isinstance(node, list):
        return None
    values = [n.get("Value") if isinstance(n, Mapping) else n for n in node]
    texts = frozenset(v for v in values if isinstance(v, str))
    return texts if len(texts) == len(values) else None


def _is_level(node: Any) -> bool:
    return _is_key(node, CONFIDENTIALITY_KEY)


def _is_key(node: Any, key: str) -> bool:
    return bool(node == {".": {"left": CONTEXT, "attr": key}})


def _on_labels(node: Any) -> bool:
    return not {*LABEL_KEYS, WHOLE}.isdisjoint(keys_asked(node))
