"""Our audit events as FHIR R4 AuditEvents, by IHE Basic Audit Log Patterns (BALP) 1.1.4.

`patterns.py` is the table of actions, `events.py` makes the resources, `agents.py` and
`entities.py` make their parts, `codes.py` holds the codes. What BALP says nothing about (denials,
failures, our own actions) follows one stated pattern of our own, in codes of DICOM.
Source: https://profiles.ihe.net/ITI/BALP/
"""
