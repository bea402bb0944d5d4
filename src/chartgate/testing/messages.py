"""Synthetic HL7 v2 messages for tests and benchmarks: small, valid, about nobody."""

from collections.abc import Sequence


def message(*segments: str) -> bytes:
    """Segments as one message."""
    return "".join(f"{segment}\r" for segment in segments).encode()


def header(
    trigger: str = "ADT^A01", control_id: str = "1", *, processing_id: str = "P", charset: str = ""
) -> str:
    """MSH of a sender called ADT1 at NORTH."""
    start = f"MSH|^~\\&|ADT1|NORTH|CHARTGATE|NORTH|20240102030405||{trigger}|{control_id}"
    return f"{start}|{processing_id}|2.5" + (f"||||||{charset}" if charset else "")


def patient(mrn: str = "1001", family: str = "Example", given: str = "Ada") -> str:
    """PID with what most senders fill in."""
    return (
        f"PID|1||{mrn}^^^NORTH^MR||{family}^{given}||19800102|F|||1 Test Street^^Testville^TS^00000"
        "||555-0100"
    )


def visit(number: str = "V1", patient_class: str = "O") -> str:
    """PV1 with a place, an attending doctor, a visit number and the time of admission."""
    fields = [""] * 44
    fields[1], fields[2], fields[6] = patient_class, "WARD^1^2^NORTH", "77^Doctor^Dora"
    fields[18], fields[43] = f"{number}^^^NORTH^VN", "20240102030000"
    fields[0] = "1"
    return "PV1|" + "|".join(fields)


def adt(
    trigger: str = "A01", control_id: str = "1", *, mrn: str = "1001", more: Sequence[str] = ()
) -> bytes:
    """ADT of one patient with one visit."""
    segments = [header(f"ADT^{trigger}", control_id), f"EVN|{trigger}|20240102030405"]
    return message(*segments, patient(mrn), visit(f"V{mrn}"), *more)


def merge(control_id: str = "1", *, mrn: str = "1001", prior: str = "1002") -> bytes:
    """ADT A40: `prior` goes on as `mrn`."""
    segments = [header("ADT^A40^ADT_A39", control_id), "EVN|A40|20240102030405"]
    return message(*segments, patient(mrn), f"MRG|{prior}^^^NORTH^MR")


def siu(
    trigger: str = "S12",
    control_id: str = "1",
    *,
    mrn: str = "1001",
    appointment: str = "A1",
    status: str = "Booked",
) -> bytes:
    """SIU of one appointment, of half an hour, with one practitioner at one place."""
    timing = "^^^20240203100000^20240203103000"
    return message(
        header(f"SIU^{trigger}^SIU_S12", control_id),
        f"SCH|P{appointment}|{appointment}|||||CHECKUP|Normal|30|min|{timing}{'|' * 14}{status}",
        patient(mrn),
        "RGS|1",
        "AIS|1||CHECK^Check-up^L",
        "AIL|1||ROOM7^^^NORTH",
        "AIP|1||77^Doctor^Dora",
    )
