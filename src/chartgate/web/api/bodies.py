"""Request bodies and queries as openapi.yaml describes them, or Invalid with the field's name."""

from collections.abc import Collection
from difflib import get_close_matches
from typing import Any

from chartgate.errors import Invalid
from chartgate.web.routes import Call


class Body:
    """The fields of one JSON object. Unknown ones are refused, with the near name."""

    def __init__(self, call: Call, *, known: Collection[str]) -> None:
        value = call.json()
        if not isinstance(value, dict):
            raise Invalid("the body must be a JSON object")
        for name in value:
            if name not in known:
                raise Invalid(f"the body has a field that is not known{_hint(name, known)}")
        self._value = value

    def text(self, name: str) -> str:
        """A text that must be there and not be empty."""
        value = self.optional_text(name)
        if not value:
            raise Invalid(f"{name} must be a text that is not empty")
        return value

    def optional_text(self, name: str) -> str | None:
        """A text, if there is one."""
        value = self._value.get(name)
        if value is not None and not isinstance(value, str):
            raise Invalid(f"{name} must be a text")
        return value

    def texts(self, name: str, *, count_max: int) -> tuple[str, ...]:
        """A list of at most so many texts; none where it is not there."""
        value = self._value.get(name, [])
        if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
            raise Invalid(f"{name} must be a list of texts")
        if len(value) > count_max:
            raise Invalid(f"{name} must have at most {count_max} items")
        return tuple(value)

    def number(self, name: str) -> float:
        """A number that must be there."""
        value = self._value.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise Invalid(f"{name} must be a number")
        return value

    def raw(self, name: str) -> Any:
        """Whatever JSON is there; must be there."""
        if name not in self._value:
            raise Invalid(f"{name} is missing")
        return self._value[name]


def asked(call: Call, *, known: Collection[str]) -> dict[str, str]:
    """The query's parameters, each at most once. Raises Invalid, with the near name."""
    pairs = call.query
    for name, _ in pairs:
        if name not in known:
            raise Invalid(f"the query has a parameter that is not known{_hint(name, known)}")
    if len(dict(pairs)) != len(pairs):
        raise Invalid("a parameter of the query stands twice")
    return dict(pairs)


def _hint(name: str, known: Collection[str]) -> str:
    near = get_close_matches(name, list(known), n=1)
    return f"; did you mean {near[0]}?" if near else f"; known: {', '.join(known)}"
