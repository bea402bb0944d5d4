"""What is counted, and how it reads."""

from chartgate.observe.metrics import Metrics


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
