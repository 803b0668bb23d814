"""Payment, bill payment, deposit: what they name, and how Balance and LinkedTxn of those documents move."""

from __future__ import annotations

from decimal import Decimal

from sandbox.qbo.company.store import ZERO, Company, Doc
from sandbox.qbo.rules.changes import Change, account_type, amount_paid, bump, no_control_account, role_ref
from sandbox.qbo.rules.faults import Fault
from sandbox.qbo.rules.validation import cents


def finish_payment(change: Change) -> None:
    company, doc = change.company, change.doc
    total = doc["TotalAmt"] = cents(doc["TotalAmt"])
    if total < 0:
        raise Fault("2140", element="TotalAmt", value=total)
    if "DepositToAccountRef" not in doc:
        doc["DepositToAccountRef"] = role_ref(company, "undeposited")
    account_type(company, doc["DepositToAccountRef"], ("Bank", "Other Current Asset"))
    if "ARAccountRef" in doc:
        account_type(company, doc["ARAccountRef"], ("Accounts Receivable",))
    doc.setdefault("ProcessPayment", False)
    doc.setdefault("LinkedTxn", [])
    if change.old is not None:
        doc["LinkedTxn"] = change.old.get("LinkedTxn", [])
    charges, credits = _link_sums(change, {"Invoice", "JournalEntry", "Expense", "Check"}, {"CreditMemo", "CreditCardCredit"})
    if charges - credits > total:
        raise Fault("6000", detail="Business Validation Error: The amount applied is more than the payment.")
    doc["UnappliedAmt"] = total - (charges - credits)
    doc.setdefault("Line", [])


def finish_bill_payment(change: Change) -> None:
    company, doc = change.company, change.doc
    total = doc["TotalAmt"] = cents(doc["TotalAmt"])
    if total < 0:
        raise Fault("2140", element="TotalAmt", value=total)
    if doc["PayType"] == "Check":
        account = (doc.get("CheckPayment") or {}).get("BankAccountRef")
        if not account:
            raise Fault("2020", element="CheckPayment.BankAccountRef")
        account_type(company, account, ("Bank",))
        doc["CheckPayment"].setdefault("PrintStatus", "NotSet")
    else:
        account = (doc.get("CreditCardPayment") or {}).get("CCAccountRef")
        if not account:
            raise Fault("2020", element="CreditCardPayment.CCAccountRef")
        account_type(company, account, ("Credit Card",))
    if "APAccountRef" in doc:
        account_type(company, doc["APAccountRef"], ("Accounts Payable",))
    charges, credits = _link_sums(change, {"Bill", "JournalEntry"}, {"VendorCredit"})
    if charges - credits != total:
        raise Fault("6000", detail="Business Validation Error: The payment amount does not match the bills and credits it pays.")


def _link_sums(change: Change, charge_kinds: set[str], credit_kinds: set[str]) -> tuple[Decimal, Decimal]:
    """Sums of the lines against charges and against credits; each line names exactly one transaction."""
    charges = credits = ZERO
    for line in change.doc.get("Line", ()):
        if "Amount" not in line:
            raise Fault("2020", element="Line.Amount")
        amount = line["Amount"] = cents(line["Amount"])
        if amount < 0:
            raise Fault("2290", element="Line.Amount", value=amount)
        links = line.get("LinkedTxn") or []
        if len(links) != 1:
            raise Fault("2020", element="Line.LinkedTxn")
        kind, txn_id = links[0].get("TxnType"), str(links[0].get("TxnId"))
        links[0]["TxnId"] = txn_id
        if kind in charge_kinds:
            charges += amount
        elif kind in credit_kinds:
            credits += amount
        else:
            raise Fault("2170", element="LinkedTxn.TxnType", value=kind)
        stored = {"Expense": "Purchase", "Check": "Purchase", "CreditCardCredit": "Purchase"}.get(kind, kind)
        target = change.company.get(stored, txn_id)
        if target is None or not same_party(change.company, change.doc, target):
            raise Fault("620", element="LinkedTxn", value=txn_id)
    return charges, credits


def finish_deposit(change: Change) -> None:
    company, doc = change.company, change.doc
    account_type(company, doc["DepositToAccountRef"], ("Bank", "Other Current Asset", "Credit Card", "Other Current Liability"))
    total = ZERO
    for line in doc["Line"]:
        if "Amount" not in line:
            raise Fault("2020", element="Line.Amount")
        amount = line["Amount"] = cents(line["Amount"])
        for name in [name for name, value in line.items() if value == []]:
            del line[name]
        links = line.get("LinkedTxn") or []
        if links:
            link = links[0]
            kind, txn_id = link.get("TxnType"), str(link.get("TxnId"))
            link["TxnId"] = txn_id
            if kind not in ("Payment", "SalesReceipt", "RefundReceipt", "JournalEntry", "Transfer"):
                raise Fault("2170", element="LinkedTxn.TxnType", value=kind)
            source = company.get(kind, txn_id)
            if source is None:
                raise Fault("620", element="LinkedTxn", value=txn_id)
            own = (change.old or {}).get("Id")
            if any(t["TxnType"] == "Deposit" and t["TxnId"] != own for t in source.get("LinkedTxn", ())):
                raise Fault("620", element="LinkedTxn", value=txn_id)
            if kind in ("Payment", "SalesReceipt"):
                if amount != source["TotalAmt"]:
                    raise Fault("6460")
                if source.get("DepositToAccountRef", {}).get("value") != company.roles["undeposited"]:
                    raise Fault("620", element="LinkedTxn", value=txn_id)
        elif "AccountRef" not in (line.get("DepositLineDetail") or {}):
            raise Fault("6440", element="AccountRef")
        else:
            no_control_account(company, line["DepositLineDetail"]["AccountRef"])
            line.setdefault("DetailType", "DepositLineDetail")
        total += amount
    back = doc.get("CashBack")
    if back:
        if "AccountRef" not in back or "Amount" not in back:
            raise Fault("2020", element="CashBack.AccountRef" if "AccountRef" not in back else "CashBack.Amount")
        no_control_account(company, back["AccountRef"])
        total -= cents(back["Amount"])
    doc["TotalAmt"] = total


def _link_amounts(doc: Doc | None) -> dict[tuple[str, str], Decimal]:
    """(kind, Id) -> amount for the lines of a payment, bill payment or deposit."""
    amounts: dict[tuple[str, str], Decimal] = {}
    for line in (doc or {}).get("Line", ()):
        for link in line.get("LinkedTxn") or ():
            key = (link["TxnType"], link["TxnId"])
            amounts[key] = amounts.get(key, ZERO) + line.get("Amount", ZERO)
    return amounts


LINKING = {"Payment": "Payment", "BillPayment": "BillPaymentCheck", "Deposit": "Deposit"}


def apply_links(change: Change, before: Doc | None, after: Doc | None) -> None:
    """Move Balance and LinkedTxn of the documents that a payment or deposit names; refuses what would overpay."""
    kind = change.entity.kind
    if kind == "Invoice" and before is None and after is not None:
        _mark_estimate(change, after)
    if kind not in LINKING:
        return
    own = (after or before or {})["Id"]
    old_amounts, new_amounts = _link_amounts(before), _link_amounts(after)
    for key in {**old_amounts, **new_amounts}:
        delta = new_amounts.get(key, ZERO) - old_amounts.get(key, ZERO)
        if delta == 0 and (key in old_amounts) == (key in new_amounts):
            continue
        target = change.target(*key)
        if target is None:
            continue
        moved = _settle(key[0], target, delta) if kind != "Deposit" else dict(target)
        link = {"TxnId": own, "TxnType": LINKING[kind]}
        links = [entry for entry in target.get("LinkedTxn", ()) if entry["TxnId"] != own]
        if key in new_amounts:
            links.append(link)
        moved["LinkedTxn"] = links
        change.moved[key] = bump(change.company, target, moved)


def _settle(kind: str, target: Doc, delta: Decimal) -> Doc:
    """The target with `delta` more applied to it."""
    moved = dict(target)
    if kind in ("Invoice", "Bill", "VendorCredit"):
        moved["Balance"] = target["Balance"] - delta
    elif kind == "CreditMemo":
        moved["RemainingCredit"] = target["RemainingCredit"] - delta
        moved["Balance"] = moved["RemainingCredit"]
    else:
        return moved
    if moved["Balance"] < 0:
        raise Fault(
            "6000",
            detail=f"Business Validation Error: The amount applied is more than the open balance of {kind} {target['Id']}.",
        )
    return moved


def _mark_estimate(change: Change, invoice: Doc) -> None:
    for link in invoice.get("LinkedTxn", ()):
        estimate = change.target("Estimate", link["TxnId"]) if link["TxnType"] == "Estimate" else None
        if estimate is not None:
            moved = {
                **estimate,
                "TxnStatus": "Closed",
                "LinkedTxn": [*estimate.get("LinkedTxn", ()), {"TxnId": invoice["Id"], "TxnType": "Invoice"}],
            }
            change.moved[("Estimate", estimate["Id"])] = bump(change.company, estimate, moved)


def unlink_payments(change: Change, invoice: Doc) -> None:
    """The payments of a voided invoice become unapplied."""
    reduce_payments(change, amount_paid(invoice), keep_link=False)


def reduce_payments(change: Change, excess: Decimal, *, keep_link: bool = True) -> None:
    """Take `excess` back from the payments on `change.old`, newest first."""
    invoice = change.old
    assert invoice is not None
    for link in reversed(invoice.get("LinkedTxn", ())):
        if link["TxnType"] != "Payment":
            continue
        payment = change.target("Payment", link["TxnId"])
        if payment is None:
            continue
        lines, freed = [], ZERO
        for line in payment.get("Line", ()):
            target = (line.get("LinkedTxn") or [{}])[0]
            if target.get("TxnType") == "Invoice" and target.get("TxnId") == invoice["Id"] and (freed < excess or not keep_link):
                take = min(line["Amount"], excess - freed) if keep_link else line["Amount"]
                freed += take
                if line["Amount"] - take > 0:
                    lines.append({**line, "Amount": line["Amount"] - take})
            else:
                lines.append(line)
        if freed or not keep_link:
            moved = {**payment, "Line": lines, "UnappliedAmt": payment["UnappliedAmt"] + freed}
            change.moved[("Payment", payment["Id"])] = bump(change.company, payment, moved)
            if ("Invoice", invoice["Id"]) not in _link_amounts(moved):  # nothing of it is left on the invoice
                kept = [entry for entry in change.doc.get("LinkedTxn", ()) if entry["TxnId"] != payment["Id"]]
                change.doc["LinkedTxn"] = kept
        excess -= freed


def same_party(company: Company, payment: Doc, target: Doc) -> bool:
    """Whether both belong to one vendor, or to one family of customers: a parent may pay for its jobs."""
    for name in ("CustomerRef", "VendorRef"):
        if name in payment and name in target:
            return bool(_topmost(company, payment[name]["value"]) == _topmost(company, target[name]["value"]))
    return True


def _topmost(company: Company, name_id: str) -> str:
    customer = company.get("Customer", name_id)
    while customer and customer.get("ParentRef"):
        name_id = customer["ParentRef"]["value"]
        customer = company.get("Customer", name_id)
    return name_id
