"""Seeds on which the simulator found something, and what it was. All of it is mended.

Found by a scene alone (test_found.py): a commit or a rollback of which each request was held up was
called not-applied, and was applied when the first of them arrived after staff had been told.

A seed plays out differently once flows or the play change; test_found.py holds each fault as a
scene of its own besides.
"""

from collections.abc import Mapping

FOUND: Mapping[int, str] = {
    5: "a PATCH that somebody on the way sent twice was applied by the first and refused by the "
    "second, and was called not-applied (flows/commits.py, rollbacks.py: doubtful)",
    20: "a hospital that shows its writes late did not show a new resource yet, and that was called "
    "a mismatch (flows/sending.py: read_back_differences)",
    30: "two proposals made the same change, one of them got through, and both read as verified; "
    "what creates nothing bears no mark, so this is no fault but is known (the checker's "
    "_reads_as_sent)",
    40: "a create or a transaction that was sent twice was refused or matched by the second, and "
    "where writes are seen late it was called not-applied (adapters/fhir_r4/writer.py)",
    619: "the play set its steady clock back, and one connection waited for ever (world.py: steady_s)",
    1994: "a request came late, after its proposal had gone back to be tried again; somebody edited "
    "the chart so that all guards held once more, and it was written twice (flows/commits.py: "
    "_is_there); likewise 3088, 3198, 3266, 3679, 4253 and 4643",
}
