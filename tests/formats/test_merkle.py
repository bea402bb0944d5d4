"""The tree against the words of RFC 6962, written down as naively as they stand there."""

import hashlib
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chartgate.formats.merkle import (
    EMPTY_ROOT,
    Frontier,
    Node,
    Range,
    frontier_of,
    inclusion_ranges,
    leaf_hash,
    root_of_inclusion,
    spans,
    verify_inclusion,
)

# Roots of the first 0..8 of the entries below; the well-known test vectors of Certificate
# Transparency. Source: https://github.com/google/certificate-transparency
ENTRIES = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
ROOTS = {
    0: "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    1: "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    2: "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    3: "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    8: "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
}

sizes = st.integers(min_value=1, max_value=1200)


def naive_root(entries: Sequence[bytes]) -> bytes:
    """MTH, section 2.1."""
    if not entries:
        return hashlib.sha256(b"").digest()
    if len(entries) == 1:
        return hashlib.sha256(b"\x00" + entries[0]).digest()
    k = naive_split(len(entries))
    return hashlib.sha256(b"\x01" + naive_root(entries[:k]) + naive_root(entries[k:])).digest()


def naive_split(n: int) -> int:
    """The largest power of two smaller than n."""
    k = 1
    while k * 2 < n:
        k *= 2
    return k


def naive_path(m: int, entries: Sequence[bytes]) -> list[bytes]:
    """PATH(m, D[n]), section 2.1.1."""
    if len(entries) == 1:
        return []
    k = naive_split(len(entries))
    if m < k:
        return [*naive_path(m, entries[:k]), naive_root(entries[k:])]
    return [*naive_path(m - k, entries[k:]), naive_root(entries[:k])]


def entries_of(size: int) -> list[bytes]:
    return [b"entry %d" % n for n in range(size)]


def grown(entries: Sequence[bytes]) -> tuple[Frontier, dict[tuple[int, int], bytes]]:
    """The frontier over all entries, and the nodes that a store would hold."""
    frontier = Frontier()
    nodes = []
    for n, entry in enumerate(entries):
        nodes.append(Node(0, n, leaf_hash(entry)))
        nodes += frontier.append(leaf_hash(entry))
    return frontier, {(node.level, node.idx): node.hash for node in nodes}


def hashes_of(ranges: Sequence[Range], nodes: dict[tuple[int, int], bytes]) -> list[bytes]:
    return [frontier_of(part.first, part.end, nodes).root() for part in ranges]


@pytest.mark.parametrize("size", ROOTS)
def test_root_of_the_known_entries_is_the_known_root(size: int) -> None:
    frontier, _ = grown(ENTRIES[:size])
    assert frontier.root().hex() == ROOTS[size]


def test_root_of_an_empty_tree_is_the_hash_of_nothing() -> None:
    assert Frontier().root() == EMPTY_ROOT == naive_root([])


@given(sizes)
def test_root_of_any_tree_is_the_naive_one(size: int) -> None:
    frontier, nodes = grown(entries_of(size))
    assert frontier.size == size
    assert frontier.root() == naive_root(entries_of(size))
    assert frontier_of(0, size, nodes).root() == frontier.root()


@given(st.integers(0, 1200), st.integers(0, 1200))
def test_frontier_loaded_from_nodes_goes_on_as_if_it_had_never_been_away(
    before: int, after: int
) -> None:
    before, after = sorted((before, after))
    entries = entries_of(after)
    whole, nodes = grown(entries)
    frontier = frontier_of(0, before, nodes)
    completed = [node for entry in entries[before:] for node in frontier.append(leaf_hash(entry))]
    assert frontier.root() == whole.root()
    assert all(nodes[node.level, node.idx] == node.hash for node in completed)


@given(st.integers(0, 3 * 2**24), st.integers(0, 3 * 2**24))
def test_spans_cover_each_leaf_once_and_are_few(first: int, end: int) -> None:
    first, end = sorted((first, end))
    found = spans(first, end)
    at = first
    for span in found:
        width = 256**span.level
        assert 0 < span.end - span.first <= 255  # as `read_nodes` in store/ledger.sql relies on
        assert span.first * width == at
        at = span.end * width
    assert at == end


@given(sizes, st.data())
def test_inclusion_proof_is_the_naive_one_and_holds(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    entries = entries_of(size)
    frontier, nodes = grown(entries)
    proof = hashes_of(inclusion_ranges(index, size), nodes)
    assert proof == naive_path(index, entries)
    assert verify_inclusion(
        leaf_hash(entries[index]), proof, index=index, size=size, root=frontier.root()
    )


@given(sizes, st.data())
def test_inclusion_proof_when_anything_is_changed_does_not_hold(
    size: int, data: st.DataObject
) -> None:
    index = data.draw(st.integers(0, size - 1))
    entries = entries_of(size)
    frontier, _ = grown(entries)
    proof, leaf, root = naive_path(index, entries), leaf_hash(entries[index]), frontier.root()
    spoiled = bytes(32)
    assert not verify_inclusion(spoiled, proof, index=index, size=size, root=root)
    assert not verify_inclusion(leaf, proof, index=index, size=size, root=spoiled)
    assert not verify_inclusion(leaf, [*proof, spoiled], index=index, size=size, root=root)
    assert not verify_inclusion(leaf, proof, index=size, size=size, root=root)
    assert not verify_inclusion(leaf, proof, index=-1, size=size, root=root)
    if proof:
        place = data.draw(st.integers(0, len(proof) - 1))
        bent = [*proof[:place], spoiled, *proof[place + 1 :]]
        assert not verify_inclusion(leaf, bent, index=index, size=size, root=root)
        assert not verify_inclusion(leaf, proof[1:], index=index, size=size, root=root)
        other = data.draw(st.integers(0, size - 1).filter(lambda n: n != index))
        assert not verify_inclusion(leaf, proof, index=other, size=size, root=root)


@given(sizes, st.data())
def test_inclusion_proof_that_ends_early_or_goes_on_leads_to_no_root(
    size: int, data: st.DataObject
) -> None:
    """What stands half way up must never pass for a root, not even to one who asks for it."""
    index = data.draw(st.integers(0, size - 1))
    entries = entries_of(size)
    proof, leaf = naive_path(index, entries), leaf_hash(entries[index])
    assert root_of_inclusion(leaf, proof, index=index, size=size) == naive_root(entries)
    wrong = [proof[:end] for end in range(len(proof))] + [[*proof, leaf]]
    assert [root_of_inclusion(leaf, p, index=index, size=size) for p in wrong] == [None] * len(
        wrong
    )


def test_levels_and_places_of_nodes_are_whole_numbers() -> None:
    """As the columns are that hold them: a float would be refused only by the database."""
    frontier = Frontier()
    completed = [node for n in range(512) for node in frontier.append(leaf_hash(b"%d" % n))]
    assert [(type(node.level), type(node.idx)) for node in completed] == [(int, int)] * 2


def test_proofs_of_what_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="no such leaf"):
        inclusion_ranges(3, 3)
    with pytest.raises(ValueError, match="no such leaf"):
        inclusion_ranges(-1, 3)
    with pytest.raises(KeyError):
        frontier_of(0, 3, {})
