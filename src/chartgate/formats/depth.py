"""How deep a JSON text nests and how many parts it has, found without parsing it.

A parser that recurses can be killed by depth alone, and one that makes an object of each part by
their number, so this stands before every parse of what a stranger sent. Source: RFC 8259, section 9 (a parser may set limits on nesting).
"""

import re

# A string that is never closed is taken to the end in one go: tried again from each of its quotes,
# it would take quadratic time.
STRINGS = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)', re.DOTALL)
BRACKETS = bytes.maketrans(b"{}", b"[]")
NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))


def deeper_than(text: bytes, depth_max: int) -> bool:
    """True if the brackets of `text` nest deeper than `depth_max`, or do not match up.

    Each pass takes the innermost pairs away, in C; what is left after `depth_max` is too deep.
    """
    brackets = STRINGS.sub(b"", text).translate(BRACKETS, NOT_BRACKETS)
    for _ in range(depth_max):
        left = brackets.replace(b"[]", b"")
        if len(left) == len(brackets):
            break
        brackets = left
    return bool(brackets)


def more_parts_than(text: bytes, parts_max: int) -> bool:
    """True if `text` has more keys and items than that: colons and commas outside its strings."""
    if text.count(b":") + text.count(b",") <= parts_max:
        return False
    bare = STRINGS.sub(b"", text)
    return bare.count(b":") + bare.count(b",") > parts_max
