"""What is counted, and how it reads."""

from chartgate.observe.metrics import Metrics, QuarantineFigures


def test_answered_requests_are_counted_by_route_and_status() -> None:
    metrics = Metrics()
    metrics.answered("fhir-read", 200, 0.003)
    metrics.answered("fhir-read", 200, 0.003)
    text = metrics.render().decode()
    assert 'chartgate_requests_total{route="fhir-read",status="200"} 2.0' in text
    assert 'chartgate_request_seconds_bucket{le="0.005",route="fhir-read"} 2.0' in text


def test_two_processes_in_one_do_not_meet() -> None:
    one, two = Metrics(), Metrics()
    one.answered("a", 200, 0.1)
    assert b'route="a"' not in two.render()


def test_breaker_that_changes_is_in_one_state_only() -> None:
    metrics = Metrics()
    for state in ("open", "half-open", "closed"):
        metrics.show_breakers({"ehr": state})
    text = metrics.render().decode()
    assert 'chartgate_breaker_state{connection="ehr",state="closed"} 1.0' in text
    assert 'chartgate_breaker_state{connection="ehr",state="open"} 0.0' in text


def test_quarantine_that_is_emptied_is_shown_no_more() -> None:
    metrics = Metrics()
    figures = QuarantineFigures(
        connection="adt", reason_class="content", rows=3, last_hour=1, oldest_s=60.0
    )
    metrics.show_quarantine([figures])
    text = metrics.render().decode()
    labels = '{connection="adt",reason_class="content"}'
    assert f"chartgate_quarantine_open{labels} 3.0" in text
    assert f"chartgate_quarantine_last_hour{labels} 1.0" in text
    assert f"chartgate_quarantine_oldest_seconds{labels} 60.0" in text
    metrics.show_quarantine([])
    assert "adt" not in metrics.render().decode()
