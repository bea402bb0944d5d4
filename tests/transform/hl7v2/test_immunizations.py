"""What VXU messages say of vaccinations: given, refused, corrected, deleted."""

from typing import Any

import pytest

from chartgate.testing.messages import header, message, patient
from chartgate.transform.hl7v2.datatypes import Unmappable
from tests.transform.hl7v2.made import all_of, laid

FLU = "88^Influenza^CVX"


def after(*messages: tuple[str, ...]) -> list[Any]:
    """Immunizations of a record after messages of these segments."""
    raws = (message(header("VXU^V04"), patient(), *segments) for segments in messages)
    return all_of(laid(*raws), "Immunization")


def orc(number: str = "I1^IIS") -> str:
    return f"ORC|RE||{number}|||||||||77^Doctor^Dora"


def rxa(
    vaccine: str = FLU,
    *,
    amount: str = "0.5",
    notes: str = "00^New^NIP001",
    refused: str = "",
    done: str = "CP",
    action: str = "A",
) -> str:
    given = f"RXA|0|1|20240102||{vaccine}|{amount}|mL^mL^UCUM||{notes}|88^Nurse^Nora|^^^CLINIC"
    return f"{given}||||LOT7|20250101|MSD^Merck^MVX|{refused}||{done}|{action}|20240103"


def test_vaccination_says_what_was_given_when_by_whom_and_where() -> None:
    [found] = after((orc(), rxa(), "RXR|IM^Intramuscular^HL70162|LD^Left Deltoid^HL70163"))
    assert found["status"] == "completed"
    assert found["vaccineCode"]["coding"][0]["system"] == "http://hl7.org/fhir/sid/cvx"
    assert found["occurrenceDateTime"] == "2024-01-02"
    assert found["recorded"] == "2024-01-03"
    assert found["doseQuantity"] == {
        "value": 0.5,
        "unit": "mL",
        "system": "http://unitsofmeasure.org",
        "code": "mL",
    }
    roles = [p["function"]["coding"][0]["code"] for p in found["performer"]]
    assert roles == ["OP", "AP"]
    assert found["location"]["display"] == "CLINIC"
    assert (found["lotNumber"], found["manufacturer"]["display"]) == ("LOT7", "Merck")
    assert found["site"]["coding"][0]["code"] == "LD"
    assert found["primarySource"] is True


def test_history_has_its_origin_and_no_dose() -> None:
    [found] = after((orc(), rxa(amount="999", notes="01^Historical^NIP001")))
    assert found["primarySource"] is False
    assert found["reportOrigin"]["coding"][0]["code"] == "01"
    assert "doseQuantity" not in found


@pytest.mark.parametrize("done", ["RE", "NA", ""])
def test_refused_vaccination_was_not_done(done: str) -> None:
    [found] = after((orc(), rxa(refused="00^Parental^NIP002", done=done)))
    assert found["status"] == "not-done"
    assert found["statusReason"]["coding"][0]["display"] == "Parental"


def test_partial_vaccination_is_subpotent() -> None:
    [found] = after((orc(), rxa(done="PA")))
    assert (found["status"], found["isSubpotent"]) == ("completed", True)


def test_unknown_completion_is_refused_since_it_could_mean_not_given() -> None:
    with pytest.raises(Unmappable, match="RXA-20"):
        after((orc(), rxa(done="ZZ")))


def test_correction_changes_and_deletion_withdraws_the_same_vaccination() -> None:
    first = (orc(), rxa())
    [found] = after(first, (orc(), rxa("140^Influenza pf^CVX", action="U")))
    assert found["vaccineCode"]["coding"][0]["code"] == "140"
    [found] = after(first, (orc(), rxa(action="D")))
    assert found["status"] == "entered-in-error"


@pytest.mark.parametrize("number", ["9999^IIS", "", "I1^IIS"])
def test_vaccinations_that_share_or_lack_a_number_are_told_apart(number: str) -> None:
    two = (orc(number), rxa(), orc(number), rxa("48^Hib^CVX"))
    assert len(after(two)) == 2
    assert len(after(two, two)) == 2


def test_nothing_given_makes_no_immunization() -> None:
    assert after((orc(), rxa("998^No vaccine given^CVX", amount="999"))) == []


def test_vaccination_of_no_vaccine_is_refused() -> None:
    with pytest.raises(Unmappable, match="RXA-5"):
        after((orc(), rxa("")))


def test_observations_with_an_element_of_their_own_fill_it() -> None:
    [found] = after(
        (
            orc(),
            rxa(),
            "OBX|1|CE|64994-7^Eligibility^LN|1|V01^Not eligible^HL70064||||||F",
            "OBX|2|CE|30963-3^Funding^LN|1|PHC70^Private^CDCPHINVS||||||F",
            "OBX|3|CE|69764-9^Document^LN|2|253^Flu sheet^cdcgs1vis||||||F",
            "OBX|4|DT|29769-7^Presented^LN|2|20240102||||||F",
            "OBX|5|DT|29768-9^Published^LN|3|20230801||||||F",
            "OBX|6|NM|30973-2^Dose number^LN|4|2||||||F",
            "OBX|7|NM|59782-3^Doses^LN|4|booster||||||F",
        )
    )
    assert found["programEligibility"][0]["coding"][0]["code"] == "V01"
    assert found["fundingSource"]["coding"][0]["code"] == "PHC70"
    taught = [{k: v for k, v in item.items() if k != "id"} for item in found["education"]]
    assert taught == [
        {"documentType": "Flu sheet", "presentationDate": "2024-01-02"},
        {"documentType": "Vaccine information statement", "publicationDate": "2023-08-01"},
    ]
    protocol = found["protocolApplied"][0]
    assert protocol["doseNumberPositiveInt"] == 2
    assert protocol["seriesDosesString"] == "booster"


def test_withdrawn_observation_fills_nothing() -> None:
    obx = "OBX|1|CE|30963-3^Funding^LN|1|PHC70^Private^CDCPHINVS||||||D"
    [found] = after((orc(), rxa(), obx))
    assert "fundingSource" not in found
