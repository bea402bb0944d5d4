"""Purposes of use: which are treatment, payment or operations, and what each is in words.

Codes of HL7 v3 PurposeOfUse. Source: https://terminology.hl7.org/ValueSet-v3-PurposeOfUse.html
An accounting of disclosures leaves out those three, and what goes to the patients themselves.
Source: 45 CFR 164.528(a)(1)
"""

from collections.abc import Mapping

WORDS: Mapping[str, str] = {
    "TREAT": "treatment",
    "ETREAT": "emergency treatment",
    "BTG": "break the glass",
    "ERTREAT": "emergency room treatment",
    "CLINTRL": "treatment within a clinical trial",
    "COC": "coordination of care",
    "POPHLTH": "population health",
    "CAREMGT": "care management",
    "HPAYMT": "payment",
    "CLMATTCH": "claim attachment",
    "COVAUTH": "coverage authorisation",
    "COVERAGE": "coverage under a policy",
    "ELIGDTRM": "eligibility determination",
    "ELIGVER": "eligibility verification",
    "ENROLLM": "enrolment",
    "MILDCRG": "military discharge",
    "REMITADV": "remittance advice",
    "HOPERAT": "healthcare operations",
    "DONAT": "donation",
    "FRAUD": "fraud detection",
    "GOV": "government",
    "HACCRED": "accreditation",
    "HCOMPL": "compliance",
    "HDECD": "care of the deceased",
    "HDIRECT": "directory",
    "HDM": "delivery management",
    "HLEGAL": "legal",
    "HOUTCOMS": "outcome measures",
    "HPRGRP": "programme reporting",
    "HQUALIMP": "quality improvement",
    "HSYSADMIN": "system administration",
    "HTEST": "test of systems",
    "LABELING": "labelling",
    "MEMADMIN": "member administration",
    "METAMGT": "metadata management",
    "MILCDM": "military command",
    "PATADMIN": "patient administration",
    "PATSFTY": "patient safety",
    "PERFMSR": "performance measures",
    "RECORDMGT": "records management",
    "SYSDEV": "system development",
    "TRAIN": "training",
    "HMARKT": "marketing",
    "HRESCH": "research",
    "BIORCH": "biomedical research",
    "CLINTRCH": "clinical trial research",
    "PATRQT": "at the patient's request",
    "FAMRQT": "at the family's request",
    "PWATRNY": "power of attorney",
    "SUPNWK": "support network",
    "PUBHLTH": "public health",
    "DISASTER": "disaster",
    "THREAT": "threat",
}
TREATMENT = frozenset({"TREAT", "ETREAT", "BTG", "ERTREAT", "CLINTRL", "COC", "POPHLTH", "CAREMGT"})
PAYMENT = frozenset(
    {
        "HPAYMT", "CLMATTCH", "COVAUTH", "COVERAGE", "ELIGDTRM", "ELIGVER", "ENROLLM", "MILDCRG",
        "REMITADV",
    }
)  # fmt: skip
OPERATIONS = frozenset(
    {
        "HOPERAT", "FRAUD", "HACCRED", "HCOMPL", "HDIRECT", "HDM", "HOUTCOMS", "HPRGRP", "HQUALIMP",
        "HSYSADMIN", "HTEST", "LABELING", "MEMADMIN", "METAMGT", "PATADMIN", "PATSFTY", "PERFMSR",
        "RECORDMGT", "SYSDEV", "TRAIN",
    }
)  # fmt: skip
TO_THE_PATIENT = frozenset({"PATRQT"})


def is_accounted(purpose: str | None) -> bool:
    """Whether a disclosure for it stands in an accounting. One that is not known does: leaving
    out too much cannot be mended by the patient."""
    return purpose not in TREATMENT | PAYMENT | OPERATIONS | TO_THE_PATIENT


def words_of(purpose: str | None) -> str:
    """What to show a person."""
    return WORDS.get(purpose or "", purpose or "not stated")
