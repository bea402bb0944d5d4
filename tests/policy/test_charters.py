"""Charters: what parses, and the sentence for each thing that does not."""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import orjson
import pytest

from chartgate.errors import ConfigError, NotFound
from chartgate.model.charter import Charter, Stage
from chartgate.policy.charters import CHARTER_SCHEMA, compile_book, not_enforced, parse_charter

SAMPLES = Path(__file__).parents[2] / "src" / "chartgate" / "cli" / "samples"
BOOKING = (SAMPLES / "charters" / "clinic-booking.yaml").read_text("utf-8")
CHARTER_FILES = sorted((SAMPLES / "charters").glob("*.yaml"))


def read_model(name: str) -> bytes:
    return (SAMPLES / name).read_bytes()


def parsed(text: str, model: Callable[[str], bytes] = read_model) -> Charter:
    return parse_charter(text.encode(), file="a.yaml", read_model=model)


def complaint(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parsed(text)
    return str(caught.value)


def changed(old: str, new: str) -> str:
    assert old in BOOKING
    return BOOKING.replace(old, new)


@pytest.mark.parametrize("path", CHARTER_FILES, ids=lambda p: p.stem)
def test_sample_charter_when_checked_then_it_is_right(path: Path) -> None:
    charter = parse_charter(path.read_bytes(), file=path.name, read_model=read_model)
    assert charter.name == path.stem
    assert charter.digest == hashlib.sha256(path.read_bytes()).hexdigest()
    assert charter.sites == {"north-clinic": "north-ehr"}


def test_booking_charter_when_parsed_then_every_part_has_its_meaning() -> None:
    charter = parsed(BOOKING)
    assert charter.reads["Slot"].fresh_s == 0
    assert charter.reads["Patient"].fresh_s == 300
    assert charter.reads["Appointment"].when_unreachable == "refuse"
    book = charter.proposes["book"]
    assert [(w.interaction, w.resource_type, w.elements) for w in book.writes] == [
        ("create", "Appointment", ()),
        ("patch", "Slot", ("status",)),
    ]
    assert book.guards[0].paths == ("Slot.status", "Slot.start", "Slot.end")
    assert book.guards[1].query.startswith("Appointment?actor={Appointment.participant")
    assert (book.review_by, book.review_within_s) == ("scheduler", 900)
    assert book.auto is not None
    assert (book.auto.min_confidence, book.auto.from_stage) == (0.97, "full")
    assert (book.handoff_to, book.handoff_within_s, book.handoff_below) == (
        "front-desk",
        1800,
        0.60,
    )
    assert [s.name for s in charter.rollout] == ["shadow", "suggest", "pilot", "canary", "full"]
    assert charter.rollout[3].share == pytest.approx(0.1)
    assert charter.rollout[0].gate == (("agreement", ">= 0.90"), ("n", ">= 200"))
    assert charter.retention_s["audit"] == 6 * 365 * 86_400
    assert "ADT^A04" in charter.events


def test_charter_when_it_uses_keys_without_effect_then_they_are_named() -> None:
    charter = parsed(BOOKING)
    assert not_enforced(charter) == (
        "halt_when",
        "rollout[].for",
        "rollout[].gate",
        "rollout[].share",
        "rollout[].units",
    )
    plain = replace(
        charter,
        budgets={"open_proposals": 50},
        halt_when={},
        retention_s={},
        rollout=(Stage(name="full"),),
    )
    assert not_enforced(plain) == ()
    assert not_enforced(replace(plain, official_process="p.bpmn")) == ("official_process",)


def test_schema_when_a_key_has_no_effect_then_its_reference_says_so() -> None:
    text = orjson.dumps(CHARTER_SCHEMA).decode()
    enforced_later = {*not_enforced(parsed(BOOKING)), "official_process"}
    assert text.count("Checked, but not enforced yet.") == len(enforced_later)


def test_elements_all_when_listed_then_narrative_and_extensions_stay_out() -> None:
    charter = parsed(
        changed("elements: [name, birthDate, telecom, communication]", "elements: all")
    )
    elements = charter.reads["Patient"].elements
    assert "address" in elements
    assert not {"text", "contained", "extension", "modifierExtension"} & set(elements)


def test_writes_when_one_names_no_element_then_every_element_may_be_written() -> None:
    text = changed("patch Slot.status]", "patch Slot.status, patch Slot]")
    assert parsed(text).proposes["book"].writes[1].elements == ()


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("reads:\n", "raeds:\n", "there is no key raeds; did you mean reads?"),
        (
            "    fresh: live   ",
            "    frsh: live   ",
            "reads.Slot: there is no key frsh; did you mean",
        ),
        ("within: 15m", "witin: 15m", "proposes.book.review: there is no key witin"),
        ("min_confidence", "min_confidense", "did you mean min_confidence?"),
        ("patients_per_hour", "patient_per_hour", "did you mean patients_per_hour?"),
        ("  Slot:\n", "  Slott:\n", "no resource type Slott; did you mean Slot?"),
        ("[schedule, status, start, end]", "[schedul, status, start, end]", "mean schedule?"),
        ("search: [schedule, start", "search: [schedul, start", "no search parameter schedul; did"),
        ("elements: [schedule, ", "elements: [", "may not be searched"),
        ("search: [actor]", "search: [_content]", "_content cannot be allowed"),
        ("search: [actor]", "search: [_tag]", "_tag cannot be allowed"),
        ("elements: [name]", "elements: [name, text]", "text is never shown"),
        ("create Appointment", "create Apointment", "did you mean Appointment?"),
        ("patch Slot.status]", "patch Slot.statu]", "Slot has no element statu; did you mean"),
        ("patch Slot.status]", "patch Slot.meta]", "Slot.meta may not be written"),
        ("patch Slot.status]", "delete Slot]", "may not propose to delete"),
        ("patch Slot.status]", "update Slot.status]", "write patch Slot.status"),
        ("patch Slot.status]", "patch Task.status]", "what is changed must be read first"),
        ("patch Slot.status]", "patch]", 'must be like "create Appointment"'),
        ("Slot.end]", "Slot.ende]", "there is no Slot.ende; did you mean end?"),
        ("Slot.end]", "Task.status]", "needs Task under reads"),
        ("date={Appointment.start}", "date={Appointment.strt}", "there is no Appointment.strt"),
        ("date={Appointment.start}", "dat={Appointment.start}", "did you mean date?"),
        ("[Practitioner]}", "[Practicioner]}", "did you mean Practitioner?"),
        ("&status=booked", "&status", 'must be like "Appointment?actor='),
        ("same-patient]", "same-patients]", "no rule same-patients; did you mean same-patient?"),
        ("from_stage: full", "from_stage: ful", "did you mean full?"),
        ("  - {stage: full}\n", "", "rollout has no stage full"),
        (
            "writes: [create Appointment, patch",
            "through: {north: x}\n    writes: [create Appointment, patch",
            "proposes.book.through: sites has no site north",
        ),
        ("  - {stage: full}\n", "  - {stage: full}\n  - {stage: full}\n", "stand once each"),
        ("share: 10%", "share: 110%", "a share such as 10%"),
        (", share: 10%", "", "a canary needs the key share"),
        ("units: [clinic-a], ", "", "a pilot needs the key units"),
        ('">= 0.90"', '"over 0.90"', 'a comparison such as ">= 0.90"'),
        ("{agreement:", "{agrement:", "no measure agrement; did you mean agreement?"),
        ("wrong_patient:", "wrong_pacient:", "did you mean wrong_patient?"),
        ("purpose_of_use: TREAT", "purpose_of_use: TREET", "did you mean TREAT?"),
        ("by: scheduler", 'by: ""', "the role that reviews"),
        ("handoff: front-desk, ", "", "the key handoff is missing"),
        ("payload: 90d", "payload: 90 days", "a duration such as"),
        ("fresh: 5m", "fresh: 5 minutes", "the word live, or an age"),
        ("SIU^S12", "SIU-S12", "an HL7 v2 event such as SIU^S12"),
        ("clients: [slot-picker]", "clients: []", "clients must not be empty"),
        ("revision: 1", 'revision: "1"', "a whole number"),
        ("revision: 1", "revision: 1\nrevision: 2", "the key revision stands twice"),
        ("models/slot-picker.yaml", "models/none.yaml", "cannot be read"),
    ],
)
def test_charter_when_something_is_wrong_then_the_sentence_says_what(
    old: str, new: str, sentence: str
) -> None:
    text = complaint(changed(old, new))
    assert sentence in text
    assert text.startswith("a.yaml: ")


def test_charter_when_it_has_several_mistakes_then_all_are_told() -> None:
    text = changed("elements: [name]", "elements: [nam]").replace("same-patient]", "same]")
    told = complaint(text.replace("wrong_patient", "wrong")).splitlines()
    assert len(told) == 3


@pytest.mark.parametrize(
    "text", ["", "[]", "charter", "a: &x 1\nb: *x", "a: !!python/name:os.system x", "{" * 5000]
)
def test_charter_when_it_is_no_plain_mapping_then_it_is_refused(text: str) -> None:
    assert complaint(text)


def test_model_when_its_file_is_wrong_then_the_charter_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"no paragraph \(B\)\(1\)\(x\)"):
        parsed(BOOKING, lambda _: b'model: m\nversion: "1"\nattributes: {(B)(1)(x): y}')


def test_model_digest_when_the_model_file_changes_then_the_book_changes() -> None:
    one = parsed(BOOKING)
    other = parsed(BOOKING, lambda name: read_model(name) + b"\n# more\n")
    assert one.digest == other.digest
    assert one.model_digest != other.model_digest
    assert compile_book([one]).digest != compile_book([other]).digest


def test_book_when_asked_then_it_finds_by_name_and_by_client() -> None:
    book = compile_book([parsed(BOOKING)])
    assert book.get("clinic-booking").name == "clinic-booking"
    assert [c.name for c in book.of_client("slot-picker")] == ["clinic-booking"]
    assert book.of_client("scribe") == ()
    with pytest.raises(NotFound):
        book.get("other")


def test_book_when_two_files_describe_one_charter_then_it_is_refused() -> None:
    charter = parsed(BOOKING)
    with pytest.raises(ConfigError, match="two files"):
        compile_book([charter, charter])


@pytest.mark.parametrize(
    ("forbid", "sentence"),
    [
        ("permit (principal, action, resource);", "may only forbid"),
        ("forbid (principal, action, resource", "does not parse"),
        ('forbid (principal, action == Action::"raed", resource);', "a policy: "),
        ("forbid (principal, action, resource) when { context.shoe == 1 };", "shoe"),
        ("forbid (principal == ?principal, action, resource);", "may not be a template"),
    ],
)
def test_site_policy_when_it_is_no_fitting_forbid_then_it_is_refused(
    forbid: str, sentence: str
) -> None:
    with pytest.raises(ConfigError, match=sentence):
        compile_book([parsed(BOOKING)], forbids=[f'@id("site/1") @sentence("no") {forbid}'])


def test_site_policy_when_it_has_no_id_of_its_own_then_it_is_refused() -> None:
    """The audit names the rule that decided, so each must have a name."""
    forbid = "forbid (principal is Client, action, resource);"
    with pytest.raises(ConfigError, match="needs an id"):
        compile_book([parsed(BOOKING)], forbids=[forbid])
    with pytest.raises(ConfigError, match="site/1 needs a sentence"):
        compile_book([parsed(BOOKING)], forbids=[f'@id("site/1") {forbid}'])
    named = f'@id("site/1") @sentence("no") {forbid}'
    with pytest.raises(ConfigError, match="two policies have the id site/1"):
        compile_book([parsed(BOOKING)], forbids=[named, named])
