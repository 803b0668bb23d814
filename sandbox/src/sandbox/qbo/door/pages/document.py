"""The page of one document: head, links, lines, postings, forms."""

from __future__ import annotations

from itertools import islice

from sandbox.qbo.books.amounts import money
from sandbox.qbo.books.ledger import books_of
from sandbox.qbo.books.reports.report import txn_name
from sandbox.qbo.company.store import TXN_KINDS, Company, Doc
from sandbox.qbo.control.world import World
from sandbox.qbo.door.pages.forms import forms_card
from sandbox.qbo.door.pages.frame import (
    PAGE,
    VIEW_OF,
    Answer,
    amount_text,
    card,
    document_link,
    framed,
    party_of,
    state_of,
    table_of,
)
from sandbox.qbo.door.pages.listings import newest, txn_table
from sandbox.qbo.door.pages.markup import Html, join, tag


def document_page(
    world: World,
    company: Company,
    kind: str,
    doc_id: str,
    params: dict[str, str],
    error: str = "",
    status: int = 200,
    typed: dict[str, str] | None = None,
) -> Answer:
    doc = company.get(kind, doc_id)
    view = VIEW_OF.get(kind, "overview")
    if doc is None:
        note = params.get("note") or f"There is no {kind or 'document'} {doc_id} in this company."
        return framed(world, company, view, "Gone", card("", tag("p", note)), 200 if params.get("note") else 404)
    doc = company.present(kind, doc)
    named = doc.get("DisplayName") or doc.get("Name") or doc.get("DocNumber") or f"#{doc['Id']}"
    label = f"{txn_name(kind, doc)} {named}"
    parts: list[Html] = []
    if error:
        parts.append(card("", tag("p", error), cls="card note bad"))
    elif params.get("note"):
        parts.append(card("", tag("p", params["note"]), cls="card note"))
    left = join(_head_card(company, kind, doc, label), _links_card(company, doc))
    parts.append(tag("div", tag("div", left, cls="stacked"), forms_card(company, kind, doc, typed or {}), cls="two"))
    if kind in TXN_KINDS:
        parts.append(_lines_card(doc))
        parts.append(_postings_card(company, kind, doc))
    elif kind in {"Customer", "Vendor"}:
        field = f"{kind}Ref"
        mine = ((k, d) for k, d in newest(company, TXN_KINDS) if (d.get(field) or {}).get("value") == doc_id)
        parts.append(card("Documents", txn_table(company, list(islice(mine, PAGE)))))
    elif kind == "Account":
        parts.append(_register(company, doc))
    return framed(world, company, view, label, join(parts), status)


def _head_card(company: Company, kind: str, doc: Doc, label: str) -> Html:
    facts: list[tuple[str, object]] = [("Name", party_of(company, doc)), ("Status", state_of(kind, doc))]
    for field, title in (("TxnDate", "Date"), ("DueDate", "Due"), ("PrivateNote", "Memo"), ("AccountType", "Type")):
        facts.append((title, doc.get(field)))
    for field, title in (
        ("TotalAmt", "Total"),
        ("Balance", "Open"),
        ("CurrentBalance", "Balance"),
        ("UnappliedAmt", "Unapplied"),
    ):
        if field in doc:
            facts.append((title, amount_text(doc[field])))
    facts.append(("Id and version", f"{doc['Id']} / {doc['SyncToken']}"))
    facts.append(("Changed", doc["MetaData"].get("LastUpdatedTime")))
    return card(label, tag("dl", [join(tag("dt", title), tag("dd", value)) for title, value in facts if value not in (None, "")]))


def _links_card(company: Company, doc: Doc) -> Html:
    rows = []
    for link in [
        *(doc.get("LinkedTxn") or ()),
        *(entry for line in doc.get("Line") or () for entry in line.get("LinkedTxn") or ()),
    ]:
        kind = {"BillPaymentCheck": "BillPayment"}.get(str(link.get("TxnType")), str(link.get("TxnType")))
        other = company.get(kind, str(link.get("TxnId")))
        if other is not None:
            rows.append(
                (
                    txn_name(kind, other),
                    document_link(company, kind, other),
                    other.get("TxnDate", ""),
                    amount_text(other.get("TotalAmt")),
                )
            )
    if not rows:
        return Html("")
    return card("Linked", table_of((("Type", ""), ("Number", "wrap"), ("Date", "day"), ("Total", "num")), rows, ""))


def _lines_card(doc: Doc) -> Html:
    rows = []
    for line in doc.get("Line") or ():
        detail = line.get(line.get("DetailType") or "") or {}
        what = next(
            (
                detail[k].get("name") or detail[k].get("value")
                for k in ("ItemRef", "AccountRef", "DiscountAccountRef")
                if detail.get(k)
            ),
            "",
        )
        kind = str(line.get("DetailType") or "").replace("LineDetail", "")
        price = detail.get("UnitPrice")
        shown = "" if price is None else amount_text(price) if price == round(price, 2) else f"{price.normalize():,f}"
        cells = (what or kind, line.get("Description", ""), detail.get("Qty", ""), shown)
        rows.append((*cells, amount_text(line["Amount"]) if "Amount" in line else ""))
    heads = (("Item or account", "wrap"), ("Description", "wrap"), ("Qty", "num"), ("Price", "num"), ("Amount", "num"))
    return card("Lines", table_of(heads, rows, "No lines."))


def _postings_card(company: Company, kind: str, doc: Doc) -> Html:
    rows = []
    sums = [0, 0]
    for account_id, cents, _name, _line in books_of(company).journal.get(kind, {}).get(doc["Id"], ()):
        account = company.get("Account", account_id) or {"Id": account_id}
        sums[cents < 0] += abs(cents)
        sides = (amount_text(money(cents)), "") if cents > 0 else ("", amount_text(money(-cents)))
        rows.append((document_link(company, "Account", account), *sides))
    foot = ("Total", *(amount_text(money(value)) for value in sums)) if rows else ()
    return card(
        "Postings",
        table_of((("Account", "wrap"), ("Debit", "num"), ("Credit", "num")), rows, "This document posts nothing.", foot),
    )


def _register(company: Company, account: Doc) -> Html:
    rows: list[tuple[str, tuple[object, ...]]] = []
    for kind, table in books_of(company).journal.items():
        for doc_id, postings in table.items():
            doc = company.get(kind, doc_id)
            cents = sum(p[1] for p in postings if p[0] == account["Id"])
            if doc is None or not any(p[0] == account["Id"] for p in postings):
                continue
            sides = (amount_text(money(cents)), "") if cents > 0 else ("", amount_text(money(-cents)))
            day = str(doc.get("TxnDate") or "")
            rows.append((day, (day, txn_name(kind, doc), document_link(company, kind, doc), party_of(company, doc), *sides)))
    newest = [cells for _, cells in sorted(rows, key=lambda pair: pair[0], reverse=True)[: 2 * PAGE]]
    heads = (("Date", "day"), ("Type", "nowrap"), ("Number", "wrap"), ("Name", "wrap"), ("Debit", "num"), ("Credit", "num"))
    return card(f"Newest of {len(rows):,} postings", table_of(heads, newest, "Nothing is posted to this account."))
