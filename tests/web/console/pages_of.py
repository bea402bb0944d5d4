"""A page as a test reads it: its text, its forms and buttons, and what must hold of each."""

from dataclasses import dataclass, field
from html.parser import HTMLParser

from tests.web.front_desk import Answer

VOID = frozenset({"meta", "link", "input", "br", "img"})


@dataclass
class Button:
    """A button, whose form it is in, and the sentence that it points to."""

    label: str
    action: str
    disabled: bool
    described_by: str


@dataclass
class Form:
    """Where a form goes, and its hidden fields."""

    action: str
    fields: dict[str, str] = field(default_factory=dict)


class Page(HTMLParser):
    """Parsed HTML."""

    def __init__(self, answer: Answer) -> None:
        super().__init__()
        self.status = answer.status
        self.headers = answer.headers
        self.source = answer.text
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.forms: list[Form] = []
        self.buttons: list[Button] = []
        self.by_id: dict[str, str] = {}
        self._open: list[tuple[str, str]] = []
        self._texts: list[str] = []
        self.feed(self.source)

    @property
    def text(self) -> str:
        """All that is to be read, with single spaces, also between elements."""
        return " ".join(" ".join(self._texts).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.tags.append((tag, found))
        if tag == "form":
            self.forms.append(Form(action=found.get("action", "")))
        if tag == "input" and found.get("type") == "hidden":
            self.forms[-1].fields[found["name"]] = found["value"]
        if tag == "button":
            self.buttons.append(
                Button(
                    label="",
                    action=self.forms[-1].action,
                    disabled="disabled" in found,
                    described_by=found.get("aria-describedby", ""),
                )
            )
        if tag not in VOID:
            self._open.append((tag, found.get("id", "")))

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop()[0] != tag:
            pass

    def handle_data(self, data: str) -> None:
        self._texts.append(data)
        if self._open and self._open[-1][0] == "button":
            self.buttons[-1].label += data
        for _, id_ in self._open:
            if id_:
                self.by_id[id_] = self.by_id.get(id_, "") + data

    def button(self, label: str) -> Button:
        """The button of that label."""
        (found,) = (b for b in self.buttons if b.label.strip() == label)
        return found

    def why_not(self, label: str) -> str:
        """The sentence beside a disabled button."""
        button = self.button(label)
        assert button.disabled
        return self.by_id[button.described_by]

    def form(self, action: str) -> Form:
        """The form that goes there."""
        (found,) = (f for f in self.forms if f.action.endswith(action))
        return found

    def attributes(self, tag: str) -> list[dict[str, str]]:
        """Those of every tag of the name."""
        return [found for name, found in self.tags if name == tag]
