"""Whether it lives, whether it can serve, what it counts."""

import dataclasses

from chartgate.gate import Running
from chartgate.policy.charters import compile_book
from tests.web.serving import Served


async def ready(served: Served) -> tuple[int, dict[str, object]]:
    async with served.http.get(f"{served.url}/health/ready") as answer:
        return answer.status, await answer.json()


async def test_ready_when_all_is_there(served: Served) -> None:
    assert await ready(served) == (200, {"status": "ready"})


async def test_not_ready_without_store_audit_or_charters(served: Served) -> None:
    await served.gate.audit.close()
    await served.gate.database.close()
    served.gate.running.charters = Running(compile_book([])).charters
    status, body = await ready(served)
    assert status == 503
    assert body["problems"] == [
        "the store cannot be reached",
        "no charter is loaded",
        "the audit writer is closed",
    ]
    async with served.http.get(f"{served.url}/health/live") as answer:
        assert answer.status == 200


async def test_metrics_count_by_route_and_name_no_patient(served: Served) -> None:
    for path in ("Patient/7", "Patient/404", "Observation/1"):
        async with served.http.get(
            f"{served.url}/fhir/north-clinic/{path}", headers=await served.bearer()
        ):
            pass
    async with served.http.get(f"{served.url}/metrics") as answer:
        text = await answer.text()
    assert 'chartgate_requests_total{route="fhir-read",status="200"} 1.0' in text
    assert 'chartgate_requests_total{route="fhir-read",status="404"} 2.0' in text
    assert "Patient" not in text
    assert "Canary" not in text


async def test_metrics_show_the_state_of_each_breaker(served: Served) -> None:
    @dataclasses.dataclass
    class Breaker:
        state: str

    @dataclasses.dataclass
    class Opened:
        breakers: dict[str, Breaker]

    object.__setattr__(served.gate, "connections", Opened({"north-ehr": Breaker("open")}))
    async with served.http.get(f"{served.url}/metrics") as answer:
        text = await answer.text()
    assert 'chartgate_breaker_state{connection="north-ehr",state="open"} 1.0' in text
    assert 'chartgate_breaker_state{connection="north-ehr",state="closed"} 0.0' in text
