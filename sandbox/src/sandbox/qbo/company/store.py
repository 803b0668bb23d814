"""One company's state: documents, indexes, change log. It owns consistency of the indexes and knows no HTTP and no rules.

What others build on (stable interface):

* `Doc` is a plain dict in API shape (`{"Id": "17", "SyncToken": "0", "MetaData": {...}, "Line": [...], ...}`). Every
  amount, quantity, price, rate and percentage in it is a `Decimal`; dates are `YYYY-MM-DD` text; references are
  `{"value": "<Id>", "name": "..."}`. **A stored Doc is never changed in place**: an update stores a new dict, so a
  listener may keep what it got. Read-only fields the server computes (`TotalAmt`, `Balance`, `UnappliedAmt`,
  `RemainingCredit`, `LinkedTxn`, `TxnTaxDetail`, `DueDate`, `FullyQualifiedName`, ...) are filled before a document is stored.
* `company.entities[kind][Id] -> Doc` for every kind of `schema.KINDS` ("Invoice", "Bill", "Customer", "Account", ...).
* `company.subscribe(listener)`, where `listener(kind: str, old: Doc | None, new: Doc | None) -> None` is called after
  each committed change, in order: create `(kind, None, new)`, update, void and link `(kind, old, new)`, delete
  `(kind, old, None)`. A void stores the document with amounts 0 (and "Voided" in PrivateNote); a payment against an
  invoice also gives `("Invoice", old, new)` with another Balance, LinkedTxn and SyncToken. It must not raise.
* `company.roles[role] -> account Id` for the accounts that postings need and documents do not name: "receivable",
  "payable", "undeposited", "tax_payable", "retained_earnings", "opening_balance", "discounts", "shipping", "checking", "sales",
  "services", "inventory_asset", "cogs", "uncategorized_income", "uncategorized_expense", "unapplied", "credit_card".
* `company.decorators[kind] = fn(doc) -> doc`: applied (on a copy) to each document of that kind when it is read through the
  API. The books set `decorators["Account"]` to fill `CurrentBalance` and `CurrentBalanceWithSubAccounts`, and may set
  `decorators["Item"]` (QtyOnHand). Customer and Vendor `Balance` are kept by the store itself (`company.open_balance`).
* `company.today()` is the company's date as text; `company.clock.now()` seconds since the epoch; `company.preferences`
  is the stored Preferences Doc; `company.closing_date` is the book-close date or None; `company.plan` is
  "simple_start" | "essentials" | "plus" | "advanced".

The books (`books.ledger.attach`) subscribe to each new or restored company while it is still empty, before the seed data; on
restore every document is replayed through the listeners as `(kind, None, doc)` in change order.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from sandbox.qbo.company.clock import Clock, epoch_of, pacific, pacific_date

Doc = dict[str, Any]
Listener = Callable[[str, Doc | None, Doc | None], None]
Decorator = Callable[[Doc], Doc]
ZERO = Decimal(0)

PAYING_KINDS = ("Payment", "BillPayment")  # posted by what they pay, so that must be there first
NAME_KINDS = ("Customer", "Vendor", "Employee")
TXN_KINDS = (
    "Invoice",
    "Bill",
    "Payment",
    "BillPayment",
    "CreditMemo",
    "Estimate",
    "SalesReceipt",
    "RefundReceipt",
    "Purchase",
    "VendorCredit",
    "PurchaseOrder",
    "Deposit",
    "Transfer",
    "JournalEntry",
    "TimeActivity",
)


@dataclass(frozen=True, slots=True)
class Event:
    """One change as webhooks and the request log see it. `op` is Create, Update, Delete, Merge, Void or Emailed."""

    realm_id: str
    kind: str
    id: str
    op: str
    epoch: float
    deleted_id: str | None = None


TAX_IDENTIFIERS = ("TaxIdentifier", "PrimaryTaxIdentifier")


def masked(identifier: str) -> str:
    """A tax number as readers see it: only its last four characters."""
    return "X" * (len(identifier) - 4) + identifier[-4:]


def _change(old: Doc | None, doc: Doc) -> str:
    """The operation as reported by webhooks: a list entry that is made inactive counts as deleted."""
    if old is None:
        return "Create"
    return "Delete" if old.get("Active") is True and doc.get("Active") is False else "Update"


class Company:
    """State of one realm. All methods are synchronous: what one call does is atomic."""

    def __init__(self, realm_id: str, *, plan: str = "plus", clock: Clock | None = None, seed: int = 0) -> None:
        self.realm_id = realm_id
        self.plan = plan
        self.seed = seed
        self.clock = clock or Clock()
        self.random = random.Random(f"{seed}:{realm_id}")
        self.name = f"Sandbox Company {realm_id[-4:]}"
        self.entities: dict[str, dict[str, Doc]] = {}
        self.stubs: dict[str, dict[str, Doc]] = {}
        self.names: dict[str, tuple[str, str]] = {}  # folded display name -> (kind, Id), across the three name lists
        self.list_names: dict[str, dict[str, str]] = {}  # kind -> folded fully qualified name -> Id
        self.doc_numbers: dict[str, dict[str, list[str]]] = {}
        self.touched: dict[str, dict[str, float]] = {}  # kind -> Id -> epoch of the last change, oldest first
        self.roles: dict[str, str] = {}
        self.open_balance: dict[tuple[str, str], Decimal] = {}
        self.decorators: dict[str, Decorator] = {}
        self.listeners: list[Listener] = []
        self.event_sinks: list[Callable[[Event], None]] = []
        self.sequences: dict[str, int] = {}
        self.last_number: dict[str, int] = {}
        self.files: dict[str, bytes] = {}
        self.wanted_id: str | None = None  # the control API loads a document with its own Id
        self.subscription_ended = False
        self.subscription_status = 200  # HTTP status of 6190, which was seen with 200
        self.online_payments = False
        self.gate = ""  # a fault code that every call gets: 120, 130, 140, 150, 10200; 5020 for writes only
        self.matched: set[str] = set()  # Ids of transactions that a person matched in the bank feed
        self.country = "US"
        self.automated_tax = False  # the items decide which lines are taxed, not their TaxCodeRef
        self.close_balance = False  # refuse (6220) to make a customer with an open balance inactive
        self.closing_password = True  # the books are closed with a password (6210) or without (6200)
        self.largest_result = 0  # a query that finds more documents gets 10100; 0: no such limit
        self.name_detail = 1.0  # share of 6240 answers whose Detail names the holder instead of ": null"
        self.mails_sent: dict[str, int] = {}
        self.changes = 0
        # Stale reads: what queries still see for a time; filled only while a fault rule asks for it.
        self.stale_seconds = 0.0
        self.past: dict[tuple[str, str], tuple[float, Doc | None]] = {}
        self._references: dict[tuple[str, str], tuple[Doc, dict[str, str]]] = {}

    # -- reading ---------------------------------------------------------------------------------------------------

    def today(self) -> str:
        """The company's current date."""
        return pacific_date(self.clock.now())

    def get(self, kind: str, doc_id: str) -> Doc | None:
        """The stored document, or None."""
        return self.entities.get(kind, {}).get(doc_id)

    def rows(self, kind: str) -> Iterable[Doc]:
        """All documents of a kind, in order of creation."""
        return self.entities.get(kind, {}).values()

    def reference(self, kind: str, doc_id: str, doc: Doc) -> dict[str, str]:
        """`{"value", "name"}` of a document; one shared dict for each version of it, as thousands of documents hold it."""
        known = self._references.get((kind, doc_id))
        if known is not None and known[0] is doc:
            return known[1]
        name = doc.get("DisplayName") or doc.get("FullyQualifiedName") or doc.get("Name") or ""
        made = {"value": doc_id, "name": name}
        self._references[(kind, doc_id)] = (doc, made)
        return made

    def warns(self, name: str) -> bool:
        """A yes/no preference that lives in OtherPrefs.NameValue."""
        for pair in self.preference("OtherPrefs", "NameValue") or ():
            if pair.get("Name") == name:
                return str(pair.get("Value")).lower() == "true"
        return False

    @property
    def preferences(self) -> Doc:
        """The stored Preferences document."""
        return next(iter(self.entities["Preferences"].values()))

    def preference(self, group: str, name: str) -> Any:
        """One preference, None where unset."""
        return self.preferences.get(group, {}).get(name)

    @property
    def closing_date(self) -> str | None:
        """Books are closed up to and including this date."""
        value = self.preference("AccountingInfoPrefs", "BookCloseDate")
        return str(value) if value else None

    def present(self, kind: str, doc: Doc) -> Doc:
        """The document as a reader sees it: decorated, balances filled."""
        if kind in ("Customer", "Vendor"):
            balance = self.open_balance.get((kind, doc["Id"]), ZERO)
            doc = {**doc, "Balance": balance}
            for name in TAX_IDENTIFIERS:
                if name in doc:
                    doc[name] = masked(doc[name])
            if kind == "Customer":
                doc["BalanceWithJobs"] = balance + self._jobs_balance(doc["Id"])
        decorate = self.decorators.get(kind)
        return decorate(dict(doc)) if decorate else doc

    def _jobs_balance(self, customer_id: str) -> Decimal:
        children = self.list_children.get(customer_id)
        if not children:
            return ZERO
        return sum((self.open_balance.get(("Customer", c), ZERO) + self._jobs_balance(c) for c in children), ZERO)

    @property
    def list_children(self) -> dict[str, list[str]]:
        """Customer Id -> Ids of its sub-customers (computed: few companies have any)."""
        tree: dict[str, list[str]] = {}
        if self.sequences.get("jobs"):
            for doc in self.rows("Customer"):
                parent = doc.get("ParentRef")
                if parent:
                    tree.setdefault(parent["value"], []).append(doc["Id"])
        return tree

    # -- writing ---------------------------------------------------------------------------------------------------

    def subscribe(self, listener: Listener) -> None:
        """Have `listener(kind, old, new)` called after each committed change."""
        self.listeners.append(listener)

    def on_change(self, kind: str, old: Doc | None, new: Doc | None) -> None:
        """Notify the listeners. Called by the methods below, and by a merge, which moves documents without changing them."""
        for listener in self.listeners:
            listener(kind, old, new)

    def new_id(self, kind: str) -> str:
        """The next free Id. Transactions share one sequence, so do the three name lists."""
        if self.wanted_id is not None:
            wanted, self.wanted_id = self.wanted_id, None
            return wanted
        if kind in TXN_KINDS:
            sequence, start = "txn", 100
        elif kind in NAME_KINDS:
            sequence, start = "names", 100
        else:
            sequence, start = kind, 100
        taken = self.entities.get(kind, {})
        number = self.sequences.get(sequence, start)
        while str(number) in taken:
            number += 1
        self.sequences[sequence] = number + 1
        return str(number)

    def put(self, kind: str, doc: Doc, op: str | None = None, *, quiet: bool = False) -> Doc:
        """Store a new document or a new version; `op` names the event (default Create or Update)."""
        table = self.entities.setdefault(kind, {})
        doc_id = doc["Id"]
        old = table.get(doc_id)
        table[doc_id] = doc
        self._reindex(kind, old, doc)
        self._touch(kind, doc_id, old, epoch_of(doc["MetaData"]["LastUpdatedTime"]))
        self.on_change(kind, old, doc)
        if not quiet:
            self._emit(kind, doc_id, op or _change(old, doc))
        return doc

    def remove(self, kind: str, doc_id: str) -> Doc:
        """Delete a document; its stub stays for change data capture. Its DocNumber is free again."""
        old = self.entities[kind].pop(doc_id)
        now = self.clock.now()
        self._reindex(kind, old, None)
        stub = {"domain": "QBO", "status": "Deleted", "Id": doc_id, "MetaData": {"LastUpdatedTime": pacific(now)}}
        self.stubs.setdefault(kind, {})[doc_id] = stub
        self._touch(kind, doc_id, old, now)
        self.on_change(kind, old, None)
        self._emit(kind, doc_id, "Delete")
        return old

    def emit(self, kind: str, doc_id: str, op: str, deleted_id: str | None = None) -> None:
        """Announce something that is no plain put or remove (Emailed, Merge)."""
        self._emit(kind, doc_id, op, deleted_id)

    def _emit(self, kind: str, doc_id: str, op: str, deleted_id: str | None = None) -> None:
        if self.event_sinks:
            event = Event(self.realm_id, kind, doc_id, op, self.clock.now(), deleted_id)
            for sink in self.event_sinks:
                sink(event)

    def _touch(self, kind: str, doc_id: str, old: Doc | None, epoch: float) -> None:
        order = self.touched.setdefault(kind, {})
        order.pop(doc_id, None)  # re-inserted at the end, so the dict stays ordered by change
        order[doc_id] = epoch
        self.changes += 1
        if self.stale_seconds:
            now = self.clock.now()
            seen = self.past.get((kind, doc_id))
            if seen is None or seen[0] + self.stale_seconds < now:
                self.past[(kind, doc_id)] = (now, old)

    def _reindex(self, kind: str, old: Doc | None, new: Doc | None) -> None:
        if kind in NAME_KINDS:
            self._index_name(kind, old, new)
        elif "Name" in (new or old or {}):
            index = self.list_names.setdefault(kind, {})
            if old is not None:
                index.pop(folded(old.get("FullyQualifiedName") or old["Name"]), None)
            if new is not None:
                index[folded(new.get("FullyQualifiedName") or new["Name"])] = new["Id"]
        else:
            self._index_number(kind, old, new)
            self._track_balance(kind, old, new)

    def _index_name(self, kind: str, old: Doc | None, new: Doc | None) -> None:
        if old is not None:
            self.names.pop(folded(old["DisplayName"]), None)
        if new is not None:
            self.names[folded(new["DisplayName"])] = (kind, new["Id"])
            if kind == "Customer" and new.get("ParentRef"):
                self.sequences["jobs"] = 1

    def _index_number(self, kind: str, old: Doc | None, new: Doc | None) -> None:
        before = old.get("DocNumber") if old else None
        after = new.get("DocNumber") if new else None
        if before == after:
            return
        index = self.doc_numbers.setdefault(kind, {})
        if before and old:
            ids = index.get(folded(before), [])
            if old["Id"] in ids:
                ids.remove(old["Id"])
            if not ids:
                index.pop(folded(before), None)
        if after and new:
            index.setdefault(folded(after), []).append(new["Id"])

    def _track_balance(self, kind: str, old: Doc | None, new: Doc | None) -> None:
        for doc, sign in ((old, -1), (new, 1)):
            if doc is None:
                continue
            for owner, amount in owed(self, kind, doc):
                if amount:
                    self.open_balance[owner] = self.open_balance.get(owner, ZERO) + sign * amount

    # -- stale reads -----------------------------------------------------------------------------------------------

    def seen(self, kind: str) -> Iterable[Doc]:
        """Documents of a kind as a query sees them: the past, for documents changed within `stale_seconds`."""
        if not self.stale_seconds or not self.past:
            return self.rows(kind)
        horizon = self.clock.now() - self.stale_seconds
        table = dict(self.entities.get(kind, {}))
        for (past_kind, doc_id), (when, doc) in list(self.past.items()):
            if when < horizon:
                del self.past[(past_kind, doc_id)]
            elif past_kind == kind:
                if doc is None:
                    table.pop(doc_id, None)
                else:
                    table[doc_id] = doc
        return table.values()


def folded(name: str) -> str:
    """Names are compared without regard to case and outer blanks."""
    return name.strip().casefold()


def owed(company: Company, kind: str, doc: Doc) -> list[tuple[tuple[str, str], Decimal]]:
    """Whose open balance a document moves, and by how much (positive: the customer owes us, we owe the vendor)."""
    if kind == "Invoice":
        return [(("Customer", doc["CustomerRef"]["value"]), doc.get("Balance", ZERO))]
    if kind == "CreditMemo":
        return [(("Customer", doc["CustomerRef"]["value"]), -doc.get("RemainingCredit", ZERO))]
    if kind == "Payment":
        return [(("Customer", doc["CustomerRef"]["value"]), -doc.get("UnappliedAmt", ZERO) - _on_journals(doc))]
    if kind == "Bill":
        return [(("Vendor", doc["VendorRef"]["value"]), doc.get("Balance", ZERO))]
    if kind == "VendorCredit":
        return [(("Vendor", doc["VendorRef"]["value"]), -doc.get("Balance", ZERO))]
    if kind == "BillPayment":
        return [(("Vendor", doc["VendorRef"]["value"]), -_on_journals(doc))]
    if kind == "JournalEntry":
        return list(_owed_by_journal(company, doc))
    return []


def _on_journals(doc: Doc) -> Decimal:
    """Part of a payment that pays journal lines, which have no Balance."""
    return sum(
        (
            line["Amount"]
            for line in doc.get("Line", ())
            if any(
                link.get("TxnType") not in ("Invoice", "CreditMemo", "Bill", "VendorCredit")
                for link in line.get("LinkedTxn") or ()
            )
        ),
        ZERO,
    )


def _owed_by_journal(company: Company, doc: Doc) -> Iterable[tuple[tuple[str, str], Decimal]]:
    for line in doc.get("Line", ()):
        detail = line.get("JournalEntryLineDetail")
        account = company.get("Account", detail["AccountRef"]["value"]) if detail else None
        kind = (account or {}).get("AccountType")
        if not detail or kind not in ("Accounts Receivable", "Accounts Payable"):
            continue
        sign = 1 if (detail["PostingType"] == "Debit") == (kind == "Accounts Receivable") else -1
        entity = detail["Entity"]
        yield (entity["Type"], entity["EntityRef"]["value"]), sign * line["Amount"]


# How a company was set to behave; part of its state like its documents.
SETTINGS = (
    "subscription_status",
    "online_payments",
    "gate",
    "country",
    "automated_tax",
    "close_balance",
    "closing_password",
    "largest_result",
    "name_detail",
    "mails_sent",
)


def snapshot(company: Company) -> dict[str, Any]:
    """Everything needed to build the company again; Docs are shared, not copied."""
    return {
        "realm_id": company.realm_id,
        "plan": company.plan,
        "seed": company.seed,
        "name": company.name,
        "entities": company.entities,
        "stubs": company.stubs,
        "touched": company.touched,
        "roles": company.roles,
        "sequences": company.sequences,
        "last_number": company.last_number,
        "files": company.files,
        "subscription_ended": company.subscription_ended,
        "matched": company.matched,
        "random": company.random.getstate(),
        "settings": {name: getattr(company, name) for name in SETTINGS},
    }


def restore(company: Company, state: dict[str, Any]) -> None:
    """Fill an empty company from `snapshot`; every document goes through the listeners again, lists before transactions."""
    company.name = state["name"]
    company.roles = dict(state["roles"])
    company.sequences = dict(state["sequences"])
    company.last_number = dict(state["last_number"])
    company.files = dict(state["files"])
    company.subscription_ended = bool(state["subscription_ended"])
    company.matched = set(state.get("matched", ()))
    company.random.setstate(state["random"])
    for name, value in state.get("settings", {}).items():
        setattr(company, name, value)
    entities: dict[str, dict[str, Doc]] = state["entities"]
    for kind in sorted(entities, key=lambda k: (k in TXN_KINDS, k in PAYING_KINDS, list(entities).index(k))):
        for doc in entities[kind].values():
            company.put(kind, doc, quiet=True)
    company.stubs = {kind: dict(rows) for kind, rows in state["stubs"].items()}
    company.touched = {kind: dict(rows) for kind, rows in state["touched"].items()}
    company.past = {}


def broken_indexes(company: Company) -> list[str]:
    """Inconsistencies between the documents and the store's indexes; [] if there are none."""
    found = []
    for kind, index in company.doc_numbers.items():
        for number, ids in index.items():
            found += [
                f"{kind} number {number} points to {i}"
                for i in ids
                if folded((company.get(kind, i) or {}).get("DocNumber", "")) != number
            ]
    for name, (kind, doc_id) in company.names.items():
        doc = company.get(kind, doc_id)
        if doc is None or folded(doc["DisplayName"]) != name:
            found.append(f"name index: {kind} {doc_id}")
    expected: dict[tuple[str, str], Decimal] = {}
    for kind in TXN_KINDS:
        for doc in company.rows(kind):
            for owner, amount in owed(company, kind, doc):
                expected[owner] = expected.get(owner, ZERO) + amount
    for owner in {*expected, *company.open_balance}:
        if expected.get(owner, ZERO) != company.open_balance.get(owner, ZERO):
            found.append(
                f"open balance of {owner[0]} {owner[1]}: {company.open_balance.get(owner, ZERO)} "
                f"instead of {expected.get(owner, ZERO)}"
            )
    return found
