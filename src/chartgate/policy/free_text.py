"""Which elements hold free text: prose of people, in which anything can stand.

A string is prose unless it is known to be structured, so that an element which nobody thought of is
cut rather than shown. What is prose, by the three rules of a charter: nothing (`keep`); prose, with
what a code is called still shown (`structured-only`); that, too (`cut`).
"""

from functools import cache

from chartgate.formats import r4
from chartgate.model.charter import TextRule

PROSE_TYPES = frozenset({"markdown", "xhtml", "base64Binary"})
# Data types whose strings are fields with a meaning of their own.
STRUCTURED_OWNERS = frozenset(
    {
        *("Address", "Age", "ContactPoint", "Count", "Distance", "Duration", "HumanName"),
        *("Identifier", "Meta", "Money", "Quantity", "Reference", "SampledData", "SubstanceAmount"),
    }
)
STRUCTURED_NAMES = frozenset(
    {
        *(
            "alias",
            "carrierHRF",
            "dependent",
            "deviceIdentifier",
            "distinctIdentifier",
            "doseNumber",
        ),
        *("groupLinkId", "id", "linkId", "lotNumber", "manufacturer", "modelNumber", "name"),
        *("partNumber", "preAuthRef", "sequence", "serialNumber", "series", "seriesDoses"),
        *("subscriberId", "unit", "version", "versionId"),
    }
)
DISPLAY = ("Coding", "display")
LINKS = frozenset({("Attachment", "url")})  # where the text itself can be had


@cache
def is_prose(owner: str, element: r4.Element, rule: TextRule) -> bool:
    """Whether the rule cuts this primitive of an owner (a type, or the path of a nested one)."""
    if rule == "keep":
        return False
    if element.type in PROSE_TYPES or (owner, element.base) in LINKS:
        return True
    if element.type != "string":
        return False
    if (owner, element.base) == DISPLAY:
        return rule == "cut"
    return owner not in STRUCTURED_OWNERS and element.base not in STRUCTURED_NAMES
