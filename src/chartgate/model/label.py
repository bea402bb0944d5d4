"""Security labels of one resource, by HL7 DS4P and HCS.

Codes are those of HL7 v3 Confidentiality, and of the value sets InformationSensitivityPolicy and
SecurityPolicy of HL7 v3 ActCode. Source: https://hl7.org/fhir/R4/security-labels.html
"""

from collections.abc import Iterable
from dataclasses import dataclass

CONFIDENTIALITY = ("U", "L", "M", "N", "R", "V")  # least to most restrictive
MOST_RESTRICTIVE = "V"
USUAL = "N"


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
