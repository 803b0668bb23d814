"""The PDF of a document: its cross-reference table is right and every line is on it, however many pages it takes."""

from __future__ import annotations

import re
from decimal import Decimal

import pytest
from ledger_of import D, Ledger, sold
from sandbox.qbo.door.pdf import render


@pytest.mark.parametrize(("lines", "pages"), [(1, 1), (100, 3)])
def test_a_pdf_is_whole(lines: int, pages: int) -> None:
    ledger = Ledger()
    body = [{**sold("1", "10.00"), "Description": f"visit {n} (a\\b)"} for n in range(lines)]
    total = Decimal(10 * lines)
    customer = {"value": "1", "name": "Zoë (O'Brien) 你"}
    doc = ledger.put(
        "Invoice", CustomerRef=customer, DocNumber="Q-1", TxnDate="2026-01-01", Line=body, TotalAmt=total, Balance=D(0)
    )
    data = render(ledger.company, "Invoice", doc)

    assert data.startswith(b"%PDF-1.4\n")
    assert data.endswith(b"%%EOF\n")
    start = int(re.findall(rb"startxref\n(\d+)\n", data)[0])
    assert data[start : start + 5] == b"xref\n"
    offsets = [int(match) for match in re.findall(rb"(\d{10}) 00000 n \n", data)]
    assert [data[at:].split(b"\n", 1)[0] for at in offsets] == [b"%d 0 obj" % n for n in range(1, len(offsets) + 1)]
    for length, stream in re.findall(rb"/Length (\d+) >>\nstream\n(.*?)\nendstream", data, re.S):
        assert int(length) == len(stream)
    assert b"/Count %d " % pages in data
    assert all(b"visit %d \\(a\\\\b\\)" % n in data for n in range(lines))
    assert b"(Invoice Q-1)" in data
    assert "(For: Zoë \\(O'Brien\\) ?)".encode("latin-1") in data
    assert f"({total:,.2f})".encode() in data
