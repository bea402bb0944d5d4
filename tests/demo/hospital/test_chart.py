"""Versions, undo and the index hold together whatever is done."""

from hypothesis import given
from hypothesis import strategies as st

from chartgate.clock import utc_now
from chartgate.demo.hospital.chart import Chart
from chartgate.demo.hospital.parameters import index_keys

CODES = st.sampled_from(["a", "b", "c"])
PUTS = st.lists(st.tuples(st.sampled_from(["1", "2"]), st.none() | CODES), max_size=12)


def put(chart: Chart, name: str, code: str | None) -> None:
    content = None if code is None else {"code": {"coding": [{"system": "s", "code": code}]}}
    chart.put(f"Basic/{name}", content, method="PUT")


def state(chart: Chart) -> dict[str, object]:
    found = {
        key: set(chart.indexed("Basic", "code", key)) for key in ("a", "b", "c", "s|a", "s|b", "s|")
    }
    histories = {r: [v.content for v in chart.history(r)] for r in ("Basic/1", "Basic/2")}
    return {"index": found, "histories": histories, "types": chart.types()}


@given(before=PUTS, after=PUTS)
def test_undoing_what_was_done_restores_everything(
    before: list[tuple[str, str | None]], after: list[tuple[str, str | None]]
) -> None:
    chart = Chart(clock=utc_now)
    for name, code in before:
        put(chart, name, code)
    expected = state(chart)
    done = []
    for name, code in after:
        put(chart, name, code)
        done.append(chart.current[f"Basic/{name}"])
    for version in reversed(done):
        chart.undo(version)
    assert state(chart) == expected


@given(puts=PUTS)
def test_the_index_holds_what_is_current_and_nothing_else(
    puts: list[tuple[str, str | None]],
) -> None:
    chart = Chart(clock=utc_now)
    for name, code in puts:
        put(chart, name, code)
    for reference in chart.references("Basic"):
        version = chart.current[reference]
        keys = set(index_keys(version.resource)) if version.resource else set()
        for code in ("a", "b", "c"):
            indexed = reference in chart.indexed("Basic", "code", code)
            assert indexed == (("Basic", "code", code) in keys)


def test_versions_count_from_one_and_times_do_not_go_back() -> None:
    chart = Chart(clock=utc_now)
    for _ in range(3):
        put(chart, "1", "a")
    history = chart.history("Basic/1")
    assert [v.number for v in history] == [3, 2, 1]
    assert history[0].at >= history[1].at >= history[2].at
    lagging = chart.lagging_view(versions=1)("Basic/1")
    assert lagging is not None
    assert lagging.number == 2
