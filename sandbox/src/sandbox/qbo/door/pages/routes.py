"""The pages at `/`: the books of every company, and forms to play the bookkeeper. Changes go through `World.person` only."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal, InvalidOperation
from importlib.resources import files
from itertools import islice
from typing import Any
from urllib.parse import urlencode

from sandbox.qbo.books.amounts import PAYABLE, RECEIVABLE, money
from sandbox.qbo.books.audit import audit
from sandbox.qbo.books.ledger import books_of
from sandbox.qbo.books.reports.catalogue import report
from sandbox.qbo.books.reports.report import txn_name
from sandbox.qbo.company.clock import pacific
from sandbox.qbo.company.store import TXN_KINDS, ZERO, Company, Doc
from sandbox.qbo.control.world import Record, World
from sandbox.qbo.door.pages.markup import Html, join, tag, text
from sandbox.qbo.rules.faults import Fault

Answer = tuple[int, str, bytes, dict[str, str]]

PAGE = 50
VIEWS: dict[str, tuple[str, tuple[str, ...]]] = {
    "overview": ("Overview", ()),
    "customers": ("Customers", ("Customer",)),
    "vendors": ("Vendors", ("Vendor",)),
    "invoices": ("Invoices", ("Invoice",)),
    "bills": ("Bills", ("Bill",)),
    "payments": ("Payments", ("Payment", "BillPayment")),
    "other": ("Other", tuple(k for k in TXN_KINDS if k not in {"Invoice", "Bill", "Payment", "BillPayment"})),
    "accounts": ("Accounts", ("Account",)),
    "trial": ("Trial balance", ()),
    "requests": ("Requests", ()),
}
VIEW_OF = {kind: view for view, (_, kinds) in VIEWS.items() for kind in kinds}
EDITABLE = frozenset(TXN_KINDS) - {"Deposit", "Transfer", "JournalEntry", "TimeActivity"}
PRICED_LINES = ("SalesItemLineDetail", "AccountBasedExpenseLineDetail", "ItemBasedExpenseLineDetail")
POLICY = "default-src 'none'; style-src 'self'; script-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
STATIC = {"style.css": "text/css; charset=utf-8", "page.js": "text/javascript; charset=utf-8"}
BIG = 20_000  # from here on the audit runs only when somebody asks for it: it reads every document


class RefusedError(Exception):
    """What a person typed cannot be done; the message is for the person."""


def handle(world: World, method: str, path: str, params: dict[str, str], form: dict[str, str]) -> Answer:
    """One request for `/`, `/ui/...` or `/pay/{realm}/{Id}`: status, content type, body, headers."""
    if path.startswith("/ui/") and path[4:] in STATIC:
        name = path[4:]
        return 200, STATIC[name], files("sandbox.qbo.door.pages").joinpath("web", name).read_bytes(), {}
    realm = form.get("realm") or params.get("realm") or (path.split("/")[2] if path.startswith("/pay/") else world.first_realm)
    company = world.companies.get(realm)
    if company is None:
        return _page(404, "Not found", tag("p", f"There is no company {realm} here."))
    if method == "POST" and path == "/ui/act":
        return _act(world, company, form)
    if method not in {"GET", "HEAD"} and not path.startswith("/pay/"):
        return _page(405, "Not allowed", tag("p", "This page takes no such request."))
    if path == "/":
        return _books(world, company, params)
    if path == "/ui/doc":
        return _document(world, company, params.get("kind", ""), params.get("id", ""), params)
    if path.startswith("/pay/"):
        return _pay_page(world, company, path.rsplit("/", 1)[-1], method)
    return _page(404, "Not found", tag("p", "There is no such page."))


# -- the frame ---------------------------------------------------------------------------------------------------------


def _page(status: int, title: str, body: Html, head: Html | None = None) -> Answer:
    document = join(
        Html("<!doctype html>"),
        tag(
            "html",
            tag(
                "head",
                tag("meta", charset="utf-8"),
                tag("meta", name_="viewport", content="width=device-width, initial-scale=1"),
                tag("title", title),
                tag("link", rel="stylesheet", href="/ui/style.css"),
            ),
            tag("body", head or "", tag("main", body), tag("script", src="/ui/page.js")),
            lang="en",
        ),
    )
    return status, "text/html; charset=utf-8", document.encode(), dict(HEADERS)


def _link(path: str, **params: object) -> str:
    return f"{path}?{urlencode({k: v for k, v in params.items() if v})}"


def _frame(world: World, company: Company, view: str, title: str, body: Html, status: int = 200) -> Answer:
    options = [
        tag("option", f"{other.name} ({realm})", value=realm, selected=realm == company.realm_id)
        for realm, other in world.companies.items()
    ]
    switch = tag(
        "form",
        tag("input", type_="hidden", name_="view", value=view),
        tag("select", options, name_="realm", aria_label="Company", data_submit=True),
        tag("noscript", tag("button", "Show")),
        cls="line",
        action="/",
    )
    tabs = [
        tag("a", label, href=_link("/", realm=company.realm_id, view=key), cls="on" if key == view else None)
        for key, (label, _) in VIEWS.items()
    ]
    plan = company.plan.replace("_", " ")
    heading = tag("h1", company.name, tag("small", f"QuickBooks stand-in, {plan} plan, company date {company.today()}"))
    head = tag("header", tag("div", heading, switch, cls="bar"), tag("nav", tabs))
    return _page(status, f"{title} - {company.name}", body, head)


def _card(title: str, *body: object, cls: str = "card") -> Html:
    return tag("section", tag("h2", title) if title else "", *body, cls=cls)


def _amount(value: object) -> str:
    """1234.5 -> 1,234.50"""
    return f"{Decimal(str(value or 0)):,.2f}"


def _table(heads: Sequence[tuple[str, str]], rows: Iterable[Sequence[object]], empty: str, foot: Sequence[object] = ()) -> Html:
    """`heads` are (title, class); on a phone each row of a wide table becomes a block with the titles as labels."""
    body = [
        tag("tr", [tag("td", value, cls=cls or None, data_label=label) for (label, cls), value in zip(heads, row, strict=True)])
        for row in rows
    ]
    if not body:
        return tag("p", empty, cls="soft")
    head = tag("thead", tag("tr", [tag("th", label, cls="num" if "num" in cls else None) for label, cls in heads]))
    last = (
        tag(
            "tfoot", tag("tr", [tag("td", v, cls=c or None, data_label=label) for (label, c), v in zip(heads, foot, strict=True)])
        )
        if foot
        else ""
    )
    return tag("div", tag("table", head, tag("tbody", body), last, cls="stack" if len(heads) > 4 else None), cls="scroll")


# -- lists -------------------------------------------------------------------------------------------------------------


def _books(world: World, company: Company, params: dict[str, str]) -> Answer:
    view = params.get("view", "overview")
    if view not in VIEWS:
        view = "overview"
    title, kinds = VIEWS[view]
    if view == "overview":
        body = _overview(world, company, params)
    elif view == "trial":
        body = _trial(company)
    elif view == "requests":
        body = _card("Last requests", _requests(world, company, 200))
    elif view == "accounts":
        body = _accounts(company)
    else:
        body = _listing(company, view, title, kinds, params)
    if params.get("note"):
        body = join([_card("", tag("p", params["note"]), cls="card note"), body])
    return _frame(world, company, view, title, body)


def _document_link(company: Company, kind: str, doc: Doc, label: object = None) -> Html:
    shown = label or doc.get("DisplayName") or doc.get("Name") or doc.get("DocNumber") or f"#{doc['Id']}"
    return tag("a", shown, href=_link("/ui/doc", realm=company.realm_id, kind=kind, id=doc["Id"]))


def _party(company: Company, doc: Doc) -> object:
    for kind in ("Customer", "Vendor"):
        reference = doc.get(f"{kind}Ref")
        if reference:
            found = company.get(kind, reference["value"])
            return _document_link(company, kind, found) if found else reference["value"]
    return ""


def _state(kind: str, doc: Doc) -> object:
    if str(doc.get("PrivateNote", "")).startswith("Voided") and not doc.get("TotalAmt"):
        return tag("span", "Voided", cls="tag")
    if kind in {"Invoice", "Bill"}:
        if not doc.get("Balance"):
            return tag("span", "Paid", cls="tag good")
        return tag("span", "Part paid" if doc["Balance"] < doc["TotalAmt"] else "Open", cls="tag")
    if doc.get("UnappliedAmt"):
        return tag("span", f"{_amount(doc['UnappliedAmt'])} unapplied", cls="tag")
    if doc.get("RemainingCredit"):
        return tag("span", f"{_amount(doc['RemainingCredit'])} left", cls="tag")
    return ""


def _matches(doc: Doc, needle: str) -> bool:
    fields = (
        doc.get("DocNumber"),
        doc.get("DisplayName"),
        doc.get("PrivateNote"),
        doc["Id"],
        (doc.get("CustomerRef") or doc.get("VendorRef") or {}).get("name"),
    )
    return any(needle in str(field).casefold() for field in fields if field)


def _newest(company: Company, kinds: Sequence[str]) -> Iterator[tuple[str, Doc]]:
    """Documents of some kinds, newest first. One kind needs no sorting: the store keeps the order of creation."""
    if len(kinds) == 1:
        table = company.entities.get(kinds[0], {})
        yield from ((kinds[0], doc) for doc in reversed(table.values()))
        return
    every = [(kind, doc) for kind in kinds for doc in company.rows(kind)]
    yield from sorted(every, key=lambda pair: (pair[1]["MetaData"]["CreateTime"], int(pair[1]["Id"])), reverse=True)


def _listing(company: Company, view: str, title: str, kinds: Sequence[str], params: dict[str, str]) -> Html:
    needle = params.get("q", "").strip()
    page = int(params["page"]) if params.get("page", "").isdigit() else 0
    found = _newest(company, kinds)
    if needle:
        found = ((kind, doc) for kind, doc in found if _matches(doc, needle.casefold()))
    shown = list(islice(found, page * PAGE, page * PAGE + PAGE + 1))
    more = len(shown) > PAGE
    names = kinds[0] in {"Customer", "Vendor"}
    table = _name_table(company, shown[:PAGE]) if names else _txn_table(company, shown[:PAGE])
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
        pager.append(tag("a", "Newer", href=_link("/", realm=company.realm_id, view=view, q=needle, page=page - 1)))
    if more:
        pager.append(tag("a", "Older", href=_link("/", realm=company.realm_id, view=view, q=needle, page=page + 1)))
    total = sum(len(company.entities.get(kind, {})) for kind in kinds)
    return _card(f"{title} ({total:,})", search, table, tag("div", pager, cls="pager") if pager else "")


def _name_table(company: Company, rows: Sequence[tuple[str, Doc]]) -> Html:
    heads = (("Name", "wrap"), ("E-mail", "wrap"), ("Status", ""), ("Open balance", "num"))
    body = []
    for kind, doc in rows:
        state = "" if doc.get("Active", True) else tag("span", "Inactive", cls="tag")
        email = (doc.get("PrimaryEmailAddr") or {}).get("Address", "")
        body.append((_document_link(company, kind, doc), email, state, _amount(company.present(kind, doc)["Balance"])))
    return _table(heads, body, "Nobody here.")


def _txn_table(company: Company, rows: Sequence[tuple[str, Doc]]) -> Html:
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
        left = _amount(doc["Balance"]) if kind in {"Invoice", "Bill"} else ""
        number = _document_link(company, kind, doc)
        cells = (doc.get("TxnDate"), txn_name(kind, doc), number, _party(company, doc), doc.get("DueDate", ""), _state(kind, doc))
        body.append((*cells, _amount(total), left))
    return _table(heads, body, "No documents.")


def _accounts(company: Company) -> Html:
    books = books_of(company)
    body = []
    for doc in sorted(company.rows("Account"), key=lambda d: (d.get("Classification", ""), d.get("AccountType", ""), d["Name"])):
        posted = books.natural(doc["Id"], books.balance.get(doc["Id"], 0))
        body.append(
            (_document_link(company, "Account", doc), doc.get("AccountType"), doc.get("AccountSubType", ""), _amount(posted))
        )
    heads = (("Account", "wrap"), ("Type", ""), ("Detail type", "wrap"), ("Posted", "num"))
    return _card("Chart of accounts", _table(heads, body, "No accounts."))


def _trial(company: Company) -> Html:
    rows = report(company, "TrialBalance", {"date_macro": "This Fiscal Year", "accounting_method": "Accrual"})["Rows"]["Row"]
    body = []
    for row in rows[:-1]:
        name, debit, credit = row["ColData"]
        link = _document_link(company, "Account", {"Id": name["id"]}, name["value"])
        body.append((link, *(_amount(c["value"]) if c["value"] else "" for c in (debit, credit))))
    total = [_amount(c["value"]) for c in rows[-1]["Summary"]["ColData"][1:]]
    heads = (("Account", "wrap"), ("Debit", "num"), ("Credit", "num"))
    return _card("Trial balance, this fiscal year, accrual", _table(heads, body, "Nothing is posted yet.", ("Total", *total)))


def _requests(world: World, company: Company, count: int) -> Html:
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
    return _table(heads, body, "No requests yet.")


def _overview(world: World, company: Company, params: dict[str, str]) -> Html:
    books = books_of(company)
    bank = sum(books.balance.get(doc["Id"], 0) for doc in company.rows("Account") if doc.get("AccountType") == "Bank")
    owed = {kind: sum(books.balance.get(a, 0) for a in books.control if books.types[a] == kind) for kind in (RECEIVABLE, PAYABLE)}
    facts = [
        ("Customers owe", _amount(money(owed[RECEIVABLE])), "invoices"),
        ("Owed to vendors", _amount(money(-owed[PAYABLE])), "bills"),
        ("In the bank", _amount(money(bank)), "accounts"),
        ("Invoices", f"{len(company.entities.get('Invoice', {})):,}", "invoices"),
        ("Bills", f"{len(company.entities.get('Bill', {})):,}", "bills"),
        ("Payments", f"{sum(len(company.entities.get(k, {})) for k in VIEWS['payments'][1]):,}", "payments"),
    ]
    boxes = [
        tag("div", tag("span", label), tag("b", tag("a", value, href=_link("/", realm=company.realm_id, view=view))), cls="fact")
        for label, value, view in facts
    ]
    latest = list(islice(_newest(company, ("Invoice",)), 8))
    return join(
        tag("div", boxes, cls="facts"),
        tag(
            "div",
            tag("div", _audit_card(company, params), _companies_card(world), cls="stacked"),
            _limits_card(world, company),
            cls="two",
        ),
        _card("Newest invoices", _txn_table(company, latest)),
        _card("Last requests", _requests(world, company, 12)),
    )


def _companies_card(world: World) -> Html:
    """The companies of this stand-in, each a link to its books."""
    rows = [
        (
            tag("a", other.name, href=_link("/", realm=realm)),
            other.plan.replace("_", " "),
            f"{sum(len(other.entities.get(kind, {})) for kind in TXN_KINDS):,}",
        )
        for realm, other in islice(world.companies.items(), PAGE)
    ]
    heads = (("Company", "wrap"), ("Plan", "nowrap"), ("Documents", "num"))
    return _card(f"Companies ({len(world.companies):,})", _table(heads, rows, "There is no company."))


def _audit_card(company: Company, params: dict[str, str]) -> Html:
    books = books_of(company)
    posted = sum(len(table) for table in books.journal.values())
    if posted > BIG and not params.get("check"):
        ask = tag("a", "Check every document now", href=_link("/", realm=company.realm_id, check="1"))
        return _card("Are the books right?", tag("p", f"{posted:,} posted documents. ", ask))
    broken = audit(books)
    if not broken:
        return _card(
            "Are the books right?",
            tag("p", tag("b", "Yes. ", cls="good"), f"{posted:,} posted documents, every invariant holds."),
        )
    return _card(
        "Are the books right?",
        tag("p", tag("b", f"No: {len(broken)} findings", cls="bad")),
        tag("ul", [tag("li", s) for s in broken[:20]]),
    )


def _limits_card(world: World, company: Company) -> Html:
    used, settings = world.limits.usage(company.realm_id), world.limits.settings
    caps = {
        "requests_last_minute": settings.per_minute,
        "batches_last_minute": settings.batch_per_minute_realm,
        "in_flight": settings.in_flight,
    }
    rows = [(name.replace("_", " ").capitalize(), f"{value:.0f}", caps.get(name, "")) for name, value in used.items()]
    rows.append(("Requests since the start", f"{world.requests:,}", ""))
    rows.append(("Throttled", f"{world.throttled:,}", ""))
    rows.append(("Core calls (writes)", f"{world.limits.core:,}", ""))
    rows.append(
        ("CorePlus calls (reads)", f"{world.limits.metered:,}", f"{settings.metered_cap:,}" if settings.metered_block else "")
    )
    state = "" if settings.enabled else tag("p", "Limits are switched off.", cls="soft")
    return _card("Limits used", _table((("Limit", ""), ("Used", "num"), ("Of", "num")), rows, ""), state)


# -- one document ------------------------------------------------------------------------------------------------------


def _document(
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
        return _frame(world, company, view, "Gone", _card("", tag("p", note)), 200 if params.get("note") else 404)
    doc = company.present(kind, doc)
    named = doc.get("DisplayName") or doc.get("Name") or doc.get("DocNumber") or f"#{doc['Id']}"
    label = f"{txn_name(kind, doc)} {named}"
    parts: list[Html] = []
    if error:
        parts.append(_card("", tag("p", error), cls="card note bad"))
    elif params.get("note"):
        parts.append(_card("", tag("p", params["note"]), cls="card note"))
    left = join(_head_card(company, kind, doc, label), _links_card(company, doc))
    parts.append(tag("div", tag("div", left, cls="stacked"), _forms(company, kind, doc, typed or {}), cls="two"))
    if kind in TXN_KINDS:
        parts.append(_lines_card(doc))
        parts.append(_postings_card(company, kind, doc))
    elif kind in {"Customer", "Vendor"}:
        field = f"{kind}Ref"
        mine = ((k, d) for k, d in _newest(company, TXN_KINDS) if (d.get(field) or {}).get("value") == doc_id)
        parts.append(_card("Documents", _txn_table(company, list(islice(mine, PAGE)))))
    elif kind == "Account":
        parts.append(_register(company, doc))
    return _frame(world, company, view, label, join(parts), status)


def _head_card(company: Company, kind: str, doc: Doc, label: str) -> Html:
    facts: list[tuple[str, object]] = [("Name", _party(company, doc)), ("Status", _state(kind, doc))]
    for field, title in (("TxnDate", "Date"), ("DueDate", "Due"), ("PrivateNote", "Memo"), ("AccountType", "Type")):
        facts.append((title, doc.get(field)))
    for field, title in (
        ("TotalAmt", "Total"),
        ("Balance", "Open"),
        ("CurrentBalance", "Balance"),
        ("UnappliedAmt", "Unapplied"),
    ):
        if field in doc:
            facts.append((title, _amount(doc[field])))
    facts.append(("Id and version", f"{doc['Id']} / {doc['SyncToken']}"))
    facts.append(("Changed", doc["MetaData"].get("LastUpdatedTime")))
    return _card(
        label, tag("dl", [join(tag("dt", title), tag("dd", value)) for title, value in facts if value not in (None, "")])
    )


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
                    _document_link(company, kind, other),
                    other.get("TxnDate", ""),
                    _amount(other.get("TotalAmt")),
                )
            )
    if not rows:
        return Html("")
    return _card("Linked", _table((("Type", ""), ("Number", "wrap"), ("Date", "day"), ("Total", "num")), rows, ""))


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
        shown = "" if price is None else _amount(price) if price == round(price, 2) else f"{price.normalize():,f}"
        cells = (what or kind, line.get("Description", ""), detail.get("Qty", ""), shown)
        rows.append((*cells, _amount(line["Amount"]) if "Amount" in line else ""))
    heads = (("Item or account", "wrap"), ("Description", "wrap"), ("Qty", "num"), ("Price", "num"), ("Amount", "num"))
    return _card("Lines", _table(heads, rows, "No lines."))


def _postings_card(company: Company, kind: str, doc: Doc) -> Html:
    rows = []
    sums = [0, 0]
    for account_id, cents, _name, _line in books_of(company).journal.get(kind, {}).get(doc["Id"], ()):
        account = company.get("Account", account_id) or {"Id": account_id}
        sums[cents < 0] += abs(cents)
        sides = (_amount(money(cents)), "") if cents > 0 else ("", _amount(money(-cents)))
        rows.append((_document_link(company, "Account", account), *sides))
    foot = ("Total", *(_amount(money(value)) for value in sums)) if rows else ()
    return _card(
        "Postings", _table((("Account", "wrap"), ("Debit", "num"), ("Credit", "num")), rows, "This document posts nothing.", foot)
    )


def _register(company: Company, account: Doc) -> Html:
    rows: list[tuple[str, tuple[object, ...]]] = []
    for kind, table in books_of(company).journal.items():
        for doc_id, postings in table.items():
            doc = company.get(kind, doc_id)
            cents = sum(p[1] for p in postings if p[0] == account["Id"])
            if doc is None or not any(p[0] == account["Id"] for p in postings):
                continue
            sides = (_amount(money(cents)), "") if cents > 0 else ("", _amount(money(-cents)))
            day = str(doc.get("TxnDate") or "")
            rows.append((day, (day, txn_name(kind, doc), _document_link(company, kind, doc), _party(company, doc), *sides)))
    newest = [cells for _, cells in sorted(rows, key=lambda pair: pair[0], reverse=True)[: 2 * PAGE]]
    heads = (("Date", "day"), ("Type", "nowrap"), ("Number", "wrap"), ("Name", "wrap"), ("Debit", "num"), ("Credit", "num"))
    return _card(f"Newest of {len(rows):,} postings", _table(heads, newest, "Nothing is posted to this account."))


# -- forms -------------------------------------------------------------------------------------------------------------


def _hidden(company: Company, kind: str, doc: Doc, operation: str) -> list[Html]:
    values = {"realm": company.realm_id, "kind": kind, "id": doc["Id"], "op": operation}
    return [tag("input", type_="hidden", name_=name, value=value) for name, value in values.items()]


def _forms(company: Company, kind: str, doc: Doc, typed: dict[str, str]) -> Html:
    """Edit, pay, void and delete, as far as they fit the document. What was typed and refused stays to be mended."""
    fields: list[Html] = []

    def field(label: str, name: str, value: object, kind: str = "text", **more: object) -> Html:
        value = typed.get(name, value)
        return tag("label", label, tag("input", type_=kind, name_=name, value="" if value is None else value, **more))

    if kind in EDITABLE:
        for index, line in enumerate(doc.get("Line") or ()):
            if line.get("DetailType") in PRICED_LINES:
                about = field(f"Line {index + 1}", f"description_{index}", line.get("Description", ""))
                fields.append(
                    tag("div", about, field("Amount", f"amount_{index}", line.get("Amount"), inputmode="decimal"), cls="row")
                )
        if kind == "Payment":
            fields.append(field("Amount", "total", doc.get("TotalAmt"), inputmode="decimal"))
        if kind in {"Invoice", "Bill"}:
            fields.append(field("Due date", "DueDate", doc.get("DueDate"), "date"))
        fields.append(field("Memo", "PrivateNote", doc.get("PrivateNote"), maxlength=4000))
    elif kind in {"Customer", "Vendor"}:
        fields.append(field("Name", "DisplayName", doc.get("DisplayName"), maxlength=500))
        fields.append(field("E-mail", "email", (doc.get("PrimaryEmailAddr") or {}).get("Address", "")))
    blocks: list[Html] = []
    if fields:
        save = tag("button", "Save changes", cls="main", data_once=True)
        blocks.append(
            tag(
                "form",
                _hidden(company, kind, doc, "edit"),
                fields,
                tag("div", save),
                cls="fields",
                method="post",
                action="/ui/act",
            )
        )
    buttons = []
    if kind in {"Invoice", "Bill"} and doc.get("Balance"):
        amount = tag(
            "input",
            name_="amount",
            value=typed.get("amount", doc["Balance"]),
            inputmode="decimal",
            aria_label="Amount to pay",
            size=10,
        )
        pay = tag("button", "Receive payment" if kind == "Invoice" else "Pay bill", cls="main", data_once=True)
        blocks.append(
            tag("form", _hidden(company, kind, doc, "pay"), amount, pay, cls="line actions", method="post", action="/ui/act")
        )
    if kind in {"Invoice", "Payment", "SalesReceipt", "BillPayment"} and doc.get("TotalAmt"):
        buttons.append(_button(company, kind, doc, "void", "Void", "Void this document? Its amounts become 0."))
    if kind in TXN_KINDS:
        buttons.append(_button(company, kind, doc, "delete", "Delete", "Delete this document for good?"))
    elif kind in {"Customer", "Vendor"}:
        operation = "deactivate" if doc.get("Active", True) else "activate"
        buttons.append(_button(company, kind, doc, operation, f"Make {'in' if operation == 'deactivate' else ''}active", ""))
    if buttons:
        blocks.append(tag("div", buttons, cls="actions"))
    return _card("Play the bookkeeper", blocks) if blocks else Html("")


def _button(company: Company, kind: str, doc: Doc, operation: str, label: str, ask: str) -> Html:
    return tag(
        "form",
        _hidden(company, kind, doc, operation),
        tag("button", label, cls="danger", data_ask=ask or None),
        method="post",
        action="/ui/act",
    )


# -- acting ------------------------------------------------------------------------------------------------------------


def _act(world: World, company: Company, form: dict[str, str]) -> Answer:
    kind, doc_id, operation = form.get("kind", ""), form.get("id", ""), form.get("op", "")
    try:
        note, shown_kind, shown_id = _perform(world, company, operation, kind, doc_id, form)
    except RefusedError as refusal:
        return _document(world, company, kind, doc_id, {}, str(refusal), 400, form)
    except Fault as fault:
        said = fault.detail if fault.detail.startswith(fault.message) else f"{fault.message}: {fault.detail}"
        return _document(world, company, kind, doc_id, {}, f"{said} ({fault.code})", 400, form)
    if company.get(shown_kind, shown_id) is None:  # deleted: back to the list
        view = VIEW_OF.get(shown_kind, "overview")
        return _see(_link("/", realm=company.realm_id, view=view, note=note))
    return _see(_link("/ui/doc", realm=company.realm_id, kind=shown_kind, id=shown_id, note=note))


def _see(where: str) -> Answer:
    """On to a page that can be loaded again without doing anything."""
    return 303, "text/plain; charset=utf-8", b"", {**HEADERS, "Location": where}


def _perform(
    world: World, company: Company, operation: str, kind: str, doc_id: str, form: dict[str, str]
) -> tuple[str, str, str]:
    """Do it; returns what to say and which document to show."""
    doc = company.get(kind, doc_id)
    if doc is None:
        raise RefusedError("The document is gone.")
    if operation == "edit":
        changes = _changes(kind, doc, form)
        if not changes:
            return "Nothing was changed.", kind, doc_id
        world.person(company.realm_id, "edit", kind, doc_id, changes)
        return "Saved.", kind, doc_id
    if operation == "pay" and kind in {"Invoice", "Bill"}:
        amount = _decimal(form.get("amount", ""))
        if amount <= 0:
            raise RefusedError("The amount to pay must be more than 0.")
        world.person(company.realm_id, "pay", kind, doc_id, {"amount": amount})
        return f"Paid {_amount(amount)}.", kind, doc_id
    if operation in {"void", "delete", "activate", "deactivate"} and (kind in TXN_KINDS or kind in {"Customer", "Vendor"}):
        world.person(company.realm_id, operation, kind, doc_id)
        gone = company.get(kind, doc_id) is None
        said = {"void": "Voided.", "activate": "It is active again.", "deactivate": "It is inactive now."}.get(
            operation, "Deleted."
        )
        return said if not gone else f"{kind} {doc_id} is deleted.", kind, doc_id
    raise RefusedError(f"{operation or 'Nothing'} is not possible here.")


def _decimal(typed: str) -> Decimal:
    try:
        value = Decimal(typed.replace(",", "").strip())
    except InvalidOperation:
        raise RefusedError(f"{typed!r} is not an amount.") from None
    if not value.is_finite() or abs(value) >= 10**13:
        raise RefusedError(f"{typed!r} is not an amount.")
    if value != round(value, 2):
        raise RefusedError(f"{typed!r} has more than two decimals.")
    return value


def _changes(kind: str, doc: Doc, form: dict[str, str]) -> dict[str, Any]:
    """Only what the person really changed."""
    changes: dict[str, Any] = {}
    for field in ("PrivateNote", "DueDate", "DisplayName"):
        if field in form and form[field] != str(doc.get(field) or ""):
            changes[field] = form[field]
    if "email" in form and form["email"] != (doc.get("PrimaryEmailAddr") or {}).get("Address", ""):
        changes["PrimaryEmailAddr"] = {"Address": form["email"]}
    if form.get("total") and _decimal(form["total"]) != doc.get("TotalAmt"):
        changes["TotalAmt"] = _decimal(form["total"])
    lines = _changed_lines(doc, form)
    if lines is not None:
        changes["Line"] = lines
    return changes


def _changed_lines(doc: Doc, form: dict[str, str]) -> list[Doc] | None:
    """The whole list of lines with new amounts and descriptions, or None when they are as they were."""
    lines: list[Doc] = []
    changed = False
    for index, line in enumerate(doc.get("Line") or ()):
        if line.get("DetailType") == "SubTotalLineDetail":
            continue
        new = dict(line)
        about = form.get(f"description_{index}")
        if about is not None and about != str(line.get("Description") or ""):
            new["Description"] = about
            changed = True
        typed = form.get(f"amount_{index}")
        if typed is not None and _decimal(typed) != line.get("Amount", ZERO):
            new["Amount"] = _decimal(typed)
            detail = str(line["DetailType"])
            new[detail] = _repriced(line.get(detail) or {}, new["Amount"])
            changed = True
        lines.append(new)
    return lines if changed else None


def _repriced(detail: Doc, amount: Decimal) -> Doc:
    """Qty and price that fit a new amount: Amount = Qty x UnitPrice must hold."""
    if "UnitPrice" not in detail and "Qty" not in detail:
        return detail
    return {**detail, "Qty": Decimal(1), "UnitPrice": amount}


# -- the customer's pay page -------------------------------------------------------------------------------------------


def _pay_page(world: World, company: Company, doc_id: str, method: str) -> Answer:
    """What an InvoiceLink leads to: the invoice, and a button that pays it in full."""
    doc = company.get("Invoice", doc_id)
    if doc is None:
        return _page(404, "Not found", _card("", tag("p", "This invoice does not exist.")))
    if method == "POST" and doc.get("Balance"):
        world.person(company.realm_id, "pay", "Invoice", doc_id, {"amount": doc["Balance"]})
        doc = company.get("Invoice", doc_id) or doc
    name = (doc.get("CustomerRef") or {}).get("name", "")
    body: list[object] = [tag("p", f"For {name}, due {doc.get('DueDate', '')}, total {_amount(doc['TotalAmt'])}.")]
    if doc.get("Balance"):
        body.append(
            tag(
                "form",
                tag("button", f"Pay {_amount(doc['Balance'])}", cls="main"),
                method="post",
                action=f"/pay/{company.realm_id}/{doc_id}",
            )
        )
    else:
        body.append(tag("p", text("Paid. Thank you."), cls="good"))
    return _page(200, "Invoice", _card(f"{company.name}: invoice {doc.get('DocNumber') or doc_id}", *body))
