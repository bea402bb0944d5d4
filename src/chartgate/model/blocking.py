"""What each reason for a refusal is by the information blocking rule (45 CFR part 171).

A refusal is no information blocking where it meets an exception; which one that may be follows
from its reason. That its conditions are met is for a person to say.
"""

from collections.abc import Mapping

PRIVACY = "privacy (171.202)"
SECURITY = "security (171.203)"
HARM = "preventing harm (171.201)"
INFEASIBLE = "infeasibility (171.204)"
PERFORMANCE = "health IT performance (171.205)"
MANNER = "manner (171.301)"
LICENSING = "licensing (171.303)"
NONE = "no request for health information that could be answered"
UNCLASSIFIED = "unclassified: look at it"

ANSWER_WITHIN_BUSINESS_DAYS = 10  # 171.204(b): to say in writing why it is not feasible

# By reason code of an audit event; issue codes of errors.py are among them.
CLASSES: Mapping[str, str] = {
    **dict.fromkeys(
        ("policy", "scope", "charter", "interaction", "search-guard", "minimise", "consent",
         "labels", "label", "other-patient", "no-patient", "patient-budget", "guard", "erased",
         "purpose", "relationship", "part-2", "forbid", "forbidden", "role", "no-role", "cursor",
         "visibility", "epoch"),
        PRIVACY,
    ),
    **dict.fromkeys(
        ("login", "assertion", "replay", "wrong", "locked", "mfa", "removed", "sealed", "expired",
         "revoked", "audience", "contract", "vendor", "origin", "egress", "state", "mix-up",
         "browser", "launch", "code", "no-id-token", "no-assertion", "grant-type", "unknown-ehr",
         "name", "name-taken", "signature", "certificate", "client"),
        SECURITY,
    ),
    **dict.fromkeys(("transient", "throttled", "timeout", "exception", "incomplete"), PERFORMANCE),
    **dict.fromkeys(("halt", "halted", "wrong-patient"), HARM),
    **dict.fromkeys(("read-only", "not-supported"), MANNER),
    **dict.fromkeys(("processing", "conflict", "earlier-attempt"), INFEASIBLE),
    **dict.fromkeys(("licence",), LICENSING),
    **dict.fromkeys(
        ("invalid", "not-found", "too-long", "too-costly", "business-rule", "structure",
         "required", "value"),
        NONE,
    ),
}  # fmt: skip


def exception_class(reason: str | None) -> str:
    """The exception that a refusal for this reason may meet."""
    return CLASSES.get(reason or "", UNCLASSIFIED)
