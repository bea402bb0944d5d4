"""Security labels of one resource, by HL7 DS4P and HCS.

Codes are those of HL7 v3 Confidentiality, and of the value sets InformationSensitivityPolicy and
SecurityPolicy of HL7 v3 ActCode. Source: https://hl7.org/fhir/R4/security-labels.html
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache

CONFIDENTIALITY = ("U", "L", "M", "N", "R", "V")  # least to most restrictive
MOST_RESTRICTIVE = "V"
USUAL = "N"
# What else a sensitivity speaks of, by the hierarchy of HL7 v3 ActCode. ETH (substance abuse) and SUD
# (substance use disorder) are used for the same, and ETHUD and OPIOIDUD are parts of both, as in
# https://profiles.ihe.net/ITI/PCF/ (SlsSensitiveETH).
NARROWER: Mapping[str, frozenset[str]] = {
    "BH": frozenset(
        {"COGN", "DVD", "EMOTDIS", "ETH", "ETHUD", "MH", "OPIOIDUD", "PSY", "PSYTHPN", "SUD"}
    ),
    "DEMO": frozenset({"DOB", "GENDER", "LIVARG", "MARST", "PATLOC", "RACE", "REL"}),
    "ETH": frozenset({"ETHUD", "OPIOIDUD", "SUD"}),
    "MH": frozenset({"PSY", "PSYTHPN"}),
    "SCA": frozenset({"SICKLE"}),
    "SUD": frozenset({"ETH", "ETHUD", "OPIOIDUD"}),
}
ALONE = frozenset({"PSYTHPN"})  # needs an authorization of its own: 45 CFR 164.508(a)(2)


@dataclass(frozen=True, kw_only=True, slots=True)
class Labels:
    """What one resource, or a bundle of them, is labelled with."""

    confidentiality: str = USUAL  # one of CONFIDENTIALITY
    sensitivities: frozenset[str] = frozenset()  # e.g. "PSY", "ETH", "HIV", "SDV"
    handling: frozenset[str] = frozenset()  # e.g. "NORDSCLCD", "NOAUTH"
    unknown: bool = False  # some label was not understood: the most restrictive then holds


NO_LABELS = Labels()


def high_water(many: Iterable[Labels]) -> Labels:
    """The labels of a bundle: the most restrictive of each kind that any of its members has."""
    labels = tuple(many)
    rank = max((CONFIDENTIALITY.index(each.confidentiality) for each in labels), default=None)
    return Labels(
        confidentiality=USUAL if rank is None else CONFIDENTIALITY[rank],
        sensitivities=frozenset().union(*(each.sensitivities for each in labels)),
        handling=frozenset().union(*(each.handling for each in labels)),
        unknown=any(each.unknown for each in labels),
    )


def narrower(code: str) -> frozenset[str]:
    """The sensitivity and all that it speaks of: what a rule against it must hold back."""
    return NARROWER.get(code, frozenset()) | {code}


@cache
def covered_by(listed: tuple[str, ...]) -> frozenset[str]:
    """What may be seen by one who may see these: psychotherapy notes only where they are named."""
    wider = frozenset().union(*(narrower(code) for code in listed)) - ALONE
    return wider | frozenset(listed)


CONFIDENTIALITY_SYSTEM = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality"
ACT_CODE_SYSTEM = "http://terminology.hl7.org/CodeSystem/v3-ActCode"


def codes_of(labels: Labels) -> tuple[str, ...] | None:
    """The codes, for an audit event; None: nothing but the usual."""
    if labels == NO_LABELS:
        return None
    codes = (labels.confidentiality, *sorted(labels.sensitivities), *sorted(labels.handling))
    return (*codes, "unknown") if labels.unknown else codes


def security_of(labels: Labels) -> list[dict[str, str]]:
    """The codings of meta.security; none where there is nothing but the usual."""
    if labels == NO_LABELS:
        return []
    level = MOST_RESTRICTIVE if labels.unknown else labels.confidentiality
    acts = [*sorted(labels.sensitivities), *sorted(labels.handling)]
    return [
        {"system": CONFIDENTIALITY_SYSTEM, "code": level},
        *({"system": ACT_CODE_SYSTEM, "code": code} for code in acts),
    ]
