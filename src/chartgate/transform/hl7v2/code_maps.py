"""Code maps and coding systems: what the codes of HL7 v2 are called in FHIR.

The official maps stand in code_maps.json, which tools/build_v2_maps.py makes from the concept maps
of the HL7 v2-to-FHIR implementation guide. A target is a bare code ("female"), a coding with
system, code and mostly a display, or for a yes and a no a boolean.
"""

import re
from collections.abc import Mapping
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import Any

import orjson

TERMINOLOGY = "http://terminology.hl7.org/CodeSystem"
SID = "http://hl7.org/fhir/sid"
HL7_TABLE = re.compile(r"(?:HL7|HL)?(\d{4})")
LOCAL = re.compile(r"L|LB|99.*")
OID = re.compile(r"[0-2](\.(0|[1-9]\d*)){3,}")

# HL7 table 0396, and what senders write instead: the names that have a URI in FHIR. The local ones
# (L, 99zzz) have none, so that a site's own code is never taken for a standard one.
# Source: https://hl7.org/fhir/R4/terminologies-systems.html and https://terminology.hl7.org
CODING_SYSTEMS: Mapping[str, str] = {
    "ACTCODE": f"{TERMINOLOGY}/v3-ActCode",
    "C4": "http://www.ama-assn.org/go/cpt",
    "C5": "http://www.ama-assn.org/go/cpt",
    "CAS": "urn:oid:2.16.840.1.113883.6.61",
    "CD2": "http://www.ada.org/cdt",
    "CDCREC": "urn:oid:2.16.840.1.113883.6.238",
    "CDT": "http://www.ada.org/cdt",
    "CPT": "http://www.ama-assn.org/go/cpt",
    "CPTM": "http://www.ama-assn.org/go/cpt",
    "CVX": f"{SID}/cvx",
    "DCM": "http://dicom.nema.org/resources/ontology/DCM",
    "ENTITYCODE": f"{TERMINOLOGY}/v3-EntityCode",
    "ENTITYHDLG": f"{TERMINOLOGY}/v3-EntityHandling",
    "FDAUNII": "http://fdasis.nlm.nih.gov",
    "HCPCS": "http://www.cms.gov/Medicare/Coding/HCPCSReleaseCodeSets",
    "HCPT": "http://nucc.org/provider-taxonomy",
    "HPC": "http://www.cms.gov/Medicare/Coding/HCPCSReleaseCodeSets",
    "HSLOC": "https://www.cdc.gov/nhsn/cdaportal/terminology/codesystem/hsloc.html",
    "I10": f"{SID}/icd-10",
    "I10C": f"{SID}/icd-10-cm",
    "I10P": "http://www.cms.gov/Medicare/Coding/ICD10",
    "I9": "urn:oid:2.16.840.1.113883.6.42",
    "I9C": f"{SID}/icd-9-cm",
    "I9CDX": f"{SID}/icd-9-cm",
    "I9CP": "urn:oid:2.16.840.1.113883.6.104",
    "ICD10": f"{SID}/icd-10",
    "ICD10CM": f"{SID}/icd-10-cm",
    "ICD10PCS": "http://www.cms.gov/Medicare/Coding/ICD10",
    "ICD9CM": f"{SID}/icd-9-cm",
    "ICDO3": f"{TERMINOLOGY}/icd-o-3",
    "ICF": "urn:oid:2.16.840.1.113883.6.254",
    "ISO3166": "urn:iso:std:iso:3166",
    "ISO3166_1": "urn:iso:std:iso:3166",
    "ISO3166_2": "urn:iso:std:iso:3166:-2",
    "ISO4217": "urn:iso:std:iso:4217",
    "LN": "http://loinc.org",
    "LOINC": "http://loinc.org",
    "MDC": "urn:iso:std:iso:11073:10101",
    "MEDIATYPE": "urn:ietf:bcp:13",
    "MEDR": f"{TERMINOLOGY}/MDRAE",
    "MVX": f"{SID}/mvx",
    "NDC": f"{SID}/ndc",
    "NDFRT": "http://hl7.org/fhir/ndfrt",
    "NPI": f"{SID}/us-npi",
    "NUCC": "http://nucc.org/provider-taxonomy",
    "NULLFL": f"{TERMINOLOGY}/v3-NullFlavor",
    "OBSMETHOD": f"{TERMINOLOGY}/v3-ObservationMethod",
    "PRTCPTNMODE": f"{TERMINOLOGY}/v3-ParticipationMode",
    "RADLEX": "http://www.radlex.org",
    "ROLECLASS": f"{TERMINOLOGY}/v3-RoleClass",
    "ROLECODE": f"{TERMINOLOGY}/v3-RoleCode",
    "RXNORM": "http://www.nlm.nih.gov/research/umls/rxnorm",
    "SCT": "http://snomed.info/sct",
    "SNM": "urn:oid:2.16.840.1.113883.6.5",
    "SNM3": "urn:oid:2.16.840.1.113883.6.51",
    "SNOMED-CT": "http://snomed.info/sct",
    "SNOMEDCT": "http://snomed.info/sct",
    "UCUM": "http://unitsofmeasure.org",
    "UNII": "http://fdasis.nlm.nih.gov",
    "UPIN": f"{SID}/us-upin",
    "WC": "http://www.whocc.no/atc",
}


@cache
def code_map(name: str) -> Mapping[str, Any]:
    """Targets by the code that a message holds, as written and in upper case.

    So a code is looked up as sent and then in upper case. Empty for a map that has no codes.
    `name` is the one in the "Vocabulary Mapping" column of the segment maps, "AdministrativeSex".
    """
    codes: Mapping[str, Any] = _map(name).get("codes", {})
    return MappingProxyType({**{sent.upper(): codes[sent] for sent in codes}, **codes})


def target_of(codes: Mapping[str, Any], sent: str) -> Any | None:
    """What a code is in a map, a site's own as well: as sent, else in upper case."""
    found = codes.get(sent)
    return codes.get(sent.upper()) if found is None else found


def map_names() -> frozenset[str]:
    """Maps that have codes."""
    return frozenset(_maps())


def coding_system_uri(name: str) -> str | None:
    """The FHIR URI of a coding system's v2 name, any case. None for a local or unknown one.

    A URI stays what it is, an OID becomes one: some senders write them where the name belongs.
    """
    known = CODING_SYSTEMS.get(name) or CODING_SYSTEMS.get(name.upper())
    if known or LOCAL.fullmatch(name.upper()):
        return known
    if table := HL7_TABLE.fullmatch(name.upper()):
        return f"{TERMINOLOGY}/v2-{table[1]}"
    if name.startswith(("http://", "https://", "urn:")) and not any(c.isspace() for c in name):
        return name
    return f"urn:oid:{name}" if OID.fullmatch(name) else None


def _map(name: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = _maps().get("".join(name.split()), {})
    return found


@cache
def _maps() -> Mapping[str, Any]:
    body = (resources.files("chartgate.transform.hl7v2") / "code_maps.json").read_bytes()
    maps: Mapping[str, Any] = orjson.loads(body)
    return maps
