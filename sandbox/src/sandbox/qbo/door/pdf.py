"""A small hand-made PDF of a document: head, lines, total, on as many pages as it takes. No fonts inside, Latin-1 text only."""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal

from sandbox.qbo.company.store import Company, Doc

WIDTH, HEIGHT, LEFT, RIGHT = 595, 842, 50, 545
TOP, BOTTOM, LEADING = 780, 60, 15
DIGIT = 556  # width of a digit in Helvetica, thousandths of the size; comma, point and blank are half as wide

Text = tuple[int, int, int, str]  # x (negative: right edge), y, size, text


def render(company: Company, kind: str, doc: Doc) -> bytes:
    """The PDF of one document."""
    pages: list[list[Text]] = [[]]
    y = TOP
    for left, right, size in _rows(company, kind, doc):
        if y < BOTTOM:
            pages.append([])
            y = TOP
        if left:
            pages[-1].append((LEFT, y, size, left))
        if right:
            pages[-1].append((-RIGHT, y, size, right))
        y -= LEADING if size < 14 else 2 * LEADING
    return _file([_stream(page) for page in pages])


def _rows(company: Company, kind: str, doc: Doc) -> Iterator[tuple[str, str, int]]:
    """(left, right, size) of each row."""
    party = (doc.get("CustomerRef") or doc.get("VendorRef") or {}).get("name", "")
    yield company.name, "", 11
    yield f"{kind} {doc.get('DocNumber') or doc['Id']}", "", 18
    yield f"For: {party}", f"Date: {doc.get('TxnDate', '')}", 10
    if doc.get("DueDate"):
        yield "", f"Due: {doc['DueDate']}", 10
    yield "", "", 10
    for line in doc.get("Line") or ():
        detail = line.get(line.get("DetailType") or "") or {}
        item = (detail.get("ItemRef") or detail.get("AccountRef") or {}).get("name")
        if line.get("DetailType") == "SubTotalLineDetail":
            item = "Subtotal"
        elif line.get("DetailType") == "DiscountLineDetail":
            item = "Discount"
        words = ", ".join(str(part) for part in (item, line.get("Description")) if part)
        sign = "-" if item == "Discount" else ""
        yield words[:80] or "Line", sign + _money(line.get("Amount")), 10
    tax = (doc.get("TxnTaxDetail") or {}).get("TotalTax")
    if tax:
        yield "Tax", _money(tax), 10
    yield "", "", 10
    yield "Total", _money(doc.get("TotalAmt")), 12
    if "Balance" in doc and kind == "Invoice":
        yield "Balance due", _money(doc["Balance"]), 12


def _money(value: Decimal | None) -> str:
    return "" if value is None else f"{value:,.2f}"


def _stream(texts: list[Text]) -> bytes:
    out = []
    for x, y, size, words in texts:
        at = x if x >= 0 else -x - _width(words, size)
        plain = re.sub(r"([\\()])", r"\\\1", re.sub(r"[\x00-\x1f\x7f]", " ", words))
        out.append(f"BT /F1 {size} Tf {at:.1f} {y} Td ({plain}) Tj ET")
    return "\n".join(out).encode("latin-1", "replace")


def _width(words: str, size: int) -> float:
    return sum(DIGIT if char not in ",. :" else DIGIT / 2 for char in words) * size / 1000


def _file(streams: list[bytes]) -> bytes:
    """Objects 1 catalog, 2 page tree, 3 font, then a page and its content for each stream; cross-reference table at the end."""
    kids = b" ".join(b"%d 0 R" % (4 + 2 * index) for index in range(len(streams)))
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [%s] /Count %d >>" % (kids, len(streams)),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
    ]
    for index, stream in enumerate(streams):
        box = b"/MediaBox [0 0 %d %d]" % (WIDTH, HEIGHT)
        objects.append(
            b"<< /Type /Page /Parent 2 0 R %s /Contents %d 0 R /Resources << /Font << /F1 3 0 R >> >> >>" % (box, 5 + 2 * index)
        )
        objects.append(b"<< /Length %d >>\nstream\n%s\nendstream" % (len(stream), stream))
    out, offsets = bytearray(b"%PDF-1.4\n"), []
    for number, body in enumerate(objects, 1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    start = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    out += b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    out += b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, start)
    return bytes(out)
