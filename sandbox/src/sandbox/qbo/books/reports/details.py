"""Reports of single postings and transactions: general ledger, profit and loss detail, transaction list."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from sandbox.qbo.books.amounts import DEBIT_TYPES, PROFIT_TYPES, cents_of
from sandbox.qbo.books.entries import Entry, day_of, entries
from sandbox.qbo.books.reports.report import TYPE_ORDER, Report, Row, cell, profit_entries, tag_of, txn_name
from sandbox.qbo.company.store import TXN_KINDS, ZERO, Doc
from sandbox.qbo.rules.faults import Fault

COLUMN_TITLES = {
    "tx_date": "Date",
    "txn_type": "Transaction Type",
    "doc_num": "Num",
    "is_no_post": "Posting",
    "name": "Name",
    "memo": "Memo/Description",
    "account_name": "Account",
    "other_account": "Split",
    "split_acc": "Split",
    "subt_nat_amount": "Amount",
    "rbal_nat_amount": "Balance",
    "debt_amt": "Debit",
    "credit_amt": "Credit",
    "due_date": "Due Date",
    "term_name": "Terms",
    "pmt_mthd": "Payment Method",
    "create_date": "Create Date",
    "last_mod_date": "Last Modified",
    "create_by": "Created By",
    "last_mod_by": "Last Modified By",
    "cust_name": "Customer",
    "vend_name": "Vendor",
    "dept_name": "Location",
    "klass_name": "Class",
    "nat_open_bal": "Open Balance",
    "inv_date": "Invoice Date",
    "ship_via": "Ship Via",
    "tracking_num": "Tracking No",
    "cust_msg": "Message",
    "is_ar_paid": "A/R Paid",
    "is_ap_paid": "A/P Paid",
    "is_cleared": "Clr",
    "printed": "Check Printed",
    "is_adj": "Adj",
    "is_billable": "Billable",
    "past_due": "Past Due",
}
LEDGER_COLUMNS = ("tx_date", "txn_type", "doc_num", "name", "memo", "split_acc", "subt_nat_amount", "rbal_nat_amount")
LIST_COLUMNS = (
    *("tx_date", "txn_type", "doc_num", "is_no_post", "name", "memo", "account_name", "other_account"),
    "subt_nat_amount",
)
CELL_LIMIT = 400_000  # a report of more cells never comes back: the gateway gives up first
MONEY_COLUMNS = frozenset({"subt_nat_amount", "rbal_nat_amount", "debt_amt", "credit_amt", "nat_open_bal"})


def _list_columns(report: Report, default: Sequence[str]) -> list[str]:
    """Column keys asked for with `columns=`; unknown ones are left out, as QBO does."""
    asked = [part.strip() for part in report.params.get("columns", "").split(",") if part.strip()]
    return [key for key in asked if key in COLUMN_TITLES] or list(default)


def _refuse_huge(rows: int, keys: Sequence[str]) -> None:
    """504/6002 for what would be too large."""
    if rows * len(keys) > CELL_LIMIT:
        raise Fault("6002")


def _column_heads(keys: Sequence[str]) -> list[Row]:
    return [{"ColTitle": COLUMN_TITLES[key], "ColType": key, "MetaData": [{"Name": "ColKey", "Value": key}]} for key in keys]


class Splits:
    """What stands on the other side of a posting: the one other account, or "-Split-"."""

    def __init__(self, report: Report, found: Iterable[Entry]) -> None:
        self._report = report
        self._accounts: dict[tuple[str, str], list[str]] = defaultdict(list)
        for entry in found:
            known = self._accounts[(entry.kind, entry.doc["Id"])]
            if entry.account not in known:
                known.append(entry.account)

    def of(self, entry: Entry) -> Row:
        """The cell of the split column."""
        others = [a for a in self._accounts.get((entry.kind, entry.doc["Id"]), ()) if a != entry.account]
        if len(others) == 1:
            doc = self._report.account(others[0])
            return {"value": doc.get("FullyQualifiedName") or doc["Name"], "id": others[0]}
        return {"value": "-Split-" if others else "", "id": ""}


def _list_cell(report: Report, key: str, entry: Entry, cents: int, splits: Splits) -> Row:
    """One cell of a row about a posting or a transaction."""
    doc = entry.doc
    if key == "tx_date":
        return {"value": entry.day}
    if key == "txn_type":
        return {"value": txn_name(entry.kind, doc), "id": doc["Id"]}
    if key == "name":
        return {"value": report.name_of(entry.name), "id": entry.name.partition(":")[2]}
    if key in {"cust_name", "vend_name"}:
        mine = entry.name.startswith("Customer" if key == "cust_name" else "Vendor")
        return {"value": report.name_of(entry.name) if mine else "", "id": entry.name.partition(":")[2] if mine else ""}
    if key in {"split_acc", "other_account"}:
        return splits.of(entry)
    if key == "account_name":
        account = report.account(entry.account) if entry.account else {"Name": ""}
        return {"value": account.get("FullyQualifiedName") or account["Name"], "id": entry.account}
    if key in {"klass_name", "dept_name"}:
        doc_id, name = tag_of(entry, "ClassRef" if key == "klass_name" else "DepartmentRef")
        return {"value": name, "id": doc_id}
    if key == "subt_nat_amount":
        return {"value": cell(cents)}
    if key in {"debt_amt", "credit_amt"}:
        side = entry.cents if key == "debt_amt" else -entry.cents
        return {"value": cell(side) if side > 0 else ""}
    return {"value": _doc_cell(key, entry)}


def _doc_cell(key: str, entry: Entry) -> str:
    doc, kind = entry.doc, entry.kind
    if key == "doc_num":
        return str(doc.get("DocNumber") or doc.get("PaymentRefNum") or "")
    if key == "memo":
        lines = doc.get("Line") or ()
        line = lines[entry.line].get("Description") if 0 <= entry.line < len(lines) else None
        return str(line or doc.get("PrivateNote") or "")
    if key == "is_no_post":
        return "No" if kind in NON_POSTING else "Yes"
    if key == "due_date":
        return str(doc.get("DueDate") or "")
    if key == "term_name":
        return str((doc.get("SalesTermRef") or {}).get("name") or "")
    if key == "pmt_mthd":
        return str((doc.get("PaymentMethodRef") or {}).get("name") or "")
    if key in {"create_date", "last_mod_date"}:
        return str(doc["MetaData"]["CreateTime" if key == "create_date" else "LastUpdatedTime"])
    if key == "nat_open_bal":
        return cell(cents_of(doc.get("Balance") or doc.get("UnappliedAmt") or ZERO))
    if key in {"is_ar_paid", "is_ap_paid"}:
        mine = kind == ("Invoice" if key == "is_ar_paid" else "Bill")
        return ("Paid" if not doc.get("Balance") else "Unpaid") if mine else ""
    if key == "cust_msg":
        return str((doc.get("CustomerMemo") or {}).get("value") or "")
    if key == "ship_via":
        return str((doc.get("ShipMethodRef") or {}).get("value") or "")
    if key == "tracking_num":
        return str(doc.get("TrackingNum") or "")
    if key == "inv_date":
        return entry.day if kind == "Invoice" else ""
    if key == "is_adj":
        return "Yes" if doc.get("Adjustment") else "No"
    return ""


NON_POSTING = frozenset({"Estimate", "PurchaseOrder", "TimeActivity"})


def _ordered(found: Iterable[Entry]) -> list[Entry]:
    return sorted(found, key=lambda e: (e.day, len(e.doc["Id"]), e.doc["Id"], e.line))


def _detail_rows(
    report: Report, keys: Sequence[str], found: list[Entry], opening: int, sign: int, splits: Splits
) -> tuple[list[Row], int]:
    """Rows of postings with a running balance; returns the closing balance too."""
    rows: list[Row] = []
    balance = opening
    for entry in _ordered(found):
        cents = sign * entry.cents
        balance += cents
        cells = [
            {"value": cell(balance)} if key == "rbal_nat_amount" else _list_cell(report, key, entry, cents, splits)
            for key in keys
        ]
        rows.append({"ColData": cells, "type": "Data"})
    return rows, balance


def _padded(keys: Sequence[str], first: Row, filled: dict[str, str]) -> list[Row]:
    return [first, *({"value": filled.get(key, "")} for key in keys[1:])]


def general_ledger(report: Report) -> Row:
    """Every account with its beginning balance, its postings and a running balance."""
    report.split = "total"
    keys = _list_columns(report, LEDGER_COLUMNS)
    everything = report.entries()
    splits = Splits(report, entries(report.books, report.basis))
    start = report.start.isoformat()
    before: dict[str, int] = defaultdict(int)
    inside: dict[str, list[Entry]] = defaultdict(list)
    for entry in everything:
        if entry.day >= start:
            inside[entry.account].append(entry)
        elif report.books.types.get(entry.account) not in PROFIT_TYPES:
            before[entry.account] += entry.cents
    _refuse_huge(sum(len(part) for part in inside.values()), keys)
    rows: list[Row] = []
    for doc in report.accounts(TYPE_ORDER):
        account = doc["Id"]
        if account not in inside and not before.get(account):
            continue
        sign = 1 if doc["AccountType"] in DEBIT_TYPES else -1
        opening = sign * before.get(account, 0)
        body, _ = _detail_rows(report, keys, inside.get(account, []), opening, sign, splits)
        if opening:
            body.insert(
                0, {"ColData": _padded(keys, {"value": "Beginning Balance"}, {"rbal_nat_amount": cell(opening)}), "type": "Data"}
            )
        moved = sum(sign * e.cents for e in inside.get(account, ()))
        name = doc.get("FullyQualifiedName") or doc["Name"]
        rows.append(
            {
                "Header": {"ColData": _padded(keys, {"value": name, "id": account}, {})},
                "Rows": {"Row": body},
                "Summary": {"ColData": _padded(keys, {"value": f"Total for {name}"}, {"subt_nat_amount": cell(moved)})},
                "type": "Section",
            }
        )
    return report.answer(_column_heads(keys), rows, data=bool(rows))


def profit_and_loss_detail(report: Report) -> Row:
    """The postings behind the profit and loss, account by account."""
    report.split = "total"
    keys = _list_columns(report, LEDGER_COLUMNS)
    found = profit_entries(report, report.in_range(report.entries()))
    _refuse_huge(len(found), keys)
    splits = Splits(report, entries(report.books, report.basis))
    inside: dict[str, list[Entry]] = defaultdict(list)
    for entry in found:
        inside[entry.account].append(entry)
    rows: list[Row] = []
    net = 0
    for title, kind, group in (
        ("Income", "Income", "Income"),
        ("Cost of Goods Sold", "Cost of Goods Sold", "COGS"),
        ("Expenses", "Expense", "Expenses"),
        ("Other Income", "Other Income", "OtherIncome"),
        ("Other Expenses", "Other Expense", "OtherExpenses"),
    ):
        sign = 1 if kind in DEBIT_TYPES else -1
        sections: list[Row] = []
        whole = 0
        for doc in report.accounts([kind]):
            if doc["Id"] not in inside:
                continue
            body, total = _detail_rows(report, keys, inside[doc["Id"]], 0, sign, splits)
            whole += total
            name = doc.get("FullyQualifiedName") or doc["Name"]
            sections.append(
                {
                    "Header": {"ColData": _padded(keys, {"value": name, "id": doc["Id"]}, {})},
                    "Rows": {"Row": body},
                    "Summary": {"ColData": _padded(keys, {"value": f"Total for {name}"}, {"subt_nat_amount": cell(total)})},
                    "type": "Section",
                }
            )
        net -= sign * whole
        if sections:
            rows.append(
                {
                    "Header": {"ColData": _padded(keys, {"value": title}, {})},
                    "Rows": {"Row": sections},
                    "Summary": {"ColData": _padded(keys, {"value": f"Total {title}"}, {"subt_nat_amount": cell(whole)})},
                    "type": "Section",
                    "group": group,
                }
            )
    last = _padded(keys, {"value": "Net Income"}, {"subt_nat_amount": cell(net)})
    rows.append({"Summary": {"ColData": last}, "type": "Section", "group": "NetIncome"})
    return report.answer(_column_heads(keys), rows, data=bool(found))


def transaction_list(report: Report) -> Row:
    """One row for each transaction in the range, the ones that do not post included."""
    report.split = "total"
    keys = [key for key in _list_columns(report, LIST_COLUMNS) if key != "rbal_nat_amount"] or list(LIST_COLUMNS)
    found = [entry for entry in _transactions(report) if _wanted(report, entry)]
    _refuse_huge(len(found), keys)
    splits = Splits(report, (e for e in entries(report.books, "Accrual")))
    rows: list[Row] = []
    for entry in _ordered(found):
        cells = [_list_cell(report, key, entry, _headline(entry), splits) for key in keys]
        rows.append({"ColData": cells, "type": "Data"})
    order = report.params.get("sort_by")
    if order in keys:
        at = keys.index(order)
        rows.sort(key=lambda row: _sort_key(order, str(row["ColData"][at]["value"])))
    if str(report.params.get("sort_order", "")).lower().startswith("desc"):
        rows.reverse()
    return report.answer(_column_heads(keys), rows, data=bool(rows))


def _sort_key(key: str, text: str) -> tuple[int, str]:
    return (int(text.replace(".", "") or 0), "") if key in MONEY_COLUMNS else (0, text.casefold())


def _transactions(report: Report) -> Iterable[Entry]:
    """Each transaction once, as an entry against its first account."""
    start, end = report.start.isoformat(), report.end.isoformat()
    for kind in TXN_KINDS:
        for doc in report.company.rows(kind):
            day = day_of(kind, doc)
            if not start <= day <= end:
                continue
            postings = report.books.journal.get(kind, {}).get(doc["Id"], ())
            account, cents, name, line = postings[0] if postings else ("", 0, "", -1)
            yield Entry(day, kind, doc, account, cents, name or _owner(doc), -1 if kind != "JournalEntry" else line)


def _owner(doc: Doc) -> str:
    for kind in ("Customer", "Vendor"):
        reference = doc.get(f"{kind}Ref")
        if reference:
            return f"{kind}:{reference['value']}"
    return ""


def _headline(entry: Entry) -> int:
    """The amount a list shows: the total; money that leaves is negative."""
    doc = entry.doc
    amount = doc.get("TotalAmt")
    if entry.kind == "JournalEntry":
        return abs(entry.cents)
    total = cents_of(amount if amount is not None else doc.get("Amount") or ZERO)
    leaves = {"CreditMemo", "RefundReceipt", "VendorCredit", "BillPayment"}
    if entry.kind in leaves or (entry.kind == "Purchase" and not doc.get("Credit")):
        return -total
    return total


def _wanted(report: Report, entry: Entry) -> bool:
    asked = "".join(report.params.get("transaction_type", "").split()).lower()
    if asked and asked not in {"all", entry.kind.lower(), "".join(txn_name(entry.kind, entry.doc).split()).lower()}:
        return False
    for kind in ("customer", "vendor"):
        ids = report.ids(kind)
        if ids and entry.name not in {f"{kind.capitalize()}:{i}" for i in ids}:
            return False
    department = report.ids("department")
    return not department or tag_of(entry, "DepartmentRef")[0] in department
