"""Lists: documents, names, accounts, the trial balance, the last requests."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

from sandbox.qbo.books.ledger import books_of
from sandbox.qbo.books.reports.catalogue import report
from sandbox.qbo.books.reports.report import txn_name
from sandbox.qbo.company.clock import pacific
from sandbox.qbo.company.store import Company, Doc
from sandbox.qbo.control.world import Record, World
from sandbox.qbo.door.pages.frame import PAGE, amount_text, card, document_link, link_to, party_of, state_of, table_of
from sandbox.qbo.door.pages.markup import Html, tag


def _matches(doc: Doc, needle: str) -> bool:
    fields = (
        doc.get("DocNumber"),
        doc.get("DisplayName"),
        doc.get("PrivateNote"),
        doc["Id"],
        (doc.get("CustomerRef") or doc.get("VendorRef") or {}).get("name"),
    )
    return any(needle in str(field).casefold() for field in fields if field)


def newest(company: Company, kinds: Sequence[str]) -> Iterator[tuple[str, Doc]]:
    """Documents of some kinds, newest first. One kind needs no sorting: the store keeps the order of creation."""
    if len(kinds) == 1:
        table = company.entities.get(kinds[0], {})
        yield from ((kinds[0], doc) for doc in reversed(table.values()))
        return
    every = [(kind, doc) for kind in kinds for doc in company.rows(kind)]
    yield from sorted(every, key=lambda pair: (pair[1]["MetaData"]["CreateTime"], int(pair[1]["Id"])), reverse=True)


def listing(company: Company, view: str, title: str, kinds: Sequence[str], params: dict[str, str]) -> Html:
    needle = params.get("q", "").strip()
    page = int(params["page"]) if params.get("page", "").isdigit() else 0
    found = newest(company, kinds)
    if needle:
        found = ((kind, doc) for kind, doc in found if _matches(doc, needle.casefold()))
    shown = list(islice(found, page * PAGE, page * PAGE + PAGE + 1))
    more = len(shown) > PAGE
    names = kinds[0] in {"Customer", "Vendor"}
    table = name_table(company, shown[:PAGE]) if names else txn_table(company, shown[:PAGE])
    search = tag(
        "form",
        tag("input", type_="hidden", name_="realm", value=company.realm_id),
        tag("input", type_="hidden", name_="view", value=view),
        tag("input", type_="search", name_="q", value=needle, placeholder="Number, name or memo", aria_label="Search", size=26),
        tag("button", "Search"),
        cls="line search",
        action="/",
    )
    pager = []
    if page:
        pager.append(tag("a", "Newer", href=link_to("/", realm=company.realm_id, view=view, q=needle, page=page - 1)))
    if more:
        pager.append(tag("a", "Older", href=link_to("/", realm=company.realm_id, view=view, q=needle, page=page + 1)))
    total = sum(len(company.entities.get(kind, {})) for kind in kinds)
    return card(f"{title} ({total:,})", search, table, tag("div", pager, cls="pager") if pager else "")


def name_table(company: Company, rows: Sequence[tuple[str, Doc]]) -> Html:
    heads = (("Name", "wrap"), ("E-mail", "wrap"), ("Status", ""), ("Open balance", "num"))
    body = []
    for kind, doc in rows:
        state = "" if doc.get("Active", True) else tag("span", "Inactive", cls="tag")
        email = (doc.get("PrimaryEmailAddr") or {}).get("Address", "")
        body.append((document_link(company, kind, doc), email, state, amount_text(company.present(kind, doc)["Balance"])))
    return table_of(heads, body, "Nobody here.")


def txn_table(company: Company, rows: Sequence[tuple[str, Doc]]) -> Html:
    heads = (
        ("Date", "day"),
        ("Type", "nowrap"),
        ("Number", "wrap"),
        ("Name", "wrap"),
        ("Due", "day"),
        ("Status", ""),
        ("Total", "num"),
        ("Open", "num"),
    )
    body = []
    for kind, doc in rows:
        total = doc.get("TotalAmt", doc.get("Amount"))
        left = amount_text(doc["Balance"]) if kind in {"Invoice", "Bill"} else ""
        number = document_link(company, kind, doc)
        cells = (
            doc.get("TxnDate"),
            txn_name(kind, doc),
            number,
            party_of(company, doc),
            doc.get("DueDate", ""),
            state_of(kind, doc),
        )
        body.append((*cells, amount_text(total), left))
    return table_of(heads, body, "No documents.")


def accounts_card(company: Company) -> Html:
    books = books_of(company)
    body = []
    for doc in sorted(company.rows("Account"), key=lambda d: (d.get("Classification", ""), d.get("AccountType", ""), d["Name"])):
        posted = books.natural(doc["Id"], books.balance.get(doc["Id"], 0))
        body.append(
            (document_link(company, "Account", doc), doc.get("AccountType"), doc.get("AccountSubType", ""), amount_text(posted))
        )
    heads = (("Account", "wrap"), ("Type", ""), ("Detail type", "wrap"), ("Posted", "num"))
    return card("Chart of accounts", table_of(heads, body, "No accounts."))


def trial_card(company: Company) -> Html:
    rows = report(company, "TrialBalance", {"date_macro": "This Fiscal Year", "accounting_method": "Accrual"})["Rows"]["Row"]
    body = []
    for row in rows[:-1]:
        name, debit, credit = row["ColData"]
        link = document_link(company, "Account", {"Id": name["id"]}, name["value"])
        body.append((link, *(amount_text(c["value"]) if c["value"] else "" for c in (debit, credit))))
    total = [amount_text(c["value"]) for c in rows[-1]["Summary"]["ColData"][1:]]
    heads = (("Account", "wrap"), ("Debit", "num"), ("Credit", "num"))
    return card("Trial balance, this fiscal year, accrual", table_of(heads, body, "Nothing is posted yet.", ("Total", *total)))


def requests_table(world: World, company: Company, count: int) -> Html:
    mine: Iterator[Record] = (entry for entry in reversed(world.log) if entry.realm in {"", company.realm_id})
    body = []
    for entry in islice(mine, count):
        status = tag("span", entry.status or "none", cls="tag good" if 200 <= entry.status < 300 else "tag bad")
        remark = ", ".join([*entry.codes, *entry.faults, *(["replayed"] if entry.replayed else [])])
        body.append(
            (
                pacific(entry.time)[11:19],
                entry.method,
                entry.path.partition("?")[0],
                status,
                remark,
                f"{entry.seconds * 1000:.1f} ms",
            )
        )
    heads = (("Time", "day"), ("Method", ""), ("Path", "wrap"), ("Status", ""), ("Remarks", "wrap"), ("Took", "num"))
    return table_of(heads, body, "No requests yet.")
