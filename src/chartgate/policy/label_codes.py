"""Codes that HL7 gives to security labels, and the names of code systems that contents use.

Facts of the standard, nothing of ours. A label whose code is not here is one that was not
understood, and the most restrictive reading then holds. Sources:
https://terminology.hl7.org/ValueSet-v3-InformationSensitivityPolicy.html,
https://terminology.hl7.org/ValueSet-v3-SecurityPolicy.html,
https://terminology.hl7.org/CodeSystem-v3-ObservationValue.html (_SECINTOBV),
https://hl7.org/fhir/R4/security-labels.html, https://hl7.org/fhir/R4/terminologies-systems.html
"""

from collections.abc import Mapping

ACT_CODE = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
ACT_REASON = "http://terminology.hl7.org/CodeSystem/v3-ActReason"
CONFIDENTIALITY_SYSTEM = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality"
OBSERVATION_VALUE = "http://terminology.hl7.org/CodeSystem/v3-ObservationValue"

SENSITIVITIES_CODES = """
    ETH GDIS HIV MST PREGNANT SCA SDV SEX SPI BH COGN DVD EMOTDIS MH PSY PSYTHPN SUD ETHUD OPIOIDUD
    STD TBOO VIO IDS SICKLE DEMO DOB GENDER LIVARG MARST PATLOC RACE REL B EMPL LOCIS SSP ADOL CEL
    VIP DIA DRGIS EMP PDS PHY PRS
"""
SENSITIVITIES = frozenset(SENSITIVITIES_CODES.split())
# Obligations, refrains, privacy marks, laws and compartments: what the receiver must do or not do.
HANDLING_CODES = """
    COMPT ACOCOMPT CDSSCOMPT CTCOMPT FMCOMPT HRCOMPT LRCOMPT PACOMPT RESCOMPT RMGTCOMPT
    AUTHPOL ACCESSCONSCHEME DELEPOL ANONY AOD AUDIT AUDTR CPLYPOL CPLYCC CPLYCD CPLYCUI CPLYJPP
    CPLYJSP CPLYOPP CPLYOSP DECLASSIFYLABEL DEID DELAU DOWNGRDLABEL DRIVLABEL ENCRYPT ENCRYPTR
    ENCRYPTT ENCRYPTU HUAPRV LABEL MASK MINEC PERSISTLABEL PRIVMARK CUIMark PSEUD REDACT UPGRDLABEL
    PrivacyMark ControlledUnclassifiedInformation CONTROLLED CUI CUIHLTH CUIHLTHP CUIP CUIPRVCY
    CUIPRVCYP CUISP-HLTH CUISP-HLTHP CUISP-PRVCY CUISP-PRVCYP UUI SecurityLabelMark ConfidentialMark
    COPYMark DeliverToAddresseeOnlyMark RedisclosureProhibitionMark RestrictedConfidentialityMark
    DRAFTMark NOAUTH NOCOLLECT NODSCLCD NODSCLCDS NOINTEGRATE NOLIST NOMOU NOORGPOL NOPAT NOPERSISTP
    NORDSCLCD NORDSLCD NORDSCLCDS NORDSCLW NORELINK NOREUSE NOVIP ORCON
    42CFRPart2 CommonRule HIPAAAuth HIPAAConsent HIPAANOPP HIPAAPsyNotes HIPAAROA HIPAASelfPay
    Title38Section7332 GDPRCONSENT
"""
HANDLING = frozenset(HANDLING_CODES.split())
PURPOSES_CODES = """
    PurposeOfUse HMARKT HOPERAT CAREMGT DONAT FRAUD GOV HACCRED HCOMPL HDECD HDIRECT HDM HLEGAL
    HOUTCOMS HPRGRP HQUALIMP HSYSADMIN LABELING METAMGT MEMADMIN MILCDM PATADMIN PATSFTY PERFMSR
    RECORDMGT SYSDEV HTEST TRAIN HPAYMT CLMATTCH COVAUTH COVERAGE ELIGDTRM ELIGVER ENROLLM MILDCRG
    REMITADV HRESCH BIORCH CLINTRCH CLINTRCHNPC CLINTRCHPC PRECLINTRCH DSRCH POARCH TRANSRCH PATRQT
    FAMRQT PWATRNY SUPNWK PUBHLTH DISASTER THREAT TREAT CLINTRL COC ETREAT BTG ERTREAT POPHLTH
"""
PURPOSES = frozenset(PURPOSES_CODES.split())
# How the resource was altered, and how far it may be relied on: says nothing of who may see it.
INTEGRITY_CODES = """
    ABSTRED AGGRED ANONYED MAPPED MASKED PSEUDED REDACTED SUBSETTED SYNTAC TRSLT VERSIONED CRYTOHASH
    DIGSIG HRELIABLE RELIABLE UNCERTREL UNRELIABLE CLINAST DEVAST HCPAST PACQAST PATAST PAYAST PROAST
    SDMAST CLINRPT DEVRPT HCPRPT PACQRPT PATRPT PAYRPT PRORPT SDMRPT
"""
INTEGRITY = frozenset(INTEGRITY_CODES.split())
# A law that is named says what kind of information it protects.
IMPLIED: Mapping[str, frozenset[str]] = {
    "42CFRPart2": frozenset({"SUD"}),
    "HIPAAPsyNotes": frozenset({"PSYTHPN"}),
    "Title38Section7332": frozenset({"SUD", "HIV", "SCA"}),
}

# Short names that rules use, with every name under which the system is met.
SYSTEMS: Mapping[str, tuple[str, ...]] = {
    "actcode": (ACT_CODE, "http://hl7.org/fhir/v3/ActCode", "urn:oid:2.16.840.1.113883.5.4"),
    "atc": ("http://www.whocc.no/atc", "urn:oid:2.16.840.1.113883.6.73"),
    "cpt": ("http://www.ama-assn.org/go/cpt", "urn:oid:2.16.840.1.113883.6.12"),
    "hcpcs": (
        "http://www.cms.gov/Medicare/Coding/HCPCSReleaseCodeSets",
        "https://www.cms.gov/Medicare/Coding/HCPCSReleaseCodeSets",
        "http://terminology.hl7.org/CodeSystem/HCPCS-all-codes",
        "https://hcpcs.codes",
        "urn:oid:2.16.840.1.113883.6.14",
        "urn:oid:2.16.840.1.113883.6.285",
    ),
    "icd-10": (
        "http://hl7.org/fhir/sid/icd-10-cm",
        "http://hl7.org/fhir/sid/icd-10",
        "http://hl7.org/fhir/sid/icd-10-am",
        "http://fhir.de/CodeSystem/bfarm/icd-10-gm",
        "http://fhir.de/CodeSystem/dimdi/icd-10-gm",
        "urn:oid:2.16.840.1.113883.6.90",
        "urn:oid:2.16.840.1.113883.6.3",
    ),
    "icd-9-cm": (
        "http://hl7.org/fhir/sid/icd-9-cm",
        "http://hl7.org/fhir/sid/icd-9",
        "http://terminology.hl7.org/CodeSystem/icd9cm",
        "urn:oid:2.16.840.1.113883.6.103",
        "urn:oid:2.16.840.1.113883.6.104",
    ),
    "icd-10-pcs": (
        "http://www.cms.gov/Medicare/Coding/ICD10",
        "http://hl7.org/fhir/sid/icd-10-pcs",
        "urn:oid:2.16.840.1.113883.6.4",
    ),
    "loinc": ("http://loinc.org", "https://loinc.org", "urn:oid:2.16.840.1.113883.6.1"),
    "role-code": (
        "http://terminology.hl7.org/CodeSystem/v3-RoleCode",
        "http://hl7.org/fhir/v3/RoleCode",
        "urn:oid:2.16.840.1.113883.5.111",
    ),
    "rxnorm": ("http://www.nlm.nih.gov/research/umls/rxnorm", "urn:oid:2.16.840.1.113883.6.88"),
    "snomed": ("http://snomed.info/sct", "urn:oid:2.16.840.1.113883.6.96"),
    "taxonomy": ("http://nucc.org/provider-taxonomy", "urn:oid:2.16.840.1.113883.6.101"),
}
# In these a code stands for all that begin with it.
HIERARCHICAL = frozenset({"atc", "icd-10", "icd-9-cm", "icd-10-pcs", "taxonomy"})
LABEL_SYSTEMS: Mapping[str, tuple[str, ...]] = {
    "actcode": SYSTEMS["actcode"],
    "confidentiality": (
        CONFIDENTIALITY_SYSTEM,
        "http://hl7.org/fhir/v3/Confidentiality",
        "urn:oid:2.16.840.1.113883.5.25",
    ),
    "purpose": (ACT_REASON, "http://hl7.org/fhir/v3/ActReason", "urn:oid:2.16.840.1.113883.5.8"),
    "integrity": (
        OBSERVATION_VALUE,
        "http://hl7.org/fhir/v3/ObservationValue",
        "urn:oid:2.16.840.1.113883.5.1063",
    ),
}
