"""Attachments, PDF and mail, pay link, company."""

from __future__ import annotations

from typing import Any

import httpx

from ..acts import Act, file, get, metadata, multipart, post
from ..bodies import (
    bill,
    invoice,
    start,
)
from ..conftest import Books
from .writing import (
    Rule,
    gives,
    made,
    no,
    ok,
    sent,
)


def attached(books: Books, *, upload: bool) -> str:
    """SyncToken of an invoice once a file was hung on it."""
    doc = books.make("Invoice", invoice())
    if upload:
        reference = [{"EntityRef": {"type": "Invoice", "value": doc["Id"]}}]
        ok(multipart(metadata(FileName="a.csv", AttachableRef=reference), file()))(books)
    token: str = books.get("Invoice", doc["Id"])["SyncToken"]
    return token


def downloaded(books: Books, spoil: str = "") -> int:
    doc = multipart(file())(books).json()["AttachableResponse"][0]["Attachable"]
    link = books.call("GET", f"download/{doc['Id']}").text
    return httpx.get(link + spoil, trust_env=False).status_code


def printed(kind: str, body: dict[str, Any]) -> Act:
    return lambda books: books.call("GET", f"{kind.lower()}/{books.make(kind, body)['Id']}/pdf")


def pay_link(books: Books, *, online: bool, include: str = "invoiceLink") -> bool:
    books.set(online_payments=online)
    doc = books.make("Invoice", invoice(BillEmail={"Address": "a@example.com"}))
    answer = books.call("GET", f"invoice/{doc['Id']}", params={"include": include})
    return "InvoiceLink" in answer.json()["Invoice"]


def sku(books: Books) -> str:
    pairs = books.query("select * from CompanyInfo")["CompanyInfo"][0]["NameValue"]
    return str(next(pair["Value"] for pair in pairs if pair["Name"] == "OfferingSku"))


RULES: tuple[Rule, ...] = (
    # files, mail, company
    Rule("attachments", "kinds of files", ok(multipart(file("a.pdf"))), no("6030", multipart(file("a.html")))),
    Rule(
        "attachments",
        "metadata is an Attachable",
        ok(multipart(metadata(Note="n"), file())),
        no("6040", multipart((metadata()[0], '"x"'), file())),
    ),
    Rule(
        "attachments",
        "a part has its length",
        ok(multipart(file(more="\r\nContent-Length: 3"))),
        no("6020", multipart(file(more="\r\nContent-Length: 4"))),
    ),
    Rule("attachments", "there is a part", ok(multipart(file())), no("6020", multipart())),
    Rule(
        "attachments",
        "move the SyncToken of what they hang on",
        gives("1", lambda b: attached(b, upload=True)),
        gives("0", lambda b: attached(b, upload=False)),
    ),
    Rule("attachments", "links are signed", gives(200, downloaded), gives(403, lambda b: downloaded(b, "x"))),
    Rule(
        "attachments",
        "a note without a file",
        ok(post("Attachable", {"Note": "n"})),
        no("2020", post("Attachable", {"Tag": "t"})),
    ),
    Rule("pdf and send", "kinds that are printed", ok(printed("Invoice", invoice())), no("500", printed("Bill", bill()))),
    Rule(
        "pdf and send",
        "kinds that are sent",
        ok(lambda b: sent(b, "Invoice", invoice(), sendTo="a@example.com")),
        no("500", lambda b: sent(b, "Bill", bill(), sendTo="a@example.com")),
    ),
    Rule(
        "pdf and send",
        "to an address",
        ok(lambda b: sent(b, "Invoice", invoice(BillEmail={"Address": "a@example.com"}))),
        no("6420", lambda b: sent(b, "Invoice", invoice())),
    ),
    Rule(
        "pdf and send",
        "to a good one",
        ok(lambda b: sent(b, "Invoice", invoice(), sendTo="a@example.com")),
        no("2210", lambda b: sent(b, "Invoice", invoice(), sendTo="nobody")),
    ),
    Rule(
        "pdf and send",
        "the status says so",
        gives("EmailSent", lambda b: sent(b, "Invoice", invoice(), sendTo="a@example.com").json()["Invoice"]["EmailStatus"]),
        gives("NotSet", made("Invoice", invoice(), lambda d: d["EmailStatus"])),
    ),
    Rule(
        "pay link",
        "with online payments",
        gives(True, lambda b: pay_link(b, online=True)),
        gives(False, lambda b: pay_link(b, online=False)),
    ),
    Rule(
        "pay link",
        "when asked for",
        gives(True, lambda b: pay_link(b, online=True)),
        gives(False, lambda b: pay_link(b, online=True, include="")),
    ),
    Rule(
        "company",
        "OfferingSku tells the plan",
        gives("QuickBooks Online Plus", sku),
        gives("QuickBooks Online Simple Start", lambda b: sku(Books(b.standin, plan="simple_start"))),
    ),
    Rule("company", "there is one", ok(get("companyinfo/1")), no("610", get("companyinfo/2"))),
    Rule(
        "company", "none is made", ok(post("Customer", start("Customer"))), no("2020", post("CompanyInfo", {"CompanyName": "x"}))
    ),
)
