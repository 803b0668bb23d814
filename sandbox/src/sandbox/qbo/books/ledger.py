"""The double-entry ledger of one company: it turns stored documents into postings and keeps account balances and sub-ledgers.

It owns postings and nothing else. Balance, UnappliedAmt, RemainingCredit and LinkedTxn of documents belong to the write
rules; `audit.py` proves that they agree with the postings.

A posting is a plain tuple `(account Id, cents, name key, line)`: cents are positive for a debit, the name key is "" or
"Customer:<Id>" / "Vendor:<Id>" / "Employee:<Id>", line is the index in the document's Line list (-1: from its header).
Plain tuples of atoms leave the garbage collector's lists and cost about 90 bytes, which matters at 100,000 documents.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from typing import Any

from sandbox.qbo.books.amounts import DEBIT_TYPES, PAYABLE, PROFIT_TYPES, RECEIVABLE, Posting, cents_of, links_of, money
from sandbox.qbo.company.store import ZERO, Company, Doc
from sandbox.qbo.rules.vat import COUNTRIES

# An update that touches only these moves no money: a payment rewrites an invoice's Balance, a send its EmailStatus.
QUIET_FIELDS = frozenset(
    {
        *("Balance", "HomeBalance", "LinkedTxn", "SyncToken", "MetaData", "EmailStatus", "BillEmail", "DeliveryInfo"),
        *("UnappliedAmt", "RemainingCredit", "PrivateNote", "CustomerMemo", "DocNumber", "DueDate", "PrintStatus"),
        *("InvoiceLink", "TxnDate", "sparse", "TxnStatus", "POStatus", "Memo"),
    }
)


@dataclass(slots=True)
class ItemAccounts:
    """What postings need to know of an item."""

    income: str
    expense: str
    asset: str
    stocked: bool
    cost: Decimal


def _value(ref: Any) -> str:
    return str(ref["value"]) if ref else ""


class Books:
    """Postings of one company, kept in step with its documents by `on_change`; never raises from there."""

    def __init__(self, company: Company) -> None:
        self._company = weakref.ref(company)  # the registry is keyed weakly by company: a strong one would keep it alive
        self.journal: dict[str, dict[str, tuple[Posting, ...]]] = {}
        self.balance: dict[str, int] = {}
        self.subledger: dict[tuple[str, str], int] = {}  # (control account Id, name key) -> cents
        self.types: dict[str, str] = {}
        self.control: set[str] = set()
        self.items: dict[str, ItemAccounts] = {}
        self.stock: dict[str, Decimal] = {}  # item Id -> quantity on hand, for stocked items
        self.moves: dict[tuple[str, str], tuple[tuple[str, Decimal], ...]] = {}
        self.problems: dict[tuple[str, str], str] = {}
        self._keys: dict[tuple[str, str], str] = {}
        self._makers: dict[str, Callable[[Doc], list[Posting]]] = {
            "Invoice": self._invoice,
            "CreditMemo": self._credit_memo,
            "SalesReceipt": self._sales_receipt,
            "RefundReceipt": self._refund_receipt,
            "Payment": self._payment,
            "Bill": self._bill,
            "VendorCredit": self._vendor_credit,
            "BillPayment": self._bill_payment,
            "Purchase": self._purchase,
            "Deposit": self._deposit,
            "Transfer": self._transfer,
            "JournalEntry": self._journal_entry,
            "Item": self._item_opening,
            "Account": self._account_opening,
        }

    @property
    def company(self) -> Company:
        """The company these books belong to."""
        company = self._company()
        if company is None:
            raise ReferenceError("the company of these books is gone")
        return company

    # -- keeping in step -------------------------------------------------------------------------------------------

    def on_change(self, kind: str, old: Doc | None, new: Doc | None) -> None:
        """Listener of `Company.subscribe`: reverse the old postings, post the new ones."""
        if kind not in self._makers:
            return
        if kind == "Account":
            self._learn_account(new)
        elif kind == "Item":
            self._learn_item(new)
        if old is not None and new is not None and not _moves_money(old, new):
            return
        if new is None:
            self._post(kind, (old or {})["Id"], None)
        else:
            self._post(kind, new["Id"], new)

    def _post(self, kind: str, doc_id: str, doc: Doc | None) -> None:
        postings: tuple[Posting, ...] = ()
        moves: list[tuple[str, Decimal]] = []
        problem = ""
        if doc is not None:
            try:
                postings = tuple(self._makers[kind](doc))
                moves = self._stock_moves(kind, doc)
            except (ArithmeticError, KeyError, TypeError, ValueError, AttributeError) as error:
                problem = f"{kind} {doc_id} could not be posted: {error!r}"
            difference = 0
            for posting in postings:
                difference += posting[1]
            if difference:
                problem = f"{kind} {doc_id}: debits and credits differ by {money(difference)}"
        self._replace(kind, doc_id, postings)
        self._move_stock(kind, doc_id, moves)
        if problem:
            self.problems[(kind, doc_id)] = problem
        elif self.problems:
            self.problems.pop((kind, doc_id), None)

    def _replace(self, kind: str, doc_id: str, postings: tuple[Posting, ...]) -> None:
        table = self.journal.get(kind)
        if table is None:
            table = self.journal[kind] = {}
        before = table.get(doc_id)
        if before is not None:
            self._add(before, -1)
        if postings:
            self._add(postings, 1)
            table[doc_id] = postings
        elif before is not None:
            del table[doc_id]

    def _add(self, postings: tuple[Posting, ...], sign: int) -> None:
        balance, control = self.balance, self.control
        for account, cents, name, _line in postings:
            balance[account] = balance.get(account, 0) + sign * cents
            if account in control:
                key = (account, name)
                self.subledger[key] = self.subledger.get(key, 0) + sign * cents

    def _learn_account(self, new: Doc | None) -> None:
        if new is None:
            return
        self.types[new["Id"]] = new.get("AccountType", "")
        if new.get("AccountType") in (RECEIVABLE, PAYABLE):
            self.control.add(new["Id"])

    def _learn_item(self, new: Doc | None) -> None:
        if new is None:
            return
        known = self.items.get(new["Id"])
        self.items[new["Id"]] = item = ItemAccounts(
            income=_value(new.get("IncomeAccountRef")),
            expense=_value(new.get("ExpenseAccountRef")),
            asset=_value(new.get("AssetAccountRef")),
            stocked=new.get("Type") == "Inventory" and bool(new.get("AssetAccountRef")),
            cost=new.get("PurchaseCost") or ZERO,
        )
        if known is not None and known != item:
            self._post_again(new["Id"])

    def _post_again(self, item_id: str) -> None:
        """Post every document that names the item once more.

        An item's new account or cost also changes its history ("also update this account in historical transactions"), so
        that the books stay a function of the stored documents and a restored snapshot has the same books.
        """
        for kind in STOCK_SIGN:
            for doc in self.company.rows(kind):
                if any(used == item_id for used, _ in self._line_items(doc.get("Line") or ())):
                    self._post(kind, doc["Id"], doc)

    # -- helpers for the makers ------------------------------------------------------------------------------------

    def _role(self, role: str) -> str:
        return self.company.roles[role]

    def _name(self, kind: str, ref: Any) -> str:
        if not ref:
            return ""
        key = (kind, ref["value"])
        found = self._keys.get(key)
        if found is None:
            found = self._keys[key] = f"{kind}:{ref['value']}"
        return found

    def _entity_name(self, entity: Any) -> str:
        """Name key of `{type|Type, value}` or `{Type, EntityRef: {...}}`; both spellings occur in the wild."""
        if not entity:
            return ""
        ref = entity.get("EntityRef") or entity
        kind = entity.get("Type") or entity.get("type") or ref.get("type") or ""
        return self._name(kind, ref) if kind and ref.get("value") else ""

    def _item(self, ref: Any) -> ItemAccounts | None:
        return self.items.get(ref["value"]) if ref else None

    # -- sales -----------------------------------------------------------------------------------------------------

    def _sales_lines(self, doc: Doc, name: str, sign: int) -> list[Posting]:
        """Credits of a sales form (sign 1) or its mirror image (sign -1): income, discount, tax, cost of goods."""
        out: list[Posting] = []
        for index, line in enumerate(doc.get("Line") or ()):
            self._sales_line(line, name, sign, index, out)
        tax = (doc.get("TxnTaxDetail") or {}).get("TotalTax")
        if tax:
            out.append((self._role("tax_payable"), -sign * cents_of(tax), name, -1))
        return out

    def _sales_line(self, line: Doc, name: str, sign: int, index: int, out: list[Posting]) -> None:
        detail = line.get("DetailType")
        amount = line.get("Amount")
        if detail == "SalesItemLineDetail":
            body = line.get("SalesItemLineDetail") or {}
            ref = body.get("ItemRef")
            item = self._item(ref)
            if amount:
                account = (item.income if item else "") or self._fallback_income(ref, body)
                out.append((account, -sign * cents_of(amount), name, index))
            if item is not None and item.stocked and item.cost and body.get("Qty"):
                cost = cents_of(item.cost * body["Qty"])
                if cost:
                    out.append((item.expense or self._role("cogs"), sign * cost, name, index))
                    out.append((item.asset, -sign * cost, name, index))
        elif detail == "DiscountLineDetail":
            if amount:
                body = line.get("DiscountLineDetail") or {}
                account = _value(body.get("DiscountAccountRef")) or self._role("discounts")
                out.append((account, sign * cents_of(amount), name, index))
        elif detail == "GroupLineDetail":
            rest = amount or ZERO
            for inner in (line.get("GroupLineDetail") or {}).get("Line") or ():
                self._sales_line(inner, name, sign, index, out)
                rest -= inner.get("Amount") or ZERO
            if rest:  # a bundle counts by its own Amount; what its parts do not explain is plain sales
                out.append((self._role("sales"), -sign * cents_of(rest), name, index))

    def _fallback_income(self, ref: Any, body: Doc) -> str:
        if ref and ref["value"] == "SHIPPING_ITEM_ID":
            return self._role("shipping")
        return _value(body.get("ItemAccountRef")) or self._role("uncategorized_income" if ref else "sales")

    def _invoice(self, doc: Doc) -> list[Posting]:
        name = self._name("Customer", doc.get("CustomerRef"))
        total = cents_of(doc["TotalAmt"])
        deposit = cents_of(doc.get("Deposit") or ZERO)
        receivable = _value(doc.get("ARAccountRef")) or self._role("receivable")
        out: list[Posting] = [(receivable, total - deposit, name, -1)] if total != deposit else []
        if deposit:
            out.append((_value(doc.get("DepositToAccountRef")) or self._role("undeposited"), deposit, name, -1))
        out += self._sales_lines(doc, name, 1)
        return _settled(out)

    def _credit_memo(self, doc: Doc) -> list[Posting]:
        name = self._name("Customer", doc.get("CustomerRef"))
        total = cents_of(doc["TotalAmt"])
        receivable = _value(doc.get("ARAccountRef")) or self._role("receivable")
        out: list[Posting] = [(receivable, -total, name, -1)] if total else []
        out += self._sales_lines(doc, name, -1)
        return _settled(out)

    def _sales_receipt(self, doc: Doc) -> list[Posting]:
        return self._paid_sale(doc, 1)

    def _refund_receipt(self, doc: Doc) -> list[Posting]:
        return self._paid_sale(doc, -1)

    def _paid_sale(self, doc: Doc, sign: int) -> list[Posting]:
        name = self._name("Customer", doc.get("CustomerRef"))
        total = cents_of(doc["TotalAmt"])
        account = _value(doc.get("DepositToAccountRef")) or self._role("undeposited")
        out: list[Posting] = [(account, sign * total, name, -1)] if total else []
        out += self._sales_lines(doc, name, sign)
        return _settled(out)

    def _payment(self, doc: Doc) -> list[Posting]:
        total = cents_of(doc["TotalAmt"])
        name = self._name("Customer", doc.get("CustomerRef"))
        account = _value(doc.get("DepositToAccountRef")) or self._role("undeposited")
        receivable = _value(doc.get("ARAccountRef")) or self._role("receivable")
        credited = {name: total}
        for link in links_of(doc):  # a parent may pay for its jobs: what it pays is credited to whose document it is
            target = self.company.get(link.kind, link.target) if link.kind in ("Invoice", "CreditMemo") else None
            owner = self._name("Customer", target.get("CustomerRef")) if target else name
            if owner != name:
                taken = cents_of(link.taken)
                credited[owner] = credited.get(owner, 0) + taken
                credited[name] -= taken
        out: list[Posting] = [(account, total, name, -1)] if total else []
        return out + [(receivable, -cents, whose, -1) for whose, cents in credited.items() if cents]

    # -- purchases -------------------------------------------------------------------------------------------------

    def _expense_lines(self, doc: Doc, name: str, sign: int) -> list[Posting]:
        out: list[Posting] = []
        for index, line in enumerate(doc.get("Line") or ()):
            amount = line.get("Amount")
            if not amount:
                continue
            detail = line.get("DetailType")
            if detail == "AccountBasedExpenseLineDetail":
                account = _value((line.get(detail) or {}).get("AccountRef")) or self._role("uncategorized_expense")
            elif detail == "ItemBasedExpenseLineDetail":
                item = self._item((line.get(detail) or {}).get("ItemRef"))
                account = (item.asset if item.stocked else item.expense or item.income) if item else ""
                account = account or self._role("uncategorized_expense")
            elif detail == "DescriptionOnly":
                continue
            else:
                account = self._role("uncategorized_expense")
            out.append((account, sign * cents_of(amount), self._line_name(account, line, name), index))
        if self.company.country in COUNTRIES and (tax := (doc.get("TxnTaxDetail") or {}).get("TotalTax")):
            out.append((self._role("tax_payable"), sign * cents_of(tax), name, -1))  # what was paid in taxes is owed less
        return out  # no tax elsewhere: a US company's purchases carry it inside their lines

    def _line_name(self, account: str, line: Doc, name: str) -> str:
        """A line against accounts receivable belongs to the line's customer, everything else to the document's name."""
        if self.types.get(account) == RECEIVABLE:
            body = line.get(line.get("DetailType") or "") or {}
            return self._name("Customer", body.get("CustomerRef")) or name
        return name

    def _bill(self, doc: Doc) -> list[Posting]:
        return self._payable(doc, 1)

    def _vendor_credit(self, doc: Doc) -> list[Posting]:
        return self._payable(doc, -1)

    def _payable(self, doc: Doc, sign: int) -> list[Posting]:
        name = self._name("Vendor", doc.get("VendorRef"))
        total = cents_of(doc["TotalAmt"])
        account = _value(doc.get("APAccountRef")) or self._role("payable")
        out: list[Posting] = [(account, -sign * total, name, -1)] if total else []
        out += self._expense_lines(doc, name, sign)
        return _settled(out)

    def _bill_payment(self, doc: Doc) -> list[Posting]:
        total = cents_of(doc["TotalAmt"])
        if not total:
            return []
        name = self._name("Vendor", doc.get("VendorRef"))
        bank = _value((doc.get("CheckPayment") or {}).get("BankAccountRef"))
        card = _value((doc.get("CreditCardPayment") or {}).get("CCAccountRef"))
        account = (card or bank) if doc.get("PayType") == "CreditCard" else (bank or card)
        payable = _value(doc.get("APAccountRef")) or self._role("payable")
        return [(account or self._role("checking"), -total, name, -1), (payable, total, name, -1)]

    def _purchase(self, doc: Doc) -> list[Posting]:
        sign = -1 if doc.get("Credit") else 1  # a credit-card refund runs the other way
        name = self._entity_name(doc.get("EntityRef")) or self._untyped_name(doc.get("EntityRef"))
        total = cents_of(doc["TotalAmt"])
        out: list[Posting] = [(_value(doc["AccountRef"]), -sign * total, name, -1)] if total else []
        out += self._expense_lines(doc, name, sign)
        return _settled(out)

    def _untyped_name(self, ref: Any) -> str:
        """EntityRef without a type: the three name lists share one sequence of Ids."""
        if ref and ref.get("value"):
            for kind in ("Vendor", "Customer", "Employee"):
                if self.company.get(kind, ref["value"]) is not None:
                    return self._name(kind, ref)
        return ""

    # -- banking and journals --------------------------------------------------------------------------------------

    def _deposit(self, doc: Doc) -> list[Posting]:
        out: list[Posting] = []
        banked = 0
        for index, line in enumerate(doc.get("Line") or ()):
            cents = cents_of(line.get("Amount") or ZERO)
            if not cents:
                continue
            banked += cents
            account, name = self._deposit_source(line)
            out.append((account, -cents, name, index))
        back = doc.get("CashBack") or {}
        held = cents_of(back.get("Amount") or ZERO)
        if held:
            out.append((_value(back["AccountRef"]), held, "", -1))
        if banked - held:
            out.insert(0, (_value(doc["DepositToAccountRef"]), banked - held, "", -1))
        return out

    def _deposit_source(self, line: Doc) -> tuple[str, str]:
        """Where the deposited money comes from: the linked receipt's own account, or the named account."""
        for link in line.get("LinkedTxn") or ():
            source = self.company.get(link.get("TxnType", ""), link.get("TxnId", ""))
            if source is not None:
                account = _value(source.get("DepositToAccountRef")) or self._role("undeposited")
                return account, self._name("Customer", source.get("CustomerRef"))
        body = line.get("DepositLineDetail") or {}
        name = self._entity_name(body.get("Entity")) or self._untyped_name(body.get("Entity"))
        return _value(body.get("AccountRef")) or self._role("undeposited"), name

    def _transfer(self, doc: Doc) -> list[Posting]:
        cents = cents_of(doc.get("Amount") or ZERO)
        if not cents:
            return []
        return [(_value(doc["ToAccountRef"]), cents, "", -1), (_value(doc["FromAccountRef"]), -cents, "", -1)]

    def _journal_entry(self, doc: Doc) -> list[Posting]:
        out: list[Posting] = []
        for index, line in enumerate(doc.get("Line") or ()):
            body = line.get("JournalEntryLineDetail")
            amount = line.get("Amount")
            if not body or not amount:
                continue
            sign = 1 if body.get("PostingType") == "Debit" else -1
            name = self._entity_name(body.get("Entity"))
            out.append((_value(body["AccountRef"]), sign * cents_of(amount), name, index))
        return _settled(out)

    # -- opening balances ------------------------------------------------------------------------------------------

    def _account_opening(self, doc: Doc) -> list[Posting]:
        """OpeningBalance of an account; those of customers and vendors are separate journal entries."""
        amount = doc.get("OpeningBalance")
        if not amount:
            return []
        cents = cents_of(amount) * (1 if doc.get("AccountType") in DEBIT_TYPES else -1)
        return [(doc["Id"], cents, "", -1), (self._role("opening_balance"), -cents, "", -1)]

    def _item_opening(self, doc: Doc) -> list[Posting]:
        item = self.items[doc["Id"]]
        quantity = doc.get("QtyOnHand")
        if not item.stocked or not quantity:
            return []
        cents = cents_of(item.cost * quantity)
        return [(item.asset, cents, "", -1), (self._role("opening_balance"), -cents, "", -1)] if cents else []

    # -- stock -----------------------------------------------------------------------------------------------------

    def _stock_moves(self, kind: str, doc: Doc) -> list[tuple[str, Decimal]]:
        """Quantities in and out of stock; empty for nearly every document, so lines are looked at only if stock exists."""
        if kind == "Item":
            item = self.items[doc["Id"]]
            return [(doc["Id"], doc["QtyOnHand"])] if item.stocked and doc.get("QtyOnHand") else []
        if not self.stock:
            return []
        sign = STOCK_SIGN.get(kind, 0)
        if kind == "Purchase" and doc.get("Credit"):
            sign = -sign
        if not sign:
            return []
        return [
            (item_id, sign * body["Qty"])
            for item_id, body in self._line_items(doc.get("Line") or ())
            if item_id in self.stock and body.get("Qty")
        ]

    def _line_items(self, lines: Any) -> Iterator[tuple[str, Doc]]:
        """(item Id, detail) of every line that names an item, also inside bundles."""
        for line in lines:
            inner = (line.get("GroupLineDetail") or {}).get("Line")
            if inner:
                yield from self._line_items(inner)
            body = line.get("SalesItemLineDetail") or line.get("ItemBasedExpenseLineDetail")
            if body and body.get("ItemRef"):
                yield body["ItemRef"]["value"], body

    def _move_stock(self, kind: str, doc_id: str, moves: list[tuple[str, Decimal]]) -> None:
        if not moves and not self.moves:
            return
        key = (kind, doc_id)
        for item_id, quantity in self.moves.pop(key, ()):
            self.stock[item_id] = self.stock.get(item_id, ZERO) - quantity
        for item_id, quantity in moves:
            self.stock[item_id] = self.stock.get(item_id, ZERO) + quantity
        if moves:
            self.moves[key] = tuple(moves)

    # -- what readers ask for --------------------------------------------------------------------------------------

    def natural(self, account_id: str, cents: int) -> Decimal:
        """An amount in the account's own sense: assets and expenses grow by debits, the others by credits."""
        return money(cents if self.types.get(account_id) in DEBIT_TYPES else -cents)

    def present_account(self, doc: Doc) -> Doc:
        """Decorator for Account: CurrentBalance and CurrentBalanceWithSubAccounts (balance-sheet accounts only, else 0)."""
        own = self.account_balance(doc)
        doc["CurrentBalance"] = own
        doc["CurrentBalanceWithSubAccounts"] = own + self._children_balance(doc["Id"])
        return doc

    def account_balance(self, doc: Doc) -> Decimal:
        """CurrentBalance. QBO shows 0 for income and expense accounts: those close every year."""
        if doc.get("Classification") in ("Revenue", "Expense") or doc.get("AccountType") in PROFIT_TYPES:
            return money(0)
        return self.natural(doc["Id"], self.balance.get(doc["Id"], 0))

    def _children_balance(self, account_id: str) -> Decimal:
        total = ZERO
        for child in self.company.rows("Account"):
            if _value(child.get("ParentRef")) == account_id:
                total += self.account_balance(child) + self._children_balance(child["Id"])
        return total

    def present_name(self, doc: Doc, kind: str) -> Doc:
        """Decorator for Customer and Vendor: Balance from the sub-ledger, which also knows journal entries."""
        sign, wanted = (1, RECEIVABLE) if kind == "Customer" else (-1, PAYABLE)
        name = f"{kind}:{doc['Id']}"
        posted = sum(self.subledger.get((account, name), 0) for account in self.control if self.types[account] == wanted)
        balance = sign * money(posted)
        if kind == "Customer":
            doc["BalanceWithJobs"] = doc.get("BalanceWithJobs", ZERO) + balance - doc.get("Balance", ZERO)
        doc["Balance"] = balance
        return doc

    def present_item(self, doc: Doc) -> Doc:
        """Decorator for Item: QtyOnHand follows the documents."""
        if doc["Id"] in self.stock:
            doc["QtyOnHand"] = self.stock[doc["Id"]]
        return doc


STOCK_SIGN = {
    "Invoice": -1,
    "SalesReceipt": -1,
    "CreditMemo": 1,
    "RefundReceipt": 1,
    "Bill": 1,
    "Purchase": 1,
    "VendorCredit": -1,
}


def _moves_money(old: Doc, new: Doc) -> bool:
    """Whether an update can change postings: any field but those in QUIET_FIELDS differs."""
    if (old.keys() ^ new.keys()) - QUIET_FIELDS:
        return True
    return any(new.get(key) is not value and new.get(key) != value for key, value in old.items() if key not in QUIET_FIELDS)


def _settled(out: list[Posting]) -> list[Posting]:
    """Give rounding residue to the last line. Lines may carry five decimals, totals two: each line can be half a cent off.

    A larger difference is not corrected, so that the audit reports it.
    """
    residue = sum(posting[1] for posting in out)
    if residue and 0 < abs(residue) <= len(out) and len(out) > 1:
        account, cents, name, line = out[-1]
        out[-1] = (account, cents - residue, name, line)
    return out


_BOOKS: weakref.WeakKeyDictionary[Company, Books] = weakref.WeakKeyDictionary()


def attach(company: Company) -> None:
    """Give an empty company its books; called once, before any document is stored."""
    books = Books(company)
    _BOOKS[company] = books
    company.subscribe(books.on_change)
    company.decorators["Account"] = books.present_account
    company.decorators["Item"] = books.present_item
    company.decorators["Customer"] = partial(books.present_name, kind="Customer")
    company.decorators["Vendor"] = partial(books.present_name, kind="Vendor")


def books_of(company: Company) -> Books:
    """The company's books; KeyError when none were attached."""
    return _BOOKS[company]
