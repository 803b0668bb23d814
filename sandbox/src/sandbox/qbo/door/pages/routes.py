"""Takes requests for `/`, `/ui/...` and `/pay/...` to their pages."""

from __future__ import annotations

from importlib.resources import files

from sandbox.qbo.company.store import Company
from sandbox.qbo.control.world import World
from sandbox.qbo.door.pages.acting import RefusedError, perform
from sandbox.qbo.door.pages.document import document_page
from sandbox.qbo.door.pages.frame import HEADERS, VIEW_OF, VIEWS, Answer, amount_text, card, framed, link_to, page_of
from sandbox.qbo.door.pages.listings import accounts_card, listing, requests_table, trial_card
from sandbox.qbo.door.pages.markup import join, tag, text
from sandbox.qbo.door.pages.overview import overview_body
from sandbox.qbo.rules.faults import Fault

STATIC = {"style.css": "text/css; charset=utf-8", "page.js": "text/javascript; charset=utf-8"}


def handle(world: World, method: str, path: str, params: dict[str, str], form: dict[str, str]) -> Answer:
    """One request for `/`, `/ui/...` or `/pay/{realm}/{Id}`: status, content type, body, headers."""
    if path.startswith("/ui/") and path[4:] in STATIC:
        name = path[4:]
        return 200, STATIC[name], files("sandbox.qbo.door.pages").joinpath("web", name).read_bytes(), {}
    realm = form.get("realm") or params.get("realm") or (path.split("/")[2] if path.startswith("/pay/") else world.first_realm)
    company = world.companies.get(realm)
    if company is None:
        return page_of(404, "Not found", tag("p", f"There is no company {realm} here."))
    if method == "POST" and path == "/ui/act":
        return _act(world, company, form)
    if method not in {"GET", "HEAD"} and not path.startswith("/pay/"):
        return page_of(405, "Not allowed", tag("p", "This page does not support the request."))
    if path == "/":
        return _books(world, company, params)
    if path == "/ui/doc":
        return document_page(world, company, params.get("kind", ""), params.get("id", ""), params)
    if path.startswith("/pay/"):
        return _pay_page(world, company, path.rsplit("/", 1)[-1], method)
    return page_of(404, "Not found", tag("p", "There is no such page."))


def _books(world: World, company: Company, params: dict[str, str]) -> Answer:
    view = params.get("view", "overview")
    if view not in VIEWS:
        view = "overview"
    title, kinds = VIEWS[view]
    if view == "overview":
        body = overview_body(world, company, params)
    elif view == "trial":
        body = trial_card(company)
    elif view == "requests":
        body = card("Last requests", requests_table(world, company, 200))
    elif view == "accounts":
        body = accounts_card(company)
    else:
        body = listing(company, view, title, kinds, params)
    if params.get("note"):
        body = join([card("", tag("p", params["note"]), cls="card note"), body])
    return framed(world, company, view, title, body)


def _act(world: World, company: Company, form: dict[str, str]) -> Answer:
    kind, doc_id, operation = form.get("kind", ""), form.get("id", ""), form.get("op", "")
    try:
        note, shown_kind, shown_id = perform(world, company, operation, kind, doc_id, form)
    except RefusedError as refusal:
        return document_page(world, company, kind, doc_id, {}, str(refusal), 400, form)
    except Fault as fault:
        said = fault.detail if fault.detail.startswith(fault.message) else f"{fault.message}: {fault.detail}"
        return document_page(world, company, kind, doc_id, {}, f"{said} ({fault.code})", 400, form)
    if company.get(shown_kind, shown_id) is None:  # deleted: back to the list
        view = VIEW_OF.get(shown_kind, "overview")
        return _see(link_to("/", realm=company.realm_id, view=view, note=note))
    return _see(link_to("/ui/doc", realm=company.realm_id, kind=shown_kind, id=shown_id, note=note))


def _see(where: str) -> Answer:
    """On to a page that can be loaded again without doing anything."""
    return 303, "text/plain; charset=utf-8", b"", {**HEADERS, "Location": where}


def _pay_page(world: World, company: Company, doc_id: str, method: str) -> Answer:
    """What an InvoiceLink leads to: the invoice, and a button that pays it in full."""
    doc = company.get("Invoice", doc_id)
    if doc is None:
        return page_of(404, "Not found", card("", tag("p", "This invoice does not exist.")))
    if method == "POST" and doc.get("Balance"):
        world.person(company.realm_id, "pay", "Invoice", doc_id, {"amount": doc["Balance"]})
        doc = company.get("Invoice", doc_id) or doc
    name = (doc.get("CustomerRef") or {}).get("name", "")
    body: list[object] = [tag("p", f"For {name}, due {doc.get('DueDate', '')}, total {amount_text(doc['TotalAmt'])}.")]
    if doc.get("Balance"):
        body.append(
            tag(
                "form",
                tag("button", f"Pay {amount_text(doc['Balance'])}", cls="main"),
                method="post",
                action=f"/pay/{company.realm_id}/{doc_id}",
            )
        )
    else:
        body.append(tag("p", text("Paid. Thank you."), cls="good"))
    return page_of(200, "Invoice", card(f"{company.name}: invoice {doc.get('DocNumber') or doc_id}", *body))
