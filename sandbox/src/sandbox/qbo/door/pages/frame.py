"""What every page is made of: the frame with its tabs, cards, tables, and how documents are named in a cell."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from urllib.parse import urlencode

from sandbox.qbo.company.store import TXN_KINDS, Company, Doc
from sandbox.qbo.control.world import World
from sandbox.qbo.door.pages.markup import Html, join, tag

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
POLICY = "default-src 'none'; style-src 'self'; script-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


def page_of(status: int, title: str, body: Html, head: Html | None = None) -> Answer:
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


def link_to(path: str, **params: object) -> str:
    return f"{path}?{urlencode({k: v for k, v in params.items() if v})}"


def framed(world: World, company: Company, view: str, title: str, body: Html, status: int = 200) -> Answer:
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
        tag("a", label, href=link_to("/", realm=company.realm_id, view=key), cls="on" if key == view else None)
        for key, (label, _) in VIEWS.items()
    ]
    plan = company.plan.replace("_", " ")
    heading = tag("h1", company.name, tag("small", f"QuickBooks stand-in, {plan} plan, company date {company.today()}"))
    head = tag("header", tag("div", heading, switch, cls="bar"), tag("nav", tabs))
    return page_of(status, f"{title} - {company.name}", body, head)


def card(title: str, *body: object, cls: str = "card") -> Html:
    return tag("section", tag("h2", title) if title else "", *body, cls=cls)


def amount_text(value: object) -> str:
    """1234.5 -> 1,234.50"""
    return f"{Decimal(str(value or 0)):,.2f}"


def table_of(heads: Sequence[tuple[str, str]], rows: Iterable[Sequence[object]], empty: str, foot: Sequence[object] = ()) -> Html:
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


def document_link(company: Company, kind: str, doc: Doc, label: object = None) -> Html:
    shown = label or doc.get("DisplayName") or doc.get("Name") or doc.get("DocNumber") or f"#{doc['Id']}"
    return tag("a", shown, href=link_to("/ui/doc", realm=company.realm_id, kind=kind, id=doc["Id"]))


def party_of(company: Company, doc: Doc) -> object:
    for kind in ("Customer", "Vendor"):
        reference = doc.get(f"{kind}Ref")
        if reference:
            found = company.get(kind, reference["value"])
            return document_link(company, kind, found) if found else reference["value"]
    return ""


def state_of(kind: str, doc: Doc) -> object:
    if str(doc.get("PrivateNote", "")).startswith("Voided") and not doc.get("TotalAmt"):
        return tag("span", "Voided", cls="tag")
    if kind in {"Invoice", "Bill"}:
        if not doc.get("Balance"):
            return tag("span", "Paid", cls="tag good")
        return tag("span", "Part paid" if doc["Balance"] < doc["TotalAmt"] else "Open", cls="tag")
    if doc.get("UnappliedAmt"):
        return tag("span", f"{amount_text(doc['UnappliedAmt'])} unapplied", cls="tag")
    if doc.get("RemainingCredit"):
        return tag("span", f"{amount_text(doc['RemainingCredit'])} left", cls="tag")
    return ""
