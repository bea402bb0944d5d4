"""Text of a message as FHIR Attachments: the body of a document, and remarks beside it."""

import base64
from typing import Any

from chartgate.formats.hl7v2 import Composite
from chartgate.transform.hl7v2.datatypes import Codes, Context, code_of, valued

PLAIN = "text/plain"  # formatting commands are undone when a value is read, so none is left
REMARK = "Remark"  # the title of a remark, which is no part of the document's own text


def text_attachment(text: str, *, title: str = "") -> dict[str, Any]:
    """Plain text as an Attachment."""
    found: dict[str, Any] = {"contentType": PLAIN, "data": base64.b64encode(text.encode()).decode()}
    return {**found, "title": title} if title else found


def remark(cx: Composite, context: Context, codes: Codes) -> dict[str, Any] | None:
    """FT of an NTE."""
    text = valued(cx)
    return text_attachment(text, title=REMARK) if text else None


def coded_remark(cx: Composite, context: Context, codes: Codes) -> dict[str, Any] | None:
    """CWE of an NTE: its text, then code, name and system."""
    coded = " - ".join(part for part in (code_of(cx), valued(cx, 2), valued(cx, 3)) if part)
    text = "\n".join(part for part in (valued(cx, 9), coded) if part)
    return text_attachment(text, title=REMARK) if text else None
