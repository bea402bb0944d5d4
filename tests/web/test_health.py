"""Whether it lives, whether it can serve, what it counts."""

import dataclasses
from datetime import timedelta

from chartgate.flows.ledger import require_proof
from chartgate.gate import Running
from chartgate.model.audit import AuditEvent
from chartgate.model.message import Rejected
from chartgate.policy.charters import compile_book
from chartgate.store.quarantine import QuarantineStore
from chartgate.testing.clock import FakeClock
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
    assert "Patient/" not in text, "types may be counted, references never"
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


async def test_metrics_show_ages_and_rates_of_the_quarantine(
    served: Served, clock: FakeClock
) -> None:
    async def shown() -> str:
        async with served.http.get(f"{served.url}/metrics") as answer:
            assert answer.status == 200
            return await answer.text()

    rejected = Rejected(
        connection="north-adt",
        inbox_id=None,
        reason_class="content",
        reason="PID-7 is not a date",
        position="PID-7",
        raw=b"PID|Canary",
        seen_at=clock() - timedelta(hours=2),
    )
    event = AuditEvent(recorded=clock(), action="message.quarantine", agent="process:listener")
    await QuarantineStore(served.gate.database).add([rejected], event)
    text = await shown()
    labels = '{connection="north-adt",reason_class="content"}'
    assert f"chartgate_quarantine_open{labels} 1.0" in text
    assert f"chartgate_quarantine_last_hour{labels} 0.0" in text
    assert f"chartgate_quarantine_oldest_seconds{labels} 7200.0" in text
    assert "Canary" not in text
    await served.gate.database.close()
    assert f"chartgate_quarantine_open{labels} 1.0" in await shown()  # not looked up again yet
    clock.advance(5)
    assert "north-adt" not in await shown()


async def test_metrics_say_how_far_signing_is_behind(served: Served) -> None:
    async with served.gate.database.change(
        AuditEvent(recorded=served.gate.clock(), action="fhir.read", agent="client:slot-picker")
    ):
        pass
    assert isinstance(served.gate.clock, FakeClock)
    served.gate.clock.advance(42)
    async with served.http.get(f"{served.url}/metrics") as answer:
        assert "chartgate_ledger_unsigned_seconds 42.0" in await answer.text()


async def test_not_ready_while_no_signed_head_proves_the_audit(served: Served) -> None:
    require_proof(served.gate)
    async with served.http.get(f"{served.url}/health/ready") as answer:
        assert answer.status == 200
    event = AuditEvent(recorded=served.gate.clock(), action="ledger.rewound", agent="process:x")
    async with served.gate.database.change(event):
        pass
    assert isinstance(served.gate.clock, FakeClock)
    served.gate.clock.advance(61)
    require_proof(served.gate)  # looks anew
    async with served.http.get(f"{served.url}/health/ready") as answer:
        assert answer.status == 503
        assert "no signed head" in await answer.text()
