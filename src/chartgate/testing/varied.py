"""A feed that is stable, but as varied as real ones: for tests and benchmarks of drift."""

import random
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

from chartgate.testing.messages import message

NAMES = ("Adair", "Bo", "Castellanos-Rey", "Dunn", "Eze", "Gomez", "Häußler", "Ito", "Kowalczyk")
STREETS = ("1 Elm St", "22 Oak Avenue Apt 7", "PO Box 9", "1100 Long Winding Country Road")
TESTS = (
    ("718-7", "Hemoglobin", "g/dL"),
    ("2345-7", "Glucose", "mg/dL"),
    ("2160-0", "Creatinine", "mg/dL"),
)
START = datetime(2026, 1, 5, 8)  # noqa: DTZ001  the sender's local time

Lines = list[list[str]]  # segments, as fields
Change = Callable[[Lines], None]


def admissions(dice: random.Random, number: int) -> Lines:
    """ADT^A08: now and then without telephone, doctor or next of kin, some married, few died."""
    stamp = (START + timedelta(minutes=number)).strftime("%Y%m%d%H%M%S")
    family, given = dice.choice(NAMES), dice.choice(NAMES)
    born = f"{dice.randint(1930, 2020)}{dice.randint(1, 12):02}{dice.randint(1, 28):02}"
    phone = f"555-{dice.randint(0, 9999):04}" if dice.random() < 0.8 else ""
    pid = ["PID", "1", "", f"{dice.randint(100000, 999999)}^^^NORTH^MR", "", f"{family}^{given}"]
    pid += ["", born, dice.choice("MF"), "", "", f"{dice.choice(STREETS)}^^Town^TS^00000", ""]
    pid += [phone, "", "", dice.choice(["M", "S", "S", "D", ""])]
    pid += [""] * 12 + ([stamp, "Y"] if dice.random() < 0.01 else [])
    visit = ["PV1", "1", dice.choice("OIE"), f"W{dice.randint(1, 9)}^{dice.randint(1, 30)}^1^NORTH"]
    visit += ["", "", "", f"{dice.randint(10, 99)}^Doctor^Dora" if dice.random() < 0.9 else ""]
    visit += [""] * 11 + [f"V{number:07}"]
    lines = [_header("ADT1", "ADT^A08^ADT_A01", stamp, number), ["EVN", "A08", stamp], pid, visit]
    if dice.random() < 0.5:
        lines.append(["NK1", "1", f"{family}^{dice.choice(NAMES)}", dice.choice(["SPO", "PAR"])])
    return lines


def results(dice: random.Random, number: int) -> Lines:
    """ORU^R01 with one to four results, now and then with a note."""
    stamp = (START + timedelta(minutes=number)).strftime("%Y%m%d%H%M%S")
    pid = ["PID", "1", "", f"{dice.randint(100000, 999999)}^^^NORTH^MR", "", dice.choice(NAMES)]
    order = ["OBR", "1", f"{number:07}^LAB", f"{number:07}^LAB", "24323-8^Panel^LN", "", "", stamp]
    lines = [_header("LAB", "ORU^R01^ORU_R01", stamp, number), pid, order]
    for row in range(1, dice.randint(2, 5)):
        code, name, unit = dice.choice(TESTS)
        value = f"{dice.uniform(0.5, 150):.1f}" if dice.random() < 0.8 else str(dice.randint(1, 99))
        flag = dice.choice(["N", "N", "H", "L", ""])
        found = ["OBX", str(row), "NM", f"{code}^{name}^LN", "", value, unit, "1-2", flag]
        lines.append([*found, "", "", dice.choice("FFP"), "", "", stamp])
    if dice.random() < 0.1:
        lines.append(["NTE", "1", "L", " ".join(dice.choices(NAMES, k=dice.randint(1, 30)))])
    return lines


def feed(
    kind: Callable[[random.Random, int], Lines],
    *,
    count: int,
    seed: int = 0,
    first: int = 1,
    change: Change | None = None,
    share: float = 1.0,
) -> Iterator[bytes]:
    """`count` messages; `change` is done to a `share` of them. Same arguments, same bytes."""
    dice = random.Random(f"{seed}/{first}")
    for number in range(first, first + count):
        lines = kind(dice, number)
        if change and dice.random() < share:
            change(lines)
        yield message(*("|".join(fields).rstrip("|") for fields in lines))


def segment(lines: Lines, name: str) -> list[str]:
    """The first segment of that name, to be changed, with room for 60 fields."""
    found = next(fields for fields in lines if fields[0] == name)
    found += [""] * (61 - len(found))
    return found


def _header(application: str, message_type: str, stamp: str, number: int) -> list[str]:
    start = ["MSH", "^~\\&", application, "NORTH", "CHARTGATE", "NORTH", stamp, "", message_type]
    return [*start, f"{application}{number:08}", "P", "2.5.1"]
