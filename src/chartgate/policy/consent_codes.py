"""Codes that consents speak in: systems, purposes of use and what lies within each of them.

Facts of HL7 terminology. What is not in these tables is not understood, and what is not
understood permits nothing. Sources: https://terminology.hl7.org/CodeSystem-v3-ActReason.html,
https://terminology.hl7.org/CodeSystem-v3-ActCode.html,
https://terminology.hl7.org/CodeSystem-consentscope.html
"""

from collections.abc import Mapping
from enum import Enum
from functools import cache

from chartgate.model.consent import Code
from chartgate.policy.label_codes import SENSITIVITIES


class Match(Enum):
    """Whether a provision means what is asked. What cannot be told permits nothing, and denies."""

    NO = 0
    UNSURE = 1
    YES = 2


ACT_REASON = "http://terminology.hl7.org/CodeSystem/v3-ActReason"
ACT_CODE = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
CONFIDENTIALITY = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality"
PARTICIPATION = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType"
CONSENT_SCOPE = "http://terminology.hl7.org/CodeSystem/consentscope"
CONSENT_ACTION = "http://terminology.hl7.org/CodeSystem/consentaction"
CONSENT_CATEGORY = "http://terminology.hl7.org/CodeSystem/consentcategorycodes"
LOINC = "http://loinc.org"
RESOURCE_TYPES = frozenset({"http://hl7.org/fhir/resource-types", "http://hl7.org/fhir/fhir-types"})
OLD_NAMES: Mapping[str, str] = {  # of code systems, before terminology.hl7.org and as OIDs
    "http://hl7.org/fhir/v3/ActReason": ACT_REASON,
    "urn:oid:2.16.840.1.113883.5.8": ACT_REASON,
    "http://hl7.org/fhir/v3/ActCode": ACT_CODE,
    "urn:oid:2.16.840.1.113883.5.4": ACT_CODE,
    "http://hl7.org/fhir/v3/Confidentiality": CONFIDENTIALITY,
    "urn:oid:2.16.840.1.113883.5.25": CONFIDENTIALITY,
    "http://hl7.org/fhir/v3/ParticipationType": PARTICIPATION,
    "urn:oid:2.16.840.1.113883.5.90": PARTICIPATION,
}

PURPOSES: Mapping[str, str] = {  # what lies within each purpose of use
    "PurposeOfUse": "HMARKT HOPERAT HPAYMT HRESCH PATRQT PUBHLTH TREAT",
    "HOPERAT": "CAREMGT DONAT FRAUD GOV HACCRED HCOMPL HDECD HDIRECT HDM HLEGAL HOUTCOMS HPRGRP"
    " HQUALIMP HSYSADMIN LABELING METAMGT MEMADMIN MILCDM PATADMIN PATSFTY PERFMSR RECORDMGT"
    " SYSDEV TRAIN",
    "SYSDEV": "HTEST",
    "HPAYMT": "CLMATTCH COVAUTH COVERAGE REMITADV",
    "COVERAGE": "ELIGDTRM ELIGVER ENROLLM MILDCRG",
    "HRESCH": "BIORCH CLINTRCH DSRCH POARCH TRANSRCH",
    "CLINTRCH": "CLINTRCHNPC CLINTRCHPC PRECLINTRCH",
    "PATRQT": "FAMRQT PWATRNY SUPNWK",
    "PUBHLTH": "DISASTER THREAT",
    "TREAT": "CLINTRL COC ETREAT POPHLTH",
    "ETREAT": "BTG ERTREAT",
}
# Substance use: what 42 CFR part 2 may protect. Chartgate cannot tell which records come from a
# federally assisted programme, so it takes all that are so labelled to be.
PART2_LAW = frozenset({"42CFRPart2"})  # names the law, and no kind of information
PART2 = frozenset({"ETH", "ETHUD", "OPIOIDUD", "SUD"}) | PART2_LAW
NOTES = "PSYTHPN"  # notes of counselling, kept apart from the record
LEGAL = "HLEGAL"
TPO = ("TREAT", "HPAYMT", "HOPERAT")
RECIPIENTS = frozenset({(PARTICIPATION, "IRCP"), (PARTICIPATION, "PRCP")})
READING = frozenset({"access", "use", "disclose"})  # handing data to an AI client is all of these
ACTIONS = READING | {"collect", "correct"}


def code_of(system: str, code: str) -> Code:
    """A code under the name that its system has today."""
    return OLD_NAMES.get(system, system), code


def purpose_covers(named: Code, asked: str) -> Match:
    """Whether a purpose that a provision names covers the one that is asked for."""
    if not asked:
        return Match.UNSURE
    system, bar, code = asked.partition("|")
    wanted = code_of(system, code) if bar else (ACT_REASON, asked)
    if named[0] != wanted[0] or not named[0]:
        return Match.UNSURE
    if named == wanted:
        return Match.YES
    if named[0] != ACT_REASON:
        return Match.NO
    if named[1] not in _known() or wanted[1] not in _known():
        return Match.UNSURE
    return Match.YES if wanted[1] in within_purpose(named[1]) else Match.NO


@cache
def within_purpose(code: str) -> frozenset[str]:
    """The purpose and all that lie within it."""
    return _within(code)


def is_sensitivity(code: str) -> bool:
    """Whether it is a code of information sensitivity, or the law of Part 2, that is known here."""
    return code in SENSITIVITIES or code in PART2_LAW


def _within(code: str) -> frozenset[str]:
    found = {code}
    for inner in PURPOSES.get(code, "").split():
        found |= _within(inner)
    return frozenset(found)


@cache
def _known() -> frozenset[str]:
    return within_purpose("PurposeOfUse")
