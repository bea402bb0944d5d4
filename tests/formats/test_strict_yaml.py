"""YAML with one meaning for one text."""

import pytest

from chartgate.errors import Invalid, TooLarge
from chartgate.formats.strict_yaml import SIZE_BYTES_MAX, load_yaml


def test_yaml_when_plain_then_texts_stay_texts() -> None:
    text = b"a: {on: yes, t: 1:30, d: 2026-01-01, n: 12, f: 0.5, b: true, z: null, p: 10%}"
    assert load_yaml(text) == {
        "a": {
            "on": "yes",
            "t": "1:30",
            "d": "2026-01-01",
            "n": 12,
            "f": 0.5,
            "b": True,
            "z": None,
            "p": "10%",
        }
    }


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (b"a: 1\nb: {c: 1,\n  c: 2}", "line 3: the key c stands twice"),
        (b"a: &x [1]\nb: *x", "line 1: anchors and aliases"),
        (b"a: !!python/object/apply:os.system [ls]", "tags are not allowed"),
        (b"a: !own x", "tags are not allowed"),
        (b"--- 1\n--- 2", "more than one document"),
        (b"[" * 10_000, "nested over"),
        (b"1: a", "a key must be a text"),
        (b"a: [", "line 1"),
        (b"a: \xff", "not UTF-8"),
        (b"a: \x07", "no YAML"),
    ],
)
def test_yaml_when_it_could_mean_two_things_or_explode_then_it_is_refused(
    text: bytes, sentence: str
) -> None:
    with pytest.raises(Invalid, match=sentence):
        load_yaml(text)


def test_yaml_when_it_is_too_big_then_it_is_refused_unread() -> None:
    with pytest.raises(TooLarge):
        load_yaml(b"#" * (SIZE_BYTES_MAX + 1))
