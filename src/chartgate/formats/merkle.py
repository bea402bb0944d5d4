"""The Merkle tree of RFC 6962: heads, and proofs that a leaf is in.

Trees are kept as 256-ary nodes: a `Node` of level L holds the root of 256^L leaves, so level 0
is the leaf hashes themselves. Any range that a proof speaks of is put together from such nodes,
at most 255 from each level on each side.

Source: https://www.rfc-editor.org/rfc/rfc6962#section-2.1
Source: https://www.rfc-editor.org/rfc/rfc9162#section-2.1 (how proofs are checked)
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

LEVEL_BITS = 8  # a node stands for 2^8 of the level below

EMPTY_ROOT = hashlib.sha256(b"").digest()


class Node(NamedTuple):
    """The root of the 256^level leaves from idx * 256^level on."""

    level: int
    idx: int
    hash: bytes


class Span(NamedTuple):
    """Neighbouring nodes of one level: first, up to but without `end`."""

    level: int
    first: int
    end: int


class Range(NamedTuple):
    """Leaves from `first` up to but without `end`; its hash is MTH of RFC 6962."""

    first: int
    end: int


def leaf_hash(entry: bytes) -> bytes:
    """The hash of one leaf."""
    return hashlib.sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of an inner node."""
    return hashlib.sha256(b"\x01" + left + right).digest()


class Frontier:
    """The right edge of a growing tree: the roots of its perfect subtrees, at most one a height.

    It holds all that appending and the root need, whatever the size. It may also stand for a
    range of a larger tree, if that range starts where a subtree of its size does.
    """

    def __init__(self) -> None:
        self.size = 0
        self._peaks: list[tuple[int, bytes]] = []  # (height, root), higher first

    def append(self, hash_: bytes, *, height: int = 0) -> list[Node]:
        """Adds a leaf hash, or the root of a perfect subtree of 2^height leaves.

        Returns the nodes of level 1 and above that this completes.
        """
        completed = []
        peaks = self._peaks
        self.size += 1 << height
        while peaks and peaks[-1][0] == height:
            hash_ = hashlib.sha256(b"\x01" + peaks.pop()[1] + hash_).digest()
            height += 1
            if height % LEVEL_BITS == 0:
                completed.append(Node(height // LEVEL_BITS, (self.size >> height) - 1, hash_))
        assert not peaks or peaks[-1][0] > height, "a subtree that does not fit the edge"
        peaks.append((height, hash_))
        return completed

    def root(self) -> bytes:
        """MTH of all that was appended."""
        if not self._peaks:
            return EMPTY_ROOT
        root = self._peaks[-1][1]
        for _, peak in reversed(self._peaks[:-1]):
            root = node_hash(peak, root)
        return root


def spans(first: int, end: int) -> list[Span]:
    """The fewest whole nodes that make up the leaves from `first` up to `end`, left to right."""
    found = []
    while first < end:
        level = 0
        while _fits(first, end, 1 << (LEVEL_BITS * (level + 1))):
            level += 1
        shift = LEVEL_BITS * level
        # Up to where a larger node could begin, or to the last whole one of this level.
        larger = ((first >> (shift + LEVEL_BITS)) + 1) << (shift + LEVEL_BITS)
        until = min(larger, (end >> shift) << shift)
        found.append(Span(level, first >> shift, until >> shift))
        first = until
    return found


def frontier_of(first: int, end: int, nodes: Mapping[tuple[int, int], bytes]) -> Frontier:
    """The frontier of a range, from nodes by (level, idx). Raises KeyError if one is missing."""
    frontier = Frontier()
    for span in spans(first, end):
        for idx in range(span.first, span.end):
            frontier.append(nodes[span.level, idx], height=LEVEL_BITS * span.level)
    return frontier


def inclusion_ranges(index: int, size: int) -> list[Range]:
    """The ranges whose hashes, in this order, prove that leaf `index` is in the tree of `size`.

    Source: https://www.rfc-editor.org/rfc/rfc6962#section-2.1.1
    """
    if not 0 <= index < size:
        raise ValueError("no such leaf in this tree")
    path = []
    first, end = 0, size
    while end - first > 1:
        middle = first + _split(end - first)
        if index < middle:
            path.append(Range(middle, end))
            end = middle
        else:
            path.append(Range(first, middle))
            first = middle
    return path[::-1]


def root_of_inclusion(
    leaf: bytes, proof: Sequence[bytes], *, index: int, size: int
) -> bytes | None:
    """The root that the proof leads to; None if it cannot be one for this index and size.

    Source: https://www.rfc-editor.org/rfc/rfc9162#section-2.1.3.2
    """
    if not 0 <= index < size:
        return None
    node, last, root = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            return None
        if node & 1 or node == last:
            root = node_hash(sibling, root)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            root = node_hash(root, sibling)
        node, last = node >> 1, last >> 1
    return root if last == 0 else None


def verify_inclusion(
    leaf: bytes, proof: Sequence[bytes], *, index: int, size: int, root: bytes
) -> bool:
    """Whether `leaf` is leaf `index` of the tree with this size and root."""
    return root_of_inclusion(leaf, proof, index=index, size=size) == root


def _fits(first: int, end: int, size: int) -> bool:
    """Whether a subtree of `size` leaves can begin at `first` and end by `end`."""
    return first % size == 0 and first + size <= end


def _split(size: int) -> int:
    """The largest power of two below `size`, for `size` over 1."""
    return 1 << ((size - 1).bit_length() - 1)
