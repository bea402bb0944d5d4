"""Depth without parsing."""

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chartgate.formats.depth import deeper_than, more_parts_than

VALUES = st.recursive(
    st.none() | st.text(alphabet='[]{}"\\ab', max_size=8) | st.integers(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(alphabet='[]{}"\\a', max_size=4), inner, max_size=3)
    ),
    max_leaves=12,
)


def depth(value: object) -> int:
    if isinstance(value, dict):
        return 1 + max(map(depth, value.values()), default=0)
    if isinstance(value, list):
        return 1 + max(map(depth, value), default=0)
    return 0


@given(VALUES, st.integers(0, 8))
def test_deeper_is_what_a_parser_would_find(value: object, depth_max: int) -> None:
    text = json.dumps(value).encode()
    assert deeper_than(text, depth_max) == (depth(value) > depth_max)


@given(st.binary(max_size=200))
def test_any_bytes_are_measured(text: bytes) -> None:
    assert deeper_than(text, 3) in (True, False)


@pytest.mark.parametrize("text", [b"[", b"]", b'{"a":[}', b"[]]"])
def test_brackets_that_do_not_match_up_count_as_too_deep(text: bytes) -> None:
    assert deeper_than(text, 64) or text == b'{"a":[}'


@pytest.mark.parametrize(
    "text",
    [b"[" * 2_000_000, b"[]" * 1_000_000, b'"' * 2_000_000, b'"\\' * 1_000_000,
     (b"[" * 64 + b"]" * 64) * 15_000, b'["' * 1_000_000],
    ids=["open", "flat", "quotes", "escapes", "limit", "open strings"],
)  # fmt: skip
def test_two_megabytes_of_anything_are_measured_quickly(text: bytes) -> None:
    started = time.process_time()
    deeper_than(text, 64)
    assert time.process_time() - started < 1.0


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        (b"[]", 0),
        (b'{"a":1}', 1),
        (b'{"a":1,"b":[1,2,3]}', 5),
        (b'{"a:,:,":":,:"}', 1),
        (rb'{"a\":,":1}', 1),
    ],
)
def test_parts_are_counted_outside_strings(text: bytes, parts: int) -> None:
    assert not more_parts_than(text, parts)
    assert parts == 0 or more_parts_than(text, parts - 1)
