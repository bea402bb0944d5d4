"""An EHR opens Chartgate for the patient whose chart is open there (SMART App Launch, EHR
launch). The session that comes of it is for that patient and that site alone.

Source: https://hl7.org/fhir/smart-app-launch/STU2.2/app-launch.html
"""

import re
from collections.abc import Mapping

from chartgate.errors import ChartgateError
from chartgate.flows.code_grants import (
    Begun,
    SignInRefused,
    begin,
    come_back,
    enter,
    name_in,
    record_refusal,
)
from chartgate.flows.id_tokens import has_second_factor
from chartgate.flows.oidc import Arrival
from chartgate.flows.providers import Registration
from chartgate.gate import Gate
from chartgate.model.principal import Person

LAUNCH_MAX = 4_000  # characters
PATIENT_ID = re.compile(r"[A-Za-z0-9\-.]{1,64}")  # FHIR's id
SAY_UNKNOWN = (
    "this launch is from no system that Chartgate knows; open it from your EHR again, and if it "
    "stays so ask your operator to look at [launch] in chartgate.toml"
)
SAY_NO_PATIENT = "the EHR named no patient; open a patient's chart there and begin again"


async def begin_launch(
    gate: Gate, *, iss: str, launch: str, cookie: str | None, session: str | None = None
) -> Begun:
    """The way to the EHR's own sign-in. Nothing is asked of an address that is not configured.
    Raises Denied, ProviderSilent; audited."""
    try:
        registration = _registration_by_iss(gate, iss)
        if not 0 < len(launch) <= LAUNCH_MAX or not launch.isprintable():
            raise SignInRefused(SAY_UNKNOWN, reason="launch")
        return await begin(
            gate,
            registration,
            then="/",
            cookie=cookie,
            session=session,
            parameters={"launch": launch, "aud": registration.address},
        )
    except ChartgateError as error:
        await record_refusal(gate, "launch", error)
        raise


async def finish_launch(
    gate: Gate, name: str, query: Mapping[str, str], cookie: str | None
) -> Arrival:
    """Opens a session that is bound to the patient. Raises Denied, SignInRefused, CodeRefused,
    ProviderSilent; audited."""
    try:
        registration = registration_of(gate, name)
        vouched = await come_back(gate, registration, query, cookie)
        patient = vouched.answer.get("patient")
        if not isinstance(patient, str) or not PATIENT_ID.fullmatch(patient):
            raise SignInRefused(SAY_NO_PATIENT, reason="no-patient")
        settings = gate.config.launch[name]
        person = Person(
            id=name_in(registration, vouched.claims),
            roles=settings.roles,
            sites=(settings.site,),
            mfa=has_second_factor(vouched.claims, amr=settings.mfa_amr, acr=settings.mfa_acr),
            patient=f"Patient/{patient}",
        )
        signed_in = await enter(gate, vouched, person, way=registration.way)
    except ChartgateError as error:
        await record_refusal(gate, "launch", error)
        raise
    return Arrival(signed_in=signed_in, then=vouched.attempt.then_path)


def registration_of(gate: Gate, name: str) -> Registration:
    """How Chartgate is known at the EHR of [launch.NAME]. Raises Denied."""
    settings = gate.config.launch.get(name)
    if settings is None:
        raise SignInRefused(SAY_UNKNOWN, reason="unknown-ehr")
    return Registration(
        way=f"launch:{name}",
        label="your EHR's sign-in",
        address=settings.iss,
        discovery_url=settings.iss.rstrip("/") + "/.well-known/smart-configuration",
        settings=settings,
        redirect_uri=f"{gate.config.web.url}/launch/{name}/callback",
    )


def _registration_by_iss(gate: Gate, iss: str) -> Registration:
    """Compared as it stands: neither case nor a slash at its end is made up for."""
    for name, settings in gate.config.launch.items():
        if settings.iss == iss:
            return registration_of(gate, name)
    raise SignInRefused(SAY_UNKNOWN, reason="unknown-ehr")
