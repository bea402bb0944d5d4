"""Deciding by consents: modes, several consents, what stands in the way; and laws that must hold."""

from copy import deepcopy
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chartgate.model.consent import ConsentAnswer, ConsentMode
from chartgate.model.label import CONFIDENTIALITY, Labels
from chartgate.policy.consent import all_of, compile_consents, decide_consent, same_until
from chartgate.policy.consent_codes import ACT_CODE
from tests.policy.consents import (
    AT,
    MODES,
    PATIENT,
    Json,
    answered,
    asking,
    consent,
    label_codes,
    labelled,
    permitted,
    provision,
    purposes,
    recipient,
)

PERMIT = consent(provision(purpose=purposes("TREAT")))
DENY = consent(provision("deny", purpose=purposes("TREAT")), id="c2")
NORMAL_ONLY = consent(provision(purpose=purposes("TREAT"), securityLabel=label_codes("N")))
RESEARCH = consent(provision(purpose=purposes("HRESCH")))

# mode: no consent, one permits, one denies, one permits and one denies, permits less than is
# asked, one for another purpose, one that cannot be understood, not all known, nothing known
TRUTH: dict[ConsentMode, str] = {
    "opt-in": "no yes no no no no no no no",
    "opt-out": "yes yes no no no yes no no no",
    "opt-in-with-exceptions": "no yes no no no no no no no",
    "not-needed": "yes yes no no yes yes no yes yes",
}
CASES: tuple[tuple[str, tuple[Json, ...], Json], ...] = (
    ("none", (), {}),
    ("permit", (PERMIT,), {}),
    ("deny", (DENY,), {}),
    ("both", (PERMIT, DENY), {}),
    ("less", (NORMAL_ONLY,), {"labels": labelled("R", "PSY")}),
    ("other purpose", (RESEARCH,), {}),
    ("unreadable", ({**PERMIT, "status": "alive"},), {}),
    ("incomplete", (), {"complete": False}),
)


@pytest.mark.parametrize("mode", MODES)
def test_truth_table_of_the_four_modes(mode: ConsentMode) -> None:
    found = [answered(*c, mode=mode, exceptions=("PUBHLTH",), **q).permitted for _, c, q in CASES]
    found.append(decide_consent(None, asking(), mode).permitted)
    assert " ".join("yes" if each else "no" for each in found) == TRUTH[mode]


@pytest.mark.parametrize(
    ("purpose", "consents", "expected"),
    [
        ("PUBHLTH", (), True),
        ("DISASTER", (), True),  # lies within public health
        ("TREAT", (), False),
        ("", (), False),
        ("PUBHLTH", (consent(provision("deny")),), False),
        ("PUBHLTH", (DENY,), True),  # it denies treatment alone
    ],
)
def test_exceptions_of_a_site_need_no_consent_and_yield_to_a_dissent(
    purpose: str, consents: tuple[Json, ...], expected: bool
) -> None:
    mode: ConsentMode = "opt-in-with-exceptions"
    found = answered(*consents, mode=mode, exceptions=("PUBHLTH",), purpose=purpose)
    assert found.permitted is expected
    lost = answered(*consents, mode=mode, exceptions=("PUBHLTH",), purpose=purpose, complete=False)
    assert not lost.permitted


def test_exceptions_count_in_no_other_mode() -> None:
    assert not answered(mode="opt-in", exceptions=("TREAT",)).permitted


@pytest.mark.parametrize("mode", MODES)
def test_what_has_an_unknown_label_is_permitted_by_nothing(mode: ConsentMode) -> None:
    found = answered(consent(), mode=mode, labels=Labels(unknown=True))
    assert (found.permitted, found.rule) == (False, "label")


def test_answer_says_by_which_provision_and_what_would_change_it() -> None:
    found = answered(consent(provision("permit", provision("deny", class_=[
        {"system": "http://hl7.org/fhir/resource-types", "code": "Observation"}
    ]))))  # fmt: skip
    assert found.rule == "Consent/c1#0.0"
    assert found.sentence == (
        "Consent/c1#0.0 denies it; only a change of that consent would permit it"
    )
    assert answered(PERMIT).rule == "Consent/c1#0"
    assert "a dissent would stop it" in answered(mode="opt-out").sentence
    assert "it needs a consent" in answered().sentence
    limited = answered(NORMAL_ONLY, labels=labelled("R", "PSY"))
    assert limited.rule == "Consent/c1#0"
    assert "does not go so far; a later consent that does would permit it" in limited.sentence


def test_answer_names_the_mode_or_what_is_missing_where_no_consent_decides() -> None:
    excepted = answered(mode="opt-in-with-exceptions", exceptions=("TREAT",))
    found = [answered(), answered(mode="opt-out"), answered(mode="not-needed"), excepted]
    assert [each.rule for each in found] == ["mode"] * 4
    lost = [answered(mode="opt-out", complete=False), answered(PERMIT, complete=False)]
    assert [each.rule for each in lost] == ["missing"] * 2


def test_notice_of_part_2_goes_with_what_part_2_protects_alone() -> None:
    for plain in (answered(PERMIT), answered(mode="opt-out"), answered(mode="not-needed")):
        assert (plain.permitted, plain.notice, plain.scope) == (True, False, "")


def test_digest_is_of_the_mode_and_of_what_was_looked_at() -> None:
    several = {
        answered(*consents, mode=mode).digest
        for consents in ((), (PERMIT,), (DENY,))
        for mode in MODES
    }
    assert len(several) == 12
    assert answered(PERMIT, DENY).digest == answered(DENY, PERMIT).digest
    assert answered(complete=False).digest != answered().digest
    assert all(len(each) == 64 for each in several)


@pytest.mark.parametrize("status", ["draft", "proposed", "inactive", "entered-in-error"])
def test_consent_that_is_not_in_force_says_nothing(status: str) -> None:
    assert not permitted({**PERMIT, "status": status})
    assert answered({**DENY, "status": status}, mode="opt-out").permitted


def test_rejected_consent_says_no_where_nobody_else_says_yes() -> None:
    rejected = {**PERMIT, "status": "rejected"}
    assert not permitted(rejected)
    assert not answered(rejected, mode="opt-out").permitted
    assert answered(rejected, mode="opt-out", purpose="HRESCH").permitted
    later = {**PERMIT, "id": "c3", "dateTime": "2026-02-01"}
    assert answered(rejected, later, mode="opt-out").permitted
    earlier = {**PERMIT, "id": "c3", "dateTime": "2025-02-01"}
    assert not answered(rejected, earlier, mode="opt-out").permitted


@pytest.mark.parametrize("mode", MODES)
def test_a_refused_dissent_is_no_dissent(mode: ConsentMode) -> None:
    with_it = answered({**DENY, "status": "rejected"}, mode=mode)
    assert with_it.permitted == answered(mode=mode).permitted


@pytest.mark.parametrize(
    ("scope", "expected"),
    [("patient-privacy", False), ("treatment", True), ("adr", True), ("research", True)],
)
def test_a_no_to_an_operation_is_no_dissent_to_sharing(scope: str, expected: bool) -> None:
    no = consent(
        provision("deny"),
        scope={
            "coding": [
                {"system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": scope}
            ]
        },
    )
    assert answered(no, mode="opt-out").permitted is expected


def test_consent_to_research_is_about_research_alone() -> None:
    scope = {
        "coding": [
            {"system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": "research"}
        ]
    }
    yes = consent(provision(), scope=scope)
    assert permitted(yes, purpose="CLINTRCH")
    assert not permitted(yes, purpose="TREAT")


def test_acknowledging_a_notice_permits_nothing_but_a_no_on_it_counts() -> None:
    category = [{"coding": [{"system": "http://loinc.org", "code": "57016-8"}]}]
    assert not permitted({**PERMIT, "category": category})
    assert not answered({**DENY, "category": category}, mode="opt-out").permitted


def test_consent_for_emergencies_permits_nothing_else() -> None:
    system = "http://terminology.hl7.org/CodeSystem/consentcategorycodes"
    only = consent(provision(), category=[{"coding": [{"system": system, "code": "emrgonly"}]}])
    assert permitted(only, purpose="BTG")
    assert not permitted(only, purpose="TREAT")


def test_consent_that_was_to_be_verified_permits_once_it_was() -> None:
    assert not permitted({**PERMIT, "verification": [{"verified": False}]})
    assert permitted({**PERMIT, "verification": [{"verified": False}, {"verified": True}]})
    assert not answered({**DENY, "verification": [{"verified": False}]}, mode="opt-out").permitted


@pytest.mark.parametrize(
    ("rule", "type_", "expected"),
    [
        ("OPTIN", None, True),
        ("OPTINR", None, True),
        ("OPTOUT", None, False),
        ("OPTOUTE", None, False),
        ("OPTIN", "permit", True),
        ("OPTIN", "deny", False),  # says both
        ("OPTOUT", "permit", False),
        ("NOPP", None, False),  # says neither
    ],
)
@pytest.mark.parametrize("mode", MODES)
def test_base_rule_says_what_a_root_without_type_means(
    rule: str, type_: str | None, expected: bool, mode: ConsentMode
) -> None:
    system = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
    whole = consent(
        {"type": type_} if type_ else None,
        policyRule={"coding": [{"system": system, "code": rule}]},
        policy=None,
    )
    if type_ is None:
        del whole["provision"]
    assert answered(whole, mode=mode).permitted is expected


def test_another_patients_consent_says_nothing() -> None:
    other = {**PERMIT, "patient": {"reference": "Patient/8"}}
    assert not permitted(other)
    assert answered({**DENY, "patient": {"reference": "Patient/8"}}, mode="opt-out").permitted


@pytest.mark.parametrize("reference", ["https://else.example/fhir/Patient/7", "urn:uuid:7", "#p"])
def test_consent_of_a_patient_that_may_be_another_only_denies(reference: str) -> None:
    whose = {"reference": reference}
    assert not permitted({**PERMIT, "patient": whose})
    assert not answered({**DENY, "patient": whose}, mode="opt-out").permitted


def test_consent_that_was_given_after_now_permits_nothing_yet() -> None:
    assert not permitted({**PERMIT, "dateTime": "2026-06-17"})
    assert permitted({**PERMIT, "dateTime": "2026-06-15"})
    assert not answered({**DENY, "dateTime": "2026-06-17"}, mode="opt-out").permitted


@pytest.mark.parametrize(
    ("wider", "expected"),
    [("2026-02-01", True), ("2026-01-10", True), ("2026-01-09", False), (None, False)],
)
@pytest.mark.parametrize("mode", ["opt-in", "opt-out"])
def test_of_two_consents_the_narrower_yields_only_to_one_given_no_earlier(
    wider: str | None, expected: bool, mode: ConsentMode
) -> None:
    whole = consent(provision(purpose=purposes("TREAT")), id="c9", dateTime=wider)
    found = answered(NORMAL_ONLY, whole, mode=mode, labels=labelled("R", "PSY"))
    assert found.permitted is expected


def test_of_several_versions_of_a_consent_the_last_holds() -> None:
    old = {**PERMIT, "meta": {"lastUpdated": "2026-05-01T08:00:00Z"}}
    new = {**PERMIT, "status": "inactive", "meta": {"lastUpdated": "2026-05-01T08:00:00.5Z"}}
    assert not permitted(old, new)
    assert not permitted(new, old)
    assert permitted({**old, "status": "inactive"}, {**new, "status": "active"})
    assert answered(PERMIT, {**PERMIT, "status": "inactive"}, mode="opt-out").permitted is False
    assert permitted(PERMIT, PERMIT)
    assert not permitted(old, {**PERMIT, "language": "de"}), "of one nobody knows when"
    assert not permitted(old, {**old, "language": "de"}), "both at once"
    assert not permitted(old, {**PERMIT, "meta": {"lastUpdated": "2026-05-01"}}), "without a time"


REVOKED = consent(
    provision("deny"),
    id="r1",
    dateTime="2026-06-15T09:00:00+00:00",
    meta={"tag": [{"system": "urn:chartgate:consent", "code": "revocation"}]},
)


@pytest.mark.parametrize("mode", MODES)
def test_revocation_ends_what_was_given_before_and_not_what_is_given_later(
    mode: ConsentMode,
) -> None:
    assert not answered(REVOKED, PERMIT, mode=mode).permitted
    assert not answered(REVOKED, mode=mode).permitted
    assert not answered(REVOKED, mode=mode, complete=False).permitted
    same_day = {**PERMIT, "dateTime": "2026-06-15"}
    assert not answered(REVOKED, same_day, mode=mode).permitted
    later = {**PERMIT, "dateTime": "2026-06-15T10:00:00Z"}
    assert answered(REVOKED, later, mode=mode).permitted


@pytest.mark.parametrize("mode", MODES)
def test_what_is_known_to_deny_denies_though_not_all_is_known(mode: ConsentMode) -> None:
    found = answered(DENY, mode=mode, complete=False)
    assert (found.permitted, found.rule) == (False, "Consent/c2#0")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "body", [b"", b"null", b"[]", b"7", b'{"resourceType":"Patient"}', b'{"resourceType":"Consent"}',
             b"{" * 3000, b'{"resourceType":"Consent","":1,"status":["active"]}'],
)  # fmt: skip
def test_body_that_is_no_consent_denies(body: bytes, mode: ConsentMode) -> None:
    assert not answered(body, consent(), mode=mode).permitted


def test_all_of_several_patients_must_agree() -> None:
    yes, no = answered(PERMIT), answered(DENY)
    assert all_of([yes]) is yes
    both = all_of([yes, no])
    assert (both.permitted, both.rule) == (False, no.rule)
    assert both.digest not in (yes.digest, no.digest)
    assert all_of([yes, yes]).permitted


OPT_OUT: list[tuple[Json, Json, bool]] = [
    # a permission for somebody or something else takes nothing away
    (provision(actor=[recipient("Group/g")]), {}, True),
    (provision(purpose=[{"system": "https://own", "code": "trial"}]), {}, True),
    (provision(purpose=purposes("HRESCH"), securityLabel=label_codes("N")), {"labels": labelled("R")}, True),
    # one that may be for this, and leaves these data out, does
    (provision(securityLabel=label_codes("N")), {"labels": labelled("R")}, False),
    (provision(actor=[recipient("Group/g")], securityLabel=label_codes("N")), {"labels": labelled("R")}, False),
    (provision(purpose=[{"system": "https://own", "code": "trial"}], securityLabel=label_codes("N")), {"labels": labelled("R")}, True),
    # and so do the data that it excepts, whatever it was given for
    (provision("permit", provision("deny", securityLabel=label_codes("PSY")), purpose=purposes("HRESCH")), {"labels": labelled("R", "PSY")}, False),
    (provision("permit", provision("deny", securityLabel=label_codes("PSY")), purpose=purposes("HRESCH")), {"labels": labelled("R", "HIV")}, True),
    (provision("permit", provision("deny", period={"end": "2025"}), purpose=purposes("HRESCH")), {}, True),
]  # fmt: skip


@pytest.mark.parametrize(("root", "asked", "expected"), OPT_OUT)
def test_where_all_is_shared_unless_somebody_says_no_a_permission_limits_only_its_own(
    root: Json, asked: Json, expected: bool
) -> None:
    found = answered(consent(root), mode="opt-out", **asked)
    assert found.permitted is expected
    assert not permitted(consent(root), **asked)
    later = {**PERMIT, "id": "c9", "dateTime": "2026-02-01"}
    assert answered(consent(root), later, mode="opt-out", **asked).permitted


# Laws. Provisions are drawn with every criterion that the question below can meet or miss.
CRITERIA: dict[str, st.SearchStrategy[Any]] = {
    "purpose": st.lists(st.sampled_from(purposes("TREAT", "HRESCH", "HOPERAT", "BTG", "ODD")), min_size=1, max_size=2),
    "actor": st.lists(st.sampled_from([recipient(r) for r in ("Organization/clinic", "Practitioner/b", "Group/g")]), min_size=1, max_size=2),
    "securityLabel": st.lists(st.sampled_from(label_codes("N", "R", "V", "PSY", "ETH", "HIV", "ODD")), min_size=1, max_size=2),
    "class": st.just([{"system": "http://hl7.org/fhir/resource-types", "code": "Observation"}]),
    "code": st.sampled_from([[{"coding": [{"system": "http://loinc.org", "code": c}]}] for c in ("2339-0", "1-8")] + [[{"text": "sugar"}]]),
    "period": st.sampled_from([{"end": "2026-06-15"}, {"start": "2026-06-15"}, {"end": "2027"}, {"start": "2027"}]),
    "dataPeriod": st.sampled_from([{"start": "2026"}, {"end": "2025"}, {"start": "2026-03-01", "end": "2026-03-01"}]),
    "data": st.lists(st.builds(lambda m, r: {"meaning": m, "reference": {"reference": r}}, st.sampled_from(["instance", "related", "dependents", "authoredby"]), st.sampled_from(["Encounter/3", "Observation/1", "Practitioner/a", "Practitioner/z"])), min_size=1, max_size=2),
}  # fmt: skip


def drawn_provisions(depth: int = 3) -> st.SearchStrategy[Json]:
    own = st.fixed_dictionaries({"type": st.sampled_from(["permit", "deny"])}, optional=CRITERIA)
    if depth == 0:
        return own
    inner = st.lists(drawn_provisions(depth - 1), min_size=1, max_size=2)
    return own | st.builds(lambda o, i: {**o, "provision": i}, own, inner)


PROVISIONS = drawn_provisions()
DATES = st.sampled_from(["2026-01-10", "2026-03-01", "2026-06-15T08:00:00Z", "2020", "2026-06-20"])
STATUSES = st.sampled_from(["active"] * 6 + ["rejected", "inactive", "odd"])
CONSENTS = st.builds(
    lambda n, p, d, s: consent(p, id=f"c{n}", dateTime=d, status=s),
    st.integers(1, 9), PROVISIONS, DATES, STATUSES,
)  # fmt: skip
LABELS = st.builds(
    lambda c, s: labelled(c, *s),
    st.sampled_from(CONFIDENTIALITY),
    st.sets(st.sampled_from(["PSY", "HIV", "SDV"]), max_size=2),
)
MAYBE: dict[str, st.SearchStrategy[Any]] = {
    "labels": LABELS,
    "purpose": st.sampled_from(["TREAT", "HRESCH", "BTG", "HQUALIMP", "x|y", ""]),
    "codes": st.sampled_from([None, frozenset(), frozenset({("http://loinc.org", "2339-0")})]),
    "authors": st.sampled_from([None, frozenset({"Practitioner/a"}), frozenset({"PractitionerRole/r"})]),
    "related": st.sampled_from([None, frozenset({"Encounter/3"}), frozenset()]),
    "dated": st.sampled_from([None, (AT, AT)]),
}  # fmt: skip
ASKED = st.fixed_dictionaries({}, optional=MAYBE)
MODE = st.sampled_from(MODES)


ZONES = st.sampled_from([None, ZoneInfo("Europe/Berlin"), ZoneInfo("Pacific/Auckland")])


@given(
    st.lists(CONSENTS, max_size=3),
    ASKED,
    MODE,
    ZONES,
    st.integers(-200 * 1440, 260 * 1440),
    st.floats(0, 1),
)
@settings(max_examples=400)
def test_answer_stays_the_same_until_the_instant_that_is_given(
    consents: list[Json],
    asked: Json,
    mode: ConsentMode,
    zone: ZoneInfo | None,
    minutes: int,
    share: float,
) -> None:
    at = AT + timedelta(minutes=minutes)
    known = compile_consents([orjson.dumps(one) for one in consents])
    until = same_until(known, at, zone)
    assert until > at
    far = at + timedelta(days=4000)
    last = min(until, far) - timedelta(microseconds=1)
    for later in (at + (last - at) * share, last):
        before, after = (
            decide_consent(known, asking(**asked, at=when, zone=zone), mode) for when in (at, later)
        )
        assert before == after


def test_answer_of_a_consent_that_ends_is_another_at_the_instant_that_is_given() -> None:
    ending = consent(provision(period={"end": "2026-06-15T12:30:00Z"}))
    known = compile_consents([orjson.dumps(ending)])
    until = same_until(known, AT, None)
    assert until == datetime(2026, 6, 15, 12, 30, 1, tzinfo=UTC)
    just_before = decide_consent(known, asking(at=until - timedelta(microseconds=1)), "opt-in")
    assert (just_before.permitted, decide_consent(known, asking(at=until), "opt-in").permitted) == (
        True,
        False,
    )


def nodes(root: Json) -> list[Json]:
    return [root] + [n for inner in root.get("provision", []) for n in nodes(inner)]


@given(CONSENTS, ASKED, MODE, drawn_provisions(0), st.integers(0, 50), st.booleans())
@settings(max_examples=400)
def test_adding_a_provision_that_denies_never_permits(
    one: Json, asked: Json, mode: ConsentMode, added: Json, place: int, complete: bool
) -> None:
    before = answered(one, mode=mode, complete=complete, **asked)
    wider = deepcopy(one)
    found = nodes(wider["provision"])
    found[place % len(found)].setdefault("provision", []).append({**added, "type": "deny"})
    after = answered(wider, mode=mode, complete=complete, **asked)
    assert before.permitted >= after.permitted


@given(st.lists(CONSENTS, max_size=3), CONSENTS, ASKED, MODE)
@settings(max_examples=400)
def test_an_active_consent_that_denies_alone_denies_beside_any_others(
    others: list[Json], one: Json, asked: Json, mode: ConsentMode
) -> None:
    alone = answered({**one, "id": "own"}, mode="not-needed", **asked)
    if not alone.permitted and alone.rule.startswith("Consent/"):
        assert not answered({**one, "id": "own"}, *others, mode=mode, **asked).permitted


@given(st.lists(CONSENTS, max_size=3), ASKED, MODE)
@settings(max_examples=400)
def test_knowing_less_never_permits(consents: list[Json], asked: Json, mode: ConsentMode) -> None:
    """Neither consents that may be missing, nor what is not known of the resource."""
    whole = answered(*consents, mode=mode, **asked)
    partly = answered(*consents, mode=mode, complete=False, **asked)
    assert whole.permitted >= partly.permitted
    assert mode == "not-needed" or not partly.permitted
    assert mode == "not-needed" or not decide_consent(None, asking(**asked), mode).permitted
    for name in ("codes", "authors", "related", "dated"):
        less = answered(*consents, mode=mode, **{**asked, name: None})
        assert whole.permitted >= less.permitted, name
    assert whole.permitted >= answered(*consents, mode=mode, **{**asked, "purpose": ""}).permitted


@given(
    st.lists(CONSENTS, max_size=3), ASKED, MODE, st.sampled_from(["raise", "unknown", "strange"])
)
@settings(max_examples=400)
def test_labels_only_restrict(
    consents: list[Json], asked: Json, mode: ConsentMode, how: str
) -> None:
    """A higher confidentiality, a sensitivity that nobody named, or an unknown label never
    permits what was not permitted without it."""
    labels: Labels = asked.get("labels", labelled())
    before = answered(*consents, mode=mode, **asked).permitted
    level = CONFIDENTIALITY.index(labels.confidentiality)
    more = {
        "raise": labelled(CONFIDENTIALITY[min(level + 1, 5)], *labels.sensitivities),
        "unknown": labelled(labels.confidentiality, *labels.sensitivities, unknown=True),
        "strange": labelled(labels.confidentiality, *labels.sensitivities, "TBOO"),
    }[how]
    assert before >= answered(*consents, mode=mode, **{**asked, "labels": more}).permitted


@given(CONSENTS, ASKED, MODE, st.sampled_from(["root", "provision", "actor", "scope", "period"]))
@settings(max_examples=200)
def test_a_modifier_extension_anywhere_makes_an_active_consent_deny(
    one: Json, asked: Json, mode: ConsentMode, where: str
) -> None:
    changed = deepcopy({**one, "status": "active"})
    extension = [{"url": "https://example.org/except-not", "valueBoolean": True}]
    holder = {
        "root": changed,
        "provision": nodes(changed["provision"])[-1],
        "actor": changed["provision"].setdefault("actor", [recipient("Organization/x")])[0],
        "scope": changed["scope"],
        "period": changed["provision"].setdefault("period", {"end": "2030"}),
    }[where]
    holder["modifierExtension"] = extension
    found = answered(changed, mode=mode, **asked)
    assert not found.permitted


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-9, 9) | st.sampled_from(["active", "Consent", PATIENT, "2026"]),
        lambda inner: st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["", "_", "resourceType", "status", "patient", "reference", "id", "meta", "lastUpdated",
                             "provision", "type", "coding", "scope", "period", "tag"]),
            inner, max_size=4,
        ),
        max_leaves=12,
    ),
    MODE,
)  # fmt: skip
@settings(max_examples=300)
def test_nonsense_never_raises_and_never_permits(value: Any, mode: ConsentMode) -> None:
    bodies = [
        orjson.dumps(value),
        orjson.dumps({"resourceType": "Consent", "id": "c1", "meta": value}),
    ]
    found = decide_consent(compile_consents(bodies), asking(), mode)
    assert not found.permitted


def test_decisions_do_not_depend_on_the_order_of_consents() -> None:
    narrow = {**NORMAL_ONLY, "id": "c5"}
    for mode in MODES:
        one = answered(PERMIT, DENY, narrow, mode=mode)
        assert one == answered(narrow, DENY, PERMIT, mode=mode)


def said(permitted: bool, digest: str, *, notice: bool = False, scope: str = "") -> ConsentAnswer:
    return ConsentAnswer(
        permitted=permitted, rule=digest, sentence=digest, digest=digest, notice=notice, scope=scope
    )


def test_one_answer_for_several_patients_is_a_no_where_one_says_no() -> None:
    yes, also = said(True, "a", notice=True, scope="A"), said(True, "b", notice=True, scope="B")
    plain, no, never = said(True, "c"), said(False, "d"), said(False, "e")
    assert all_of([yes]) == yes
    assert all_of([no]) == no
    together = all_of([plain, yes, also])
    assert (together.permitted, together.rule, together.sentence) == (True, "c", "c")
    assert (together.notice, together.scope) == (True, "A; B")
    assert (all_of([plain, plain]).notice, all_of([plain, plain]).scope) == (False, "")
    refused = all_of([yes, no, never, also])
    assert (refused.permitted, refused.rule, refused.sentence) == (False, "d", "d")
    assert (refused.notice, refused.scope) == (False, "")


def test_answer_for_several_patients_tells_of_each_by_its_digest() -> None:
    a, b, c = said(True, "a"), said(True, "b"), said(True, "c")
    digests = {all_of(each).digest for each in ([a, b], [b, a], [a, c], [a, b, c], [a, a])}
    assert len(digests) == 5
    assert all(len(bytes.fromhex(each)) == 32 for each in digests)


def test_consent_that_lacks_least_is_named() -> None:
    form = {"coding": [{"system": ACT_CODE, "code": "42CFRPart2CD"}]}
    whole = provision(
        purpose=purposes("TREAT"),
        actor=[recipient("Organization/clinic")],
        securityLabel=label_codes("R", "ETH"),
    )
    near: dict[str, Any] = {"policyRule": form, "policy": None, "organization": None}
    far = provision(purpose=purposes("TREAT"))
    for nearest, other in (("c1", "c2"), ("c2", "c1")):
        found = answered(
            consent(whole, id=nearest, **near), consent(far, id=other), labels=labelled("R", "SUD")
        )
        assert found.sentence.endswith(f"; Consent/{nearest}#0 does not say who may disclose")


def test_where_no_consent_permits_none_is_named() -> None:
    for consents in ((), (RESEARCH,)):
        found = answered(*consents, labels=labelled("R", "SUD"))
        assert found.sentence == "records of substance use need a consent with all of 42 CFR 2.31"
