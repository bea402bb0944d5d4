"""What to do where a line does not hold: one sentence each, for who runs the connection."""

from collections.abc import Mapping

HAND_OVER = "Ask its vendor, and let staff do this work by hand until it is mended"
VERSIONS = "Have versioning with If-Match switched on for these resource types there"
CREATES = "Have conditional create (If-None-Exist) switched on there, or let staff create by hand"
TOGETHER = "Propose these changes one at a time, or have transactions switched on there"
REMEDIES: Mapping[str, str] = {
    "create": "Give our client the right to create there, or name in probe_file what it may create",
    "etag_present": "Have versioning switched on there, so that answers carry an ETag",
    "stored_as_sent": "Find out there what changes it on save; if that is as it should be, name the"
    " paths in changes_on_save of this connection",
    "unmodified_is_true": "Look for a cache between us and it, and take it out of the way",
    "reads_catch_up": "Connect to its primary instead of a replica, or have the replica mended",
    "marker_survives": "Have identifiers of other systems kept and searchable there, or choose a"
    ' dialect with marker = "tag"',
    "if_none_exist": CREATES,
    "if_none_exist_race": CREATES,
    "if_match_on_put": VERSIONS,
    "if_match_on_patch": VERSIONS,
    "patch_test": VERSIONS,
    "if_match_on_delete": VERSIONS,
    "cancel": "Find out which status cancels there, and name it under [stand_ins] of its dialect",
    "transaction_atomic": TOGETHER,
    "if_match_in_transaction": TOGETHER,
    "if_none_exist_in_transaction": TOGETHER,
    "patch_in_transaction": TOGETHER,
    "delete_in_transaction": TOGETHER,
}


def remedy(line: str) -> str:
    """What to do about a line that does not hold, without a full stop."""
    return REMEDIES.get(line, HAND_OVER)
