"""The common parts of all writes: the change being prepared, plan and period gates, DocNumber, currency, terms, line amounts."""

from __future__ import annotations

import calendar
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal

from sandbox.qbo.company.clock import pacific
from sandbox.qbo.company.schema import PLANS, SALES_FORMS, Entity
from sandbox.qbo.company.store import ZERO, Company, Doc, folded
from sandbox.qbo.rules.faults import Fault
from sandbox.qbo.rules.validation import cents

SALES_KINDS = SALES_FORMS


PURCHASE_KINDS = ("Bill", "VendorCredit", "Purchase", "PurchaseOrder")


DELETED = " (deleted)"


PERSON = "Pat Bookkeeper"  # who "finished before you did" in 5010


@dataclass(slots=True)
class Options:
    """What the URL or the batch item says besides the body."""

    include: frozenset[str] = frozenset()
    person: bool = False  # done by a person in the product: the API's gates do not hold


@dataclass(slots=True)
class Change:
    """A write being prepared: the new document and the other documents it moves, stored together at the end."""

    company: Company
    entity: Entity
    old: Doc | None
    doc: Doc
    options: Options
    moved: dict[tuple[str, str], Doc] = field(default_factory=dict)
    sent: frozenset[str] = frozenset()  # what a sparse update names

    def target(self, kind: str, doc_id: str) -> Doc | None:
        """The present state of another document, as this change already left it."""
        return self.moved.get((kind, doc_id)) or self.company.get(kind, doc_id)


def bump(company: Company, old: Doc, new: Doc) -> Doc:
    """Give `new` the next SyncToken and LastUpdatedTime after `old`."""
    new["SyncToken"] = str(int(old["SyncToken"]) + 1)
    new["MetaData"] = {**old["MetaData"], "LastUpdatedTime": pacific(company.clock.now())}
    return new


def check_plan(company: Company, entity: Entity) -> None:
    """5030 if the company's plan does not include the entity."""
    if PLANS.index(company.plan) < PLANS.index(entity.plan):
        raise Fault("5030", value=entity.kind)


def check_period(company: Company, day: str | None) -> None:
    closing = company.closing_date
    if closing and day and day <= closing:
        raise Fault("6210" if company.closing_password else "6200")


def check_deposited(doc: Doc) -> None:
    """6540 where the document sits in a deposit: a payment, a receipt, a journal entry or a transfer."""
    if any(t["TxnType"] == "Deposit" for t in doc.get("LinkedTxn", ())):
        raise Fault("6540")


MADE_FROM = frozenset({"Invoice", "SalesReceipt", "Bill", "VendorCredit"})  # of estimates, hours and orders


def finish_txn(change: Change) -> None:
    company, doc, kind = change.company, change.doc, change.entity.kind
    if "TxnDate" not in doc:
        doc["TxnDate"] = company.today()
    check_period(company, doc["TxnDate"])
    _check_tracking(change)
    check_currency(change)
    check_owner(change)
    if kind not in MADE_FROM:  # LinkedTxn is read-only: payments and deposits write it
        doc.pop("LinkedTxn", None)
        if change.old is not None and "LinkedTxn" in change.old:
            doc["LinkedTxn"] = change.old["LinkedTxn"]
    if kind != "Payment":
        _doc_number(change)
    lines = doc.get("Line")
    if lines is not None and change.old is None:
        for index, line in enumerate(lines, 1):
            line["Id"] = str(index)
    _custom_fields(change)


def _custom_fields(change: Change) -> None:
    for custom in change.doc.get("CustomField", ()):
        definition = str(custom.get("DefinitionId", ""))
        if definition not in ("1", "2", "3"):
            raise Fault("3000", element="CustomField", value=definition)
        custom["DefinitionId"] = definition
        custom.setdefault("Type", "StringType")


def _check_tracking(change: Change) -> None:
    company, doc = change.company, change.doc
    if doc.get("DepartmentRef") and PLANS.index(company.plan) < PLANS.index("essentials"):
        raise Fault("5030", value="Location")
    _untracked(company, doc)
    if PLANS.index(company.plan) >= PLANS.index("plus"):
        return
    if doc.get("ClassRef") or any(
        isinstance(detail := line.get(line.get("DetailType", "")), dict) and detail.get("ClassRef")
        for line in doc.get("Line", ())
    ):
        raise Fault("5030", value="Class")


def _untracked(company: Company, doc: Doc) -> None:
    """What the company does not track is not kept: locations, classes by transaction, classes by line."""
    tracks = company.preferences["AccountingInfoPrefs"]
    if "DepartmentRef" in doc and not tracks.get("TrackDepartments"):
        del doc["DepartmentRef"]
    if PLANS.index(company.plan) < PLANS.index("plus"):
        return  # refused, not left out
    if "ClassRef" in doc and not tracks.get("ClassTrackingPerTxn"):
        del doc["ClassRef"]
    if tracks.get("ClassTrackingPerTxnLine"):
        return
    for line in doc.get("Line", ()):
        detail = line.get(line.get("DetailType", ""))
        if isinstance(detail, dict):
            detail.pop("ClassRef", None)


def check_currency(change: Change) -> None:
    company, doc = change.company, change.doc
    currency = doc.get("CurrencyRef")
    home = company.preference("CurrencyPrefs", "HomeCurrency")["value"]
    if not currency:
        needed = change.entity.group == "txn" and "CurrencyRef" in change.entity.props and change.old is None
        if needed and not change.options.person and company.preference("CurrencyPrefs", "MultiCurrencyEnabled"):
            raise Fault("2020", element="CurrencyRef")
        return
    code = currency["value"]
    if code == home:
        doc["CurrencyRef"] = {"value": home, "name": currency.get("name", home)}
        return
    if not company.preference("CurrencyPrefs", "MultiCurrencyEnabled"):
        raise Fault("2220", element="CurrencyRef", value=code)
    if not any(row["Code"] == code and row.get("Active", True) for row in company.rows("CompanyCurrency")):
        raise Fault("2220", element="CurrencyRef", value=code)
    doc.setdefault("ExchangeRate", Decimal(1))


WARNINGS = {
    "Invoice": "WarnDuplicateInvoiceNumber",
    "Estimate": "WarnDuplicateInvoiceNumber",
    "CreditMemo": "WarnDuplicateInvoiceNumber",
    "SalesReceipt": "WarnDuplicateInvoiceNumber",
    "RefundReceipt": "WarnDuplicateInvoiceNumber",
    "Bill": "WarnDuplicateBillNumber",
    "VendorCredit": "WarnDuplicateBillNumber",
    "Purchase": "WarnDuplicateCheckNumber",
    "BillPayment": "WarnDuplicateCheckNumber",
    "JournalEntry": "WarnDuplicateJournalNumber",
    "PurchaseOrder": "WarnDuplicateBillNumber",
}


def _doc_number(change: Change) -> None:
    """DocNumber by preference: given or empty with custom numbers, last + 1 without; 6140 for a duplicate."""
    company, doc, old, kind = change.company, change.doc, change.old, change.entity.kind
    given = doc.get("DocNumber")
    if given is None:
        if change.old is not None and not _custom_numbers(company, kind) and old:
            if old.get("DocNumber"):
                doc["DocNumber"] = old["DocNumber"]
        elif change.old is None and (
            (kind in (*SALES_KINDS, "PurchaseOrder") and not _custom_numbers(company, kind))
            or (kind == "JournalEntry" and "allowautodocnum" in change.options.include)
        ):
            number = company.last_number.get("sales" if kind in SALES_KINDS else kind, 1036) + 1
            company.last_number["sales" if kind in SALES_KINDS else kind] = number
            doc["DocNumber"] = str(number)
        return
    if given == "":
        del doc["DocNumber"]  # empty is not "omitted": the document gets no number
        return
    if old is not None and old.get("DocNumber") == given:
        return
    if "allowduplicatedocnum" in change.options.include or not company.warns(WARNINGS.get(kind, "")):
        return
    if kind in SALES_KINDS and not _custom_numbers(company, kind):
        return  # without custom numbers a number sent is kept and may be a duplicate
    for doc_id in company.doc_numbers.get(kind, {}).get(folded(given), ()):
        if company.entities[kind][doc_id]["DocNumber"] == given:
            raise Fault("6140", value=given, kind=kind, id=doc_id)


def _custom_numbers(company: Company, kind: str) -> bool:
    if kind == "PurchaseOrder":
        return company.warns("VendorAndPurchasesPrefs.UseCustomTxnNumbers")
    return bool(company.preference("SalesFormsPrefs", "CustomTxnNumbers"))


def term_moved(change: Change) -> bool:
    """Whether an update moves the due date by its term; a sparse update that names DueDate means it."""
    old, new = change.old, change.doc
    return (
        old is not None
        and "DueDate" not in change.sent
        and old.get("DueDate") == new.get("DueDate")
        and (old.get("SalesTermRef") != new.get("SalesTermRef") or old.get("TxnDate") != new.get("TxnDate"))
    )


def line_amount(line: Doc, detail: Doc) -> Decimal:
    """Amount of a line, which must be Qty x UnitPrice, half up; a line of Qty 0 and UnitPrice 0 keeps its Amount."""
    quantity, price, amount = detail.get("Qty"), detail.get("UnitPrice"), line.get("Amount")
    product = cents(quantity * price) if quantity is not None and price is not None else None
    if amount is None:
        if product is None:
            raise Fault("2020", element="Line.Amount")
        amount = product
    elif product is not None and amount != product and (quantity or price):
        raise Fault("6070", element="Line.Amount", value=f"{amount.normalize():,f}")
    amount = cents(amount)
    line["Amount"] = amount
    return amount


def due_date(company: Company, day: str, term_ref: Doc | None) -> str:
    """TxnDate plus the term's days, or the term's day of the month; without a term the same day."""
    term = company.get("Term", term_ref["value"]) if term_ref else None
    if term is None:
        return day
    start = date.fromisoformat(day)
    if "DayOfMonthDue" in term:
        month_end = calendar.monthrange(start.year, start.month)[1]
        due = start.replace(day=min(term["DayOfMonthDue"], month_end))
        if due < start or (due - start).days < term.get("DueNextMonthDays", 0):
            year, month = (start.year + 1, 1) if start.month == 12 else (start.year, start.month + 1)
            due = date(year, month, min(term["DayOfMonthDue"], calendar.monthrange(year, month)[1]))
        return due.isoformat()
    return (start + timedelta(days=term.get("DueDays", 0))).isoformat()


def role_ref(company: Company, role: str) -> dict[str, str]:
    account_id = company.roles[role]
    account = company.get("Account", account_id)
    assert account is not None
    return company.reference("Account", account_id, account)


def account_type(company: Company, reference: Doc, wanted: tuple[str, ...]) -> None:
    account = company.get("Account", reference["value"])
    if account is None or account.get("AccountType") not in wanted:
        raise Fault("6430", value=f"Expected one of: {', '.join(wanted)}.")


def no_control_account(company: Company, reference: Doc) -> None:
    """Only invoices, bills, payments and journals with a name may post to receivables and payables."""
    account = company.get("Account", reference["value"])
    if account is not None and account.get("AccountType") in ("Accounts Receivable", "Accounts Payable"):
        raise Fault("6430", value="Accounts Receivable and Accounts Payable cannot be used here.")


def amount_applied(doc: Doc | None) -> Decimal:
    """How much of a bill, vendor credit or credit memo is used up."""
    if doc is None:
        return ZERO
    rest = doc.get("RemainingCredit", doc.get("Balance", doc["TotalAmt"]))
    return Decimal(doc["TotalAmt"] - rest)


def amount_paid(invoice: Doc) -> Decimal:
    return Decimal(invoice["TotalAmt"] - invoice.get("Deposit", ZERO) - invoice["Balance"])


def check_owner(change: Change) -> None:
    """What is paid, or pays, keeps its customer or vendor: money would move between names without a posting."""
    old = change.old
    if old is None or not any(t["TxnType"] in ("Payment", "BillPaymentCheck") for t in old.get("LinkedTxn", ())):
        return
    for name in ("CustomerRef", "VendorRef"):
        if name in old and (change.doc.get(name) or {}).get("value") != old[name]["value"]:
            raise Fault(
                "6000", detail=f"Business Validation Error: {name} cannot change while payments are linked. Unlink them first."
            )


def check_settled(company: Company, doc: Doc, operation: str, options: Options) -> None:
    """Transactions that are matched in the bank feed or processed by merchant services cannot be changed."""
    if options.person:
        return
    if doc["Id"] in company.matched and operation != "update":
        raise Fault("6450" if operation == "void" else "6480")
    if doc.get("ProcessPayment") is True and operation != "void":
        raise Fault("6110" if operation == "update" else "6120")
