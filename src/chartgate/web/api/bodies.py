"""Request bodies: the object that openapi.yaml describes, or Invalid with the field's name."""

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
                near = get_close_matches(name, list(known), n=1)
                hint = f"; did you mean {near[0]}?" if near else f"; known: {', '.join(known)}"
                raise Invalid(f"the body has a field that is not known{hint}")
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
