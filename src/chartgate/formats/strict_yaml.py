"""YAML for files that people write and machines obey: one value for one text.

Plain data only. Repeated keys, anchors and aliases, tags, several documents, deep nesting and
big files are refused; what looks like a date stays a text.
"""

import re
from typing import Any

import yaml

from chartgate.errors import Invalid, TooLarge

SIZE_BYTES_MAX = 256 * 1024  # a long charter is some 5 kB
DEPTH_MAX = 20  # a charter nests under 8 deep
STRING_TAG = "tag:yaml.org,2002:str"
# YAML 1.2's, so that `on` and `1:30` stay texts.
PLAIN = (
    ("tag:yaml.org,2002:bool", re.compile(r"true|false"), "tf"),
    ("tag:yaml.org,2002:int", re.compile(r"[-+]?[0-9]{1,18}"), "-+0123456789"),
    ("tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9]{1,18}\.[0-9]{1,18}"), "-+0123456789"),
    ("tag:yaml.org,2002:null", re.compile(r"null|~|"), ["n", "~", ""]),
)


def load_yaml(body: bytes) -> Any:
    """The one value of a YAML text. Raises Invalid (with the line) and TooLarge."""
    if len(body) > SIZE_BYTES_MAX:
        raise TooLarge(f"the file is over {SIZE_BYTES_MAX} bytes")
    try:
        text = body.decode("utf-8")
        _check_events(text)
        return yaml.load(text, Loader=StrictLoader)  # a SafeLoader, made stricter
    except UnicodeDecodeError:
        raise Invalid("the file is not UTF-8 text") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        line = f"line {mark.line + 1}: " if mark else ""
        raise Invalid(f"{line}{error.problem or error}") from None
    except (yaml.YAMLError, ValueError) as error:
        raise Invalid(f"the file is no YAML: {error}") from None


class StrictLoader(yaml.SafeLoader):
    """SafeLoader without YAML 1.1's surprises, and with repeated keys refused."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - filled below, never changed

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag != STRING_TAG:
                raise _error("a key must be a text", key)
            if key.value in seen:
                raise _error(f"the key {key.value} stands twice", key)
            seen.add(key.value)
        mapping: dict[Any, Any] = super().construct_mapping(node, deep=deep)
        return mapping


for tag, pattern, first in PLAIN:
    StrictLoader.add_implicit_resolver(tag, re.compile(rf"^(?:{pattern.pattern})$"), list(first))


def _check_events(text: str) -> None:
    """Looks at the stream before anything is built from it, so that no bomb goes off."""
    depth = documents = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise _error("anchors and aliases are not allowed; write the value out", event)
        if getattr(event, "tag", None) not in (None, "!"):
            raise _error("tags are not allowed", event)
        documents += isinstance(event, yaml.DocumentStartEvent)
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > DEPTH_MAX:
            raise _error(f"nested over {DEPTH_MAX} deep", event)
        if documents > 1:
            raise _error("more than one document", event)


def _error(problem: str, node: Any) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)
