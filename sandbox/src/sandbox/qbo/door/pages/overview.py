"""The first page of a company: what is owed, whether the books are right, what of the limits is used."""

from __future__ import annotations

from itertools import islice

from sandbox.qbo.books.amounts import PAYABLE, RECEIVABLE, money
from sandbox.qbo.books.audit import audit
from sandbox.qbo.books.ledger import books_of
from sandbox.qbo.company.store import TXN_KINDS, Company
from sandbox.qbo.control.world import World
from sandbox.qbo.door.pages.frame import PAGE, VIEWS, amount_text, card, link_to, table_of
from sandbox.qbo.door.pages.listings import newest, requests_table, txn_table
from sandbox.qbo.door.pages.markup import Html, join, tag

BIG = 20_000  # above this the audit runs only on request, since it reads every document


def overview_body(world: World, company: Company, params: dict[str, str]) -> Html:
    books = books_of(company)
    bank = sum(books.balance.get(doc["Id"], 0) for doc in company.rows("Account") if doc.get("AccountType") == "Bank")
    owed = {kind: sum(books.balance.get(a, 0) for a in books.control if books.types[a] == kind) for kind in (RECEIVABLE, PAYABLE)}
    facts = [
        ("Customers owe", amount_text(money(owed[RECEIVABLE])), "invoices"),
        ("Owed to vendors", amount_text(money(-owed[PAYABLE])), "bills"),
        ("In the bank", amount_text(money(bank)), "accounts"),
        ("Invoices", f"{len(company.entities.get('Invoice', {})):,}", "invoices"),
        ("Bills", f"{len(company.entities.get('Bill', {})):,}", "bills"),
        ("Payments", f"{sum(len(company.entities.get(k, {})) for k in VIEWS['payments'][1]):,}", "payments"),
    ]
    boxes = [
        tag(
            "div", tag("span", label), tag("b", tag("a", value, href=link_to("/", realm=company.realm_id, view=view))), cls="fact"
        )
        for label, value, view in facts
    ]
    latest = list(islice(newest(company, ("Invoice",)), 8))
    return join(
        tag("div", boxes, cls="facts"),
        tag(
            "div",
            tag("div", _audit_card(company, params), _companies_card(world), cls="stacked"),
            _limits_card(world, company),
            cls="two",
        ),
        card("Newest invoices", txn_table(company, latest)),
        card("Last requests", requests_table(world, company, 12)),
    )


def _companies_card(world: World) -> Html:
    """The companies of this stand-in, each a link to its books."""
    rows = [
        (
            tag("a", other.name, href=link_to("/", realm=realm)),
            other.plan.replace("_", " "),
            f"{sum(len(other.entities.get(kind, {})) for kind in TXN_KINDS):,}",
        )
        for realm, other in islice(world.companies.items(), PAGE)
    ]
    heads = (("Company", "wrap"), ("Plan", "nowrap"), ("Documents", "num"))
    return card(f"Companies ({len(world.companies):,})", table_of(heads, rows, "There is no company."))


def _audit_card(company: Company, params: dict[str, str]) -> Html:
    books = books_of(company)
    posted = sum(len(table) for table in books.journal.values())
    if posted > BIG and not params.get("check"):
        ask = tag("a", "Check every document now", href=link_to("/", realm=company.realm_id, check="1"))
        return card("Are the books right?", tag("p", f"{posted:,} posted documents. ", ask))
    broken = audit(books)
    if not broken:
        return card(
            "Are the books right?",
            tag("p", tag("b", "Yes. ", cls="good"), f"{posted:,} posted documents, every invariant holds."),
        )
    return card(
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
    return card("Limits used", table_of((("Limit", ""), ("Used", "num"), ("Of", "num")), rows, ""), state)
