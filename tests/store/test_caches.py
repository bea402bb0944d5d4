"""Bounded memory."""

from hypothesis import given
from hypothesis import strategies as st

from chartgate.store.caches import Bounded

OPERATIONS = st.lists(
    st.tuples(st.sampled_from(["put", "get", "drop"]), st.integers(0, 9), st.integers(1, 40))
)


@given(OPERATIONS)
def test_size_is_the_sum_of_what_is_kept_and_never_over_the_limit(
    operations: list[tuple[str, int, int]],
) -> None:
    kept: Bounded[int, int] = Bounded(size_max=100)
    for verb, key, size in operations:
        if verb == "put":
            kept.put(key, size, size=size)
            assert kept.get(key) == size
        elif verb == "get":
            kept.get(key)
        else:
            kept.drop(key)
            assert kept.get(key) is None
        held = [value for n in range(10) if (value := kept.get(n)) is not None]
        assert sum(held) == kept.size <= 100
        assert len(held) == len(kept)


def test_least_recently_used_goes_first() -> None:
    kept: Bounded[str, int] = Bounded(size_max=2)
    kept.put("a", 1)
    kept.put("b", 2)
    kept.get("a")
    kept.put("c", 3)
    assert (kept.get("a"), kept.get("b"), kept.get("c")) == (1, None, 3)


def test_what_is_over_the_limit_alone_is_not_kept() -> None:
    kept: Bounded[str, int] = Bounded(size_max=2)
    kept.put("a", 1)
    kept.put("a", 1, size=3)
    assert kept.get("a") is None
    assert kept.size == 0
