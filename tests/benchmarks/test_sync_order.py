"""The trace's analysis must be able to fail: an answer before the sync is found."""

from benchmarks.sync_order import analyse

STORE = '101 sendto(9, "B\\0\\0P1 MSA|AA|PROOF1\\r interaction 7f-1", 40, 0, NULL, 0) = 40'
SYNC = "202 fdatasync(12) = 0"
RESUMED = ["202 fdatasync(12 <unfinished ...>", "202 <... fdatasync resumed>) = 0"]
ACK = '101 sendto(7, "\\vMSH|^~\\\\&|..\\rMSA|AA|PROOF1\\r\\34\\r", 30, 0, NULL, 0) = 30'
HTTP = '103 writev(8, [{iov_base="HTTP/1.1 200 OK\\r\\nchartgate-interaction: 7f-1", iov_len=9}], 1) = 9'


def test_stored_synced_answered_is_in_order() -> None:
    assert analyse([STORE, SYNC, ACK], ["PROOF1"])[0].in_order
    assert analyse([STORE, *RESUMED, ACK], ["PROOF1"])[0].in_order
    assert analyse([STORE, SYNC, HTTP], ["7f-1"])[0].in_order


def test_an_answer_before_the_sync_is_found() -> None:
    assert not analyse([STORE, ACK, SYNC], ["PROOF1"])[0].in_order
    assert not analyse([SYNC, STORE, ACK], ["PROOF1"])[0].in_order
    assert not analyse([STORE, RESUMED[0], ACK, RESUMED[1]], ["PROOF1"])[0].in_order


def test_a_failed_sync_does_not_count() -> None:
    assert not analyse([STORE, "202 fdatasync(12) = -1 EIO", ACK], ["PROOF1"])[0].in_order


def test_an_answer_that_is_missing_is_found() -> None:
    assert not analyse([STORE, SYNC], ["PROOF1"])[0].in_order
