"""Which lines must hold before a write may go out (invariant 3: none without a precondition)."""

from chartgate.adapters.fhir_r4.dialect import Habits
from chartgate.model.write import Write

# Any one of the sets will do; the sentence is for the operator.
ALONE = {
    "create": ({"etag_present", "if_none_exist", "marker_survives"},),
    "update": ({"etag_present", "if_match_on_put"},),
    "patch": (
        {"etag_present", "if_match_on_patch"},
        {"etag_present", "patch_test"},
        {"etag_present", "if_match_on_put"},
    ),
    "delete": ({"etag_present", "delete", "if_match_on_delete"},),
}
TOGETHER = {
    "create": (
        {"etag_present", "transaction_atomic", "if_none_exist_in_transaction", "marker_survives"},
    ),
    "update": ({"etag_present", "transaction_atomic", "if_match_in_transaction"},),
    "patch": (
        {"etag_present", "transaction_atomic", "patch_in_transaction"},
        {"etag_present", "transaction_atomic", "if_match_in_transaction"},
    ),
    "delete": ({"etag_present", "transaction_atomic", "delete", "delete_in_transaction"},),
}


def lines_missing(write: Write, habits: Habits) -> tuple[str, ...]:
    """Lines that no probe has shown and that this write needs; empty: it may go out."""
    table = ALONE if len(write.changes) == 1 else TOGETHER
    missing: set[str] = set()
    for change in write.changes:
        ways = [
            {line for line in way if not habits.holds(line)} for way in table[change.interaction]
        ]
        missing |= min(ways, key=len)
    return tuple(sorted(missing))
