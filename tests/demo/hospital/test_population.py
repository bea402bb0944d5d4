"""The sample population: the same every time, placed around today, messy where it should be."""

from datetime import date

from chartgate.clock import utc_now
from chartgate.demo.hospital.chart import Chart
from chartgate.demo.hospital.population import sample_patients
from chartgate.demo.hospital.scenario import Scenario
from chartgate.demo.hospital.validate import check_resource

TODAY = date(2026, 3, 4)


def filled(today: date = TODAY, seed: int = 0) -> tuple[Chart, Scenario]:
    chart = Chart(clock=utc_now)
    return chart, sample_patients(today=today, seed=seed)(chart)


def contents(chart: Chart) -> dict[str, object]:
    return {
        r: {k: v for k, v in (version.resource or {}).items() if k != "meta"}
        for r, version in chart.current.items()
    }


def test_the_same_day_and_seed_give_the_same_hospital() -> None:
    first, scenario = filled()
    again, scenario_again = filled()
    assert contents(first) == contents(again)
    assert scenario == scenario_again
    other = filled(seed=1)[0]
    assert contents(other) != contents(first)
    assert other.current.keys() & first.current.keys() >= {"Patient/N1001", "Task/auth-1"}


def test_every_resource_would_be_taken_by_the_hospital_itself() -> None:
    chart, _ = filled()
    assert chart.types()["Patient"] > 55
    for reference, version in chart.current.items():
        check_resource(version.resource, reference.partition("/")[0])


def test_every_reference_leads_somewhere() -> None:
    chart, _ = filled()

    def walk(value: object) -> None:
        if isinstance(value, list):
            for item in value:
                walk(item)
        elif isinstance(value, dict):
            reference = value.get("reference")
            assert reference is None or reference in chart.current, reference
            for item in value.values():
                walk(item)

    for version in list(chart.current.values()):
        walk(version.resource)


def test_the_scenario_is_what_the_story_needs() -> None:
    chart, scenario = filled()

    def content(reference: str) -> dict[str, object]:
        resource = chart.current[reference].resource
        assert resource is not None
        return dict(resource)

    booking = content(scenario.booking_patient)
    assert booking["telecom"]
    assert booking["birthDate"]
    assert not chart.indexed("Appointment", "patient", scenario.booking_patient)
    assert "birthDate" not in content(scenario.unreachable_patient)
    slots = [content(slot) for slot in scenario.free_slots]
    assert len(slots) > 20
    assert {slot["status"] for slot in slots} == {"free"}
    assert all(str(slot["start"]) > "2026-03-05" for slot in slots)
    assert content(scenario.visit)["status"] == "finished"
    assert not chart.indexed("DocumentReference", "encounter", scenario.visit)
    assert content(scenario.authorisation)["status"] == "requested"
    assert content(scenario.misrouted_task)["owner"] != content(scenario.authorisation)["owner"]
    first, second = (content(patient) for patient in scenario.duplicates)
    assert first["birthDate"] == second["birthDate"]
    assert first["identifier"] != second["identifier"]


def test_history_lies_just_before_today() -> None:
    chart, _ = filled()
    ends = [
        (version.resource or {})["period"]["end"]
        for reference, version in chart.current.items()
        if reference.startswith("Encounter/")
    ]
    assert "2026-02-20" < max(ends) <= "2026-03-04"
