"""What a charter's `review` cannot mean, though its shape is right."""

from collections.abc import Iterator, Mapping
from typing import Any

from chartgate.formats import r4
from chartgate.policy.charter_shape import near


def review_findings(where: str, action: Mapping[str, Any]) -> Iterator[str]:
    """A sentence for each mistake in how one action is reviewed."""
    review = action["review"]
    where = f"{where}.review"
    roles, people = review.get("roles", []), review.get("people")
    if roles and review["by"] not in roles:
        yield f"{where}.roles: the role {review['by']} of by must be among them"
    if people is not None and people < len(roles):
        yield f"{where}.people: {len(roles)} roles need as many people at least"
    if review.get("auto") and max(people or 1, len(roles)) > 1:
        yield f"{where}.auto: a rule cannot stand in where several people must approve"
    known = _written_elements(action["writes"])
    for element in review.get("acknowledge", []):
        if element not in known:
            yield (
                f"{where}.acknowledge: nothing that is written has an element {element}"
                f"{near(element, known)}"
            )


def _written_elements(writes: list[str]) -> set[str]:
    """Names of elements that could be among the differences of a proposal."""
    types = {write.partition(" ")[2].partition(".")[0] for write in writes}
    known = {t for t in types if r4.is_resource_type(t)}
    return {name for type_ in known for name in r4.element_names(type_)}
