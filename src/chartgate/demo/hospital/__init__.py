"""The sample hospital: a FHIR R4 EHR of its own, with synthetic patients and switchable faults.

It is the other side of Chartgate's adapters and shares no code with them. `python -m
chartgate.demo.hospital` runs it as a process; `running_hospital` runs it within a test. Where
things are: `chart` keeps the versions; `writes`, `transactions`, `search` and `ehr` are FHIR's
interactions; `app` is the web side, with the faults of `faults` around it, and with the habits of
the product whose dialect it wears (`dress`, `lies`); `journal` counts what
really happened; `control` is the back door for tests; `population` and `bundles` fill the chart.
"""

from chartgate.demo.hospital.faults import Faults
from chartgate.demo.hospital.journal import MARKER_SYSTEM, Effect, Journal
from chartgate.demo.hospital.oauth import RegisteredClient
from chartgate.demo.hospital.population import sample_patients
from chartgate.demo.hospital.scenario import Scenario
from chartgate.demo.hospital.server import Hospital, make_hospital, running_hospital

__all__ = [
    "MARKER_SYSTEM",
    "Effect",
    "Faults",
    "Hospital",
    "Journal",
    "RegisteredClient",
    "Scenario",
    "make_hospital",
    "running_hospital",
    "sample_patients",
]
