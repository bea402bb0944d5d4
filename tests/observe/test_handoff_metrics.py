"""What is shown of worklists."""

from chartgate.model.handoff import HandoffFigures
from chartgate.observe.metrics import Metrics


def test_worklists_are_shown_by_cause_and_gone_when_they_are_empty() -> None:
    metrics = Metrics()
    figures = HandoffFigures(
        worklist="front-desk",
        cause="conflict",
        open=3,
        taken=2,
        overdue=1,
        acknowledged=4,
        acknowledged_s=120.0,
    )
    metrics.handoffs.show([figures], {"north-ehr": 2})
    text = metrics.render().decode()
    by = '{cause="conflict",worklist="front-desk"}'
    for name, value in (
        ("open", 3.0),
        ("taken", 2.0),
        ("overdue", 1.0),
        ("acknowledged_last_day", 4.0),
        ("acknowledge_seconds_last_day", 120.0),
    ):
        assert f"chartgate_handoffs_{name}{by} {value}" in text
    assert 'chartgate_handoffs_not_outside{connection="north-ehr"} 2.0' in text
    metrics.handoffs.show((), {})
    assert "front-desk" not in metrics.render().decode()
