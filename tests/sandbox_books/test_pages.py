"""The pages: what they show, what a person can do there, and that nothing stored becomes markup."""

from __future__ import annotations

from decimal import Decimal
from html.parser import HTMLParser
from urllib.parse import parse_qsl, urlsplit

import pytest
from sandbox.qbo.books.audit import invariants
from sandbox.qbo.company.schema import KINDS
from sandbox.qbo.company.store import Company, Doc
from sandbox.qbo.control.world import Config, World
from sandbox.qbo.documents.writes import save
from sandbox.qbo.door.pages.frame import VIEWS
from sandbox.qbo.door.pages.routes import handle

EVIL = "<script>alert('x')</script>\"><img src=x onerror=alert(1)>"
EVIL_LIST = EVIL.replace('"', "'").replace(":", "")  # names of accounts take neither


class Elements(HTMLParser):
    """Every element of a page with its attributes, and its text."""

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str]]] = []
        self.words: list[str] = []
        self.feed(page.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, {key: value or "" for key, value in attrs}))

    def handle_data(self, data: str) -> None:
        self.words.append(data)


@pytest.fixture
def world() -> World:
    return World(Config(limits=False))


@pytest.fixture
def company(world: World) -> Company:
    return world.companies[world.first_realm]


def invoice(company: Company, amount: str = "100.00", **more: object) -> Doc:
    line = {
        "DetailType": "SalesItemLineDetail",
        "Amount": Decimal(amount),
        "Description": "Visit",
        "SalesItemLineDetail": {"ItemRef": {"value": "3"}},
    }
    return save(company, KINDS["Invoice"], {"CustomerRef": {"value": "1"}, "Line": [line], **more})


def shown(world: World, path: str, **params: str) -> str:
    status, content_type, body, headers = handle(world, "GET", path, params, {})
    assert status == 200, body[:300]
    assert content_type.startswith("text/html")
    assert "script-src 'self'" in headers["Content-Security-Policy"]
    return " ".join(" ".join(Elements(body).words).split())


def act(world: World, operation: str, kind: str, doc_id: str, **fields: str) -> tuple[int, str]:
    """Post the form; returns the status and the text of the page that a browser then sees."""
    form = {"realm": world.first_realm, "op": operation, "kind": kind, "id": doc_id, **fields}
    status, _, body, headers = handle(world, "POST", "/ui/act", {}, form)
    if status == 303:
        target = urlsplit(headers["Location"])
        return status, shown(world, target.path, **dict(parse_qsl(target.query)))
    return status, " ".join(" ".join(Elements(body).words).split())


def test_the_lists_show_what_is_stored(world: World, company: Company) -> None:
    doc = invoice(company, "1234.50", DocNumber="Q-77")
    assert "Q-77" in shown(world, "/", view="invoices")
    assert "1,234.50" in shown(world, "/", view="invoices")
    assert "every invariant holds" in shown(world, "/")
    assert "Total 1,234.50 1,234.50" in shown(world, "/", view="trial")
    page = shown(world, "/ui/doc", realm=company.realm_id, kind="Invoice", id=doc["Id"])
    assert "Postings" in page
    assert "Accounts Receivable (A/R) 1,234.50" in page


def test_a_list_is_searched_and_paged(world: World, company: Company) -> None:
    for number in range(60):
        invoice(company, DocNumber=f"N-{number:03d}")
    first = shown(world, "/", view="invoices")
    assert "N-059" in first
    assert "N-005" not in first
    assert "N-005" in shown(world, "/", view="invoices", page="1")
    assert "N-005" in shown(world, "/", view="invoices", q="n-005")
    assert "N-006" not in shown(world, "/", view="invoices", q="n-005")


def test_a_person_edits_amount_memo_and_due_date(world: World, company: Company) -> None:
    events: list[str] = []
    company.event_sinks.append(lambda event: events.append(f"{event.kind} {event.op}"))
    doc = invoice(company)
    status, page = act(
        world,
        "edit",
        "Invoice",
        doc["Id"],
        amount_0="80.25",
        description_0="Check-up",
        DueDate="2030-01-31",
        PrivateNote="agreed",
    )
    assert status == 303
    assert "Saved." in page
    stored = company.entities["Invoice"][doc["Id"]]
    assert (stored["TotalAmt"], stored["Balance"], stored["DueDate"], stored["PrivateNote"]) == (
        Decimal("80.25"),
        Decimal("80.25"),
        "2030-01-31",
        "agreed",
    )
    assert stored["Line"][0]["Description"] == "Check-up"
    assert stored["SyncToken"] == "1"
    assert events == ["Invoice Create", "Invoice Update"]
    assert invariants(company) == []


def test_an_edit_that_changes_nothing_makes_no_version(world: World, company: Company) -> None:
    doc = invoice(company)
    _, page = act(
        world, "edit", "Invoice", doc["Id"], amount_0="100.00", description_0="Visit", PrivateNote="", DueDate=doc["DueDate"]
    )
    assert "Nothing was changed." in page
    assert company.entities["Invoice"][doc["Id"]] is doc


def test_a_person_pays_an_invoice_and_a_bill(world: World, company: Company) -> None:
    doc = invoice(company)
    assert "Paid 40.00." in act(world, "pay", "Invoice", doc["Id"], amount="40")[1]
    assert company.entities["Invoice"][doc["Id"]]["Balance"] == 60
    cost = {
        "DetailType": "AccountBasedExpenseLineDetail",
        "Amount": Decimal(30),
        "AccountBasedExpenseLineDetail": {"AccountRef": {"value": "17"}},
    }
    bill = save(company, KINDS["Bill"], {"VendorRef": {"value": "51"}, "Line": [cost]})
    act(world, "pay", "Bill", bill["Id"], amount="30")
    assert company.entities["Bill"][bill["Id"]]["Balance"] == 0
    assert invariants(company) == []


def test_a_person_voids_and_deletes(world: World, company: Company) -> None:
    voided, deleted = invoice(company), invoice(company)
    assert "Voided." in act(world, "void", "Invoice", voided["Id"])[1]
    assert company.entities["Invoice"][voided["Id"]]["TotalAmt"] == 0
    assert "is deleted" in act(world, "delete", "Invoice", deleted["Id"])[1]
    assert company.get("Invoice", deleted["Id"]) is None
    assert invariants(company) == []


@pytest.mark.parametrize(
    ("operation", "fields", "words"),
    [
        ("pay", {"amount": "lots"}, "'lots' is not an amount"),
        ("pay", {"amount": "-5"}, "more than 0"),
        ("pay", {"amount": "500"}, "more than the open balance"),
        ("pay", {"amount": "NaN"}, "is not an amount"),
        ("edit", {"amount_0": "abc"}, "is not an amount"),
        ("edit", {"DueDate": "soon"}, "Invalid Date"),
        ("explode", {}, "not possible here"),
    ],
)
def test_what_cannot_be_done_is_said_and_changes_nothing(
    world: World, company: Company, operation: str, fields: dict[str, str], words: str
) -> None:
    doc = invoice(company)
    status, page = act(world, operation, "Invoice", doc["Id"], **fields)
    assert status == 400
    assert words in page
    assert company.entities["Invoice"][doc["Id"]] is doc


def test_what_was_typed_stays_to_be_mended(world: World, company: Company) -> None:
    doc = invoice(company)
    form = {"realm": world.first_realm, "op": "edit", "kind": "Invoice", "id": doc["Id"]}
    typed = {"amount_0": "12x", "description_0": "<b>new</b>", "PrivateNote": "by hand"}
    status, _, body, _ = handle(world, "POST", "/ui/act", {}, {**form, **typed})
    inputs = {attributes["name"]: attributes["value"] for tag, attributes in Elements(body).found if tag == "input"}
    assert status == 400
    assert {name: inputs[name] for name in typed} == typed


def test_fractions_of_a_cent_are_refused_in_words_for_a_person(world: World, company: Company) -> None:
    doc = invoice(company)
    for operation, field in (("edit", "amount_0"), ("pay", "amount")):
        status, page = act(world, operation, "Invoice", doc["Id"], **{field: "1,234.567"})
        assert (status, "'1,234.567' has more than two decimals." in page) == (400, True)
    assert act(world, "edit", "Invoice", doc["Id"], amount_0="1,234.50")[0] == 303
    assert company.entities["Invoice"][doc["Id"]]["TotalAmt"] == Decimal("1234.50")


def test_after_deleting_the_list_is_shown(world: World, company: Company) -> None:
    kept, gone = invoice(company, DocNumber="KEPT"), invoice(company, DocNumber="GONE")
    status, page = act(world, "delete", "Invoice", gone["Id"])
    assert status == 303
    assert f"Invoice {gone['Id']} is deleted." in page
    assert ("KEPT" in page, "GONE" in page) == (True, False)
    assert company.get("Invoice", kept["Id"]) is kept


def test_nothing_stored_becomes_markup(world: World, company: Company) -> None:
    company.name = EVIL
    customer = save(company, KINDS["Customer"], {"DisplayName": EVIL})
    vendor = save(company, KINDS["Vendor"], {"DisplayName": EVIL + "v"})
    account = save(company, KINDS["Account"], {"Name": EVIL_LIST, "AccountType": "Expense"})
    doc = invoice(company, CustomerRef={"value": customer["Id"]}, PrivateNote=EVIL, DocNumber="<i>\"'&</i>")
    line = {"DetailType": "AccountBasedExpenseLineDetail", "Amount": Decimal(5), "Description": EVIL}
    line["AccountBasedExpenseLineDetail"] = {"AccountRef": {"value": account["Id"]}}
    bill = save(company, KINDS["Bill"], {"VendorRef": {"value": vendor["Id"]}, "Line": [line]})
    record = world.record("GET", f"/v3/{EVIL}")
    record.codes.append(EVIL)
    record.realm = company.realm_id

    documents = [("Customer", customer), ("Vendor", vendor), ("Account", account), ("Invoice", doc), ("Bill", bill)]
    requests = [("/", {"view": view, "q": EVIL}) for view in VIEWS] + [("/", {"view": view}) for view in VIEWS]
    requests += [("/ui/doc", {"kind": kind, "id": stored["Id"], "note": EVIL}) for kind, stored in documents]
    requests += [
        ("/ui/doc", {"kind": EVIL, "id": EVIL}),
        ("/", {"realm": EVIL}),
        (f"/pay/{company.realm_id}/{doc['Id']}", {}),
        (f"/ui/{EVIL}", {}),
    ]
    seen = 0
    for path, params in requests:
        _, _, body, _ = handle(world, "GET", path, params, {})
        page = Elements(body)
        seen += any("alert('x')" in word for word in page.words)
        for name, attributes in page.found:
            assert name not in {"img", "i"}, (path, params)
            assert name != "script" or attributes == {"src": "/ui/page.js"}, (path, params)
            assert not any(key.startswith("on") for key in attributes), (path, params)
    assert seen > 15  # the text itself is there, as text
    status, page_text = act(world, "pay", "Invoice", doc["Id"], amount=EVIL)
    assert status == 400
    assert "alert" in page_text


def test_the_pay_link_pays_in_full(world: World, company: Company) -> None:
    doc = invoice(company)
    path = f"/pay/{company.realm_id}/{doc['Id']}"
    assert "Pay 100.00" in shown(world, path)
    _, _, body, _ = handle(world, "POST", path, {}, {})
    assert b"Thank you" in body
    assert company.entities["Invoice"][doc["Id"]]["Balance"] == 0


def test_styles_and_script_are_served_and_unknown_pages_are_not(world: World) -> None:
    assert handle(world, "GET", "/ui/style.css", {}, {})[:2] == (200, "text/css; charset=utf-8")
    assert handle(world, "GET", "/ui/page.js", {}, {})[0] == 200
    assert handle(world, "GET", "/ui/../books.py", {}, {})[0] == 404
    assert handle(world, "GET", "/ui/doc", {"kind": "Invoice", "id": "9"}, {})[0] == 404
    assert handle(world, "DELETE", "/", {}, {})[0] == 405


@pytest.mark.parametrize(("kind", "document", "payment"), [("Customer", "Invoice", "Payment"), ("Vendor", "Bill", "BillPayment")])
def test_a_merge_of_names_keeps_the_books_right(world: World, company: Company, kind: str, document: str, payment: str) -> None:
    loser, winner = ("1", "2") if kind == "Customer" else ("51", "52")
    for name in (loser, winner):
        if kind == "Customer":
            doc = invoice(company, CustomerRef={"value": name})
        else:
            cost = {
                "DetailType": "AccountBasedExpenseLineDetail",
                "Amount": Decimal(100),
                "AccountBasedExpenseLineDetail": {"AccountRef": {"value": "17"}},
            }
            doc = save(company, KINDS["Bill"], {"VendorRef": {"value": name}, "Line": [cost]})
        world.person(company.realm_id, "pay", document, doc["Id"], {"amount": Decimal(30)})
    world.person(company.realm_id, "merge", kind, loser, {"into": winner})
    assert invariants(company) == []
    assert company.present(kind, company.entities[kind][winner])["Balance"] == 140
    assert {d[f"{kind}Ref"]["value"] for d in company.rows(payment)} == {winner}
