"""Invoice, estimate, credit memo, sales receipt, refund receipt: lines, discount, tax, totals, due date."""

from __future__ import annotations

from decimal import Decimal

from sandbox.qbo.company.store import ZERO, Company, Doc
from sandbox.qbo.documents.settlements import reduce_payments
from sandbox.qbo.rules import vat
from sandbox.qbo.rules.changes import (
    Change,
    account_type,
    amount_applied,
    amount_paid,
    due_date,
    line_amount,
    no_control_account,
    role_ref,
    term_moved,
)
from sandbox.qbo.rules.faults import Fault
from sandbox.qbo.rules.validation import cents

TAXED, UNTAXED = {"value": "TAX"}, {"value": "NON"}  # shared by all lines; documents are never changed in place


def finish_sales(change: Change) -> None:
    company, doc, kind = change.company, change.doc, change.entity.kind
    customer_ref = doc.get("CustomerRef")
    customer = company.get("Customer", customer_ref["value"]) if customer_ref else None
    if customer:
        for name in ("BillAddr", "ShipAddr"):
            if name not in doc and name in customer:
                doc[name] = customer[name]
    if "ARAccountRef" in doc:
        account_type(company, doc["ARAccountRef"], ("Accounts Receivable",))
    if "DepositToAccountRef" in doc:
        no_control_account(company, doc["DepositToAccountRef"])
    subtotal, taxable, discount = _sales_lines(change)
    tax = _tax(change, taxable, discount)
    doc["TotalAmt"] = total = subtotal - discount + tax
    if total < 0:
        raise Fault("6000", detail="Business Validation Error: Transaction amount must be 0 or greater.")
    doc.setdefault("ApplyTaxAfterDiscount", False)
    doc.setdefault("PrintStatus", "NeedToPrint")
    status = doc.setdefault("EmailStatus", "NotSet")
    if status == "NeedToSend" and not (doc.get("BillEmail") or {}).get("Address"):
        raise Fault("6420", element="BillEmail")
    doc.setdefault("CustomField", [])
    if kind != "Invoice":  # read-only but for what a sales form is made from
        made_from = _estimate_links(change) if kind == "SalesReceipt" else []
        doc["LinkedTxn"] = change.old.get("LinkedTxn", []) if change.old else made_from
    if kind == "Invoice":
        _finish_invoice(change, customer, total)
    elif kind == "CreditMemo":
        used = amount_applied(change.old)
        doc["RemainingCredit"] = total - used
        doc["Balance"] = total - used
        if total < used:
            raise Fault("6000", detail="Business Validation Error: The credit memo is applied already for more than this amount.")
    elif kind == "Estimate":
        doc.setdefault("TxnStatus", "Pending")
    else:
        doc["Balance"] = ZERO
        if "DepositToAccountRef" not in doc:
            doc["DepositToAccountRef"] = role_ref(company, "undeposited")


def _finish_invoice(change: Change, customer: Doc | None, total: Decimal) -> None:
    company, doc = change.company, change.doc
    if "DueDate" not in doc or term_moved(change):
        term = doc.get("SalesTermRef") or (customer or {}).get("SalesTermRef")
        if term and "SalesTermRef" not in doc:
            doc["SalesTermRef"] = term
        doc["DueDate"] = due_date(company, doc["TxnDate"], term)
    if doc.get("AllowOnlinePayment") is True and not change.options.person:
        raise Fault("5000", element="AllowOnlinePayment")
    deposit = doc.get("Deposit", ZERO)
    if deposit and company.preference("SalesFormsPrefs", "AllowDeposit") is False:
        raise Fault("6000", detail="Business Validation Error: deposits are switched off for this company.")
    doc["Deposit"] = deposit
    if deposit < 0 or deposit > total:
        raise Fault("6000", detail="Business Validation Error: The deposit must be between 0 and the total.")
    if change.old is None:
        doc["LinkedTxn"] = _estimate_links(change)
        doc["Balance"] = total - deposit
        return
    doc["LinkedTxn"] = change.old.get("LinkedTxn", [])
    paid = amount_paid(change.old)
    if total - deposit < paid:
        reduce_payments(change, paid - (total - deposit))
        paid = total - deposit
    doc["Balance"] = total - deposit - paid


def _estimate_links(change: Change) -> list[Doc]:
    """An invoice may be linked to one estimate and to time activities; other links sent are read-only and ignored."""
    links = []
    for link in change.doc.get("LinkedTxn", ()):
        kind = link.get("TxnType")
        if kind in ("Estimate", "TimeActivity"):
            if change.company.get(kind, str(link.get("TxnId"))) is None:
                raise Fault("620", element="LinkedTxn", value=link.get("TxnId"))
            links.append({"TxnId": str(link["TxnId"]), "TxnType": kind})
    if sum(link["TxnType"] == "Estimate" for link in links) > 1:
        raise Fault("2600", element="LinkedTxn")
    return links


def _sales_lines(change: Change) -> tuple[Decimal, Decimal, Decimal]:
    """Cleans the lines; returns sum of the items, taxable part, discount. Appends the SubTotal line."""
    company, doc = change.company, change.doc
    lines, discounts, subtotal, taxable = [], [], ZERO, ZERO
    for line in doc.get("Line", ()):
        detail_type = line.get("DetailType")
        if detail_type == "SubTotalLineDetail":
            continue  # the server makes its own
        if detail_type == "DiscountLineDetail":
            discounts.append(line)
            continue
        if detail_type in ("DescriptionOnly", "DescriptionLineDetail"):
            line["DetailType"] = "DescriptionOnly"
            line.setdefault("DescriptionLineDetail", {})
            lines.append(line)
            continue
        if detail_type is None:
            raise Fault("2020", element="Line.DetailType")
        if detail_type == "GroupLineDetail":
            amount = _group(change, line)
        else:
            amount = _sales_item(change, line)
            if _is_taxed(company, line["SalesItemLineDetail"]):
                taxable += amount
        subtotal += amount
        lines.append(line)
    if not lines and change.entity.kind != "Estimate":
        raise Fault("2250" if doc.get("Line") else "2020", element="Line")
    if taxable and len(lines) > 750:
        raise Fault("6000", detail="Business Validation Error: a taxable transaction can have at most 750 lines.")
    for index, line in enumerate(lines, 1):
        line["LineNum"] = index
        if not line.get("LinkedTxn", True):
            del line["LinkedTxn"]
        if not line.get("CustomField", True):
            del line["CustomField"]
    discount = ZERO
    for line in discounts:
        discount += _discount(change, line, subtotal)
    doc["Line"] = [*lines, {"Amount": subtotal, "DetailType": "SubTotalLineDetail", "SubTotalLineDetail": {}}, *discounts]
    if discount and doc.get("ApplyTaxAfterDiscount") and subtotal:
        taxable -= cents(discount * taxable / subtotal)
    return subtotal, taxable, discount


def _group(change: Change, line: Doc) -> Decimal:
    """A bundle: its parts are item lines, or text; without an amount, theirs are added up."""
    total = ZERO
    for part in line.setdefault("GroupLineDetail", {}).get("Line", ()):
        if part.get("DetailType") in ("DescriptionOnly", "DescriptionLineDetail"):
            part["DetailType"] = "DescriptionOnly"
            part.pop("Amount", None)
        elif part.get("DetailType") == "SalesItemLineDetail":
            total += _sales_item(change, part)
        else:
            raise Fault("2170", element="GroupLineDetail.Line.DetailType", value=part.get("DetailType"))
    line["Amount"] = cents(line.get("Amount", total))
    return Decimal(line["Amount"])


def _sales_item(change: Change, line: Doc) -> Decimal:
    company, doc = change.company, change.doc
    detail = line.setdefault("SalesItemLineDetail", {})
    vat.line(change, line, detail, vat.SALES)
    amount = line_amount(line, detail)
    if "ItemRef" not in detail:
        default = company.get("Item", "1")
        if default is None:
            raise Fault("6440")
        detail["ItemRef"] = company.reference("Item", "1", default)
    item = company.get("Item", detail["ItemRef"]["value"])
    if item is not None:
        if item.get("Type") == "Category":
            raise Fault("2500", element="ItemRef", value=item["Id"], target="Items")
        if item.get("Type") == "Inventory" and item.get("InvStartDate", "") > doc["TxnDate"] and change.entity.kind != "Estimate":
            raise Fault("6270", value=item["Name"])
    if company.country in vat.COUNTRIES:
        pass  # no tax words, and no automated sales tax
    elif "TaxCodeRef" not in detail:
        detail["TaxCodeRef"] = TAXED if item and item.get("Taxable") else UNTAXED
    elif detail["TaxCodeRef"]["value"] == "CustomSalesTax":
        raise Fault("6160", element="TaxCodeRef")
    elif company.country == "US" and detail["TaxCodeRef"]["value"] not in ("TAX", "NON"):
        raise Fault("6100", element="TaxCodeRef", value=detail["TaxCodeRef"]["value"])
    if company.automated_tax and company.country == "US":
        detail["TaxCodeRef"] = TAXED if item and item.get("Taxable") else UNTAXED
    return amount


def _discount(change: Change, line: Doc, subtotal: Decimal) -> Decimal:
    company = change.company
    detail = line.setdefault("DiscountLineDetail", {})
    amount = line.get("Amount")
    if detail.get("PercentBased"):
        if "DiscountPercent" not in detail:
            raise Fault("6090")
        amount = cents(subtotal * detail["DiscountPercent"] / 100)
    elif amount is None:
        raise Fault("6090")
    if amount < 0:
        raise Fault("2290", element="Line.Amount", value=amount)
    if amount and company.preference("SalesFormsPrefs", "AllowDiscount") is False:
        raise Fault("6000", detail="Business Validation Error: discounts are switched off for this company.")
    line["Amount"] = cents(amount)
    detail.setdefault("PercentBased", False)
    if "DiscountAccountRef" not in detail:
        detail["DiscountAccountRef"] = role_ref(company, "discounts")
    no_control_account(company, detail["DiscountAccountRef"])
    line.pop("Id", None)
    return cents(amount)


def _is_taxed(company: Company, detail: Doc) -> bool:
    code = detail.get("TaxCodeRef", {}).get("value")
    return bool(code and code != "NON")


def _tax(change: Change, taxable: Decimal, discount: Decimal) -> Decimal:
    """Sales tax by the rates of TxnTaxCodeRef; without sales tax in the company the detail is ignored."""
    company, doc = change.company, change.doc
    given = doc.get("TxnTaxDetail") or {}
    if doc.get("GlobalTaxCalculation") == "NotApplicable" and given.get("TxnTaxCodeRef"):
        raise Fault("6230" if change.old else "6170", element="TxnTaxDetail")
    doc.pop("GlobalTaxCalculation", None) if company.country == "US" else None
    if not company.preference("TaxPrefs", "UsingSalesTax"):
        doc["TxnTaxDetail"] = {"TotalTax": ZERO}
        return ZERO
    if company.country in vat.COUNTRIES:
        if doc.get("GlobalTaxCalculation") == "NotApplicable":
            doc["TxnTaxDetail"] = {"TotalTax": ZERO}
            return ZERO
        lines = [line for line in doc["Line"] if line["DetailType"] == "SalesItemLineDetail"]
        off = discount if doc.get("ApplyTaxAfterDiscount") else ZERO
        return vat.total(change, [(line, line["SalesItemLineDetail"]) for line in lines], vat.SALES, off)
    code_ref = (None if company.automated_tax else given.get("TxnTaxCodeRef")) or (
        company.preference("TaxPrefs", "TaxGroupCodeRef") if taxable else None
    )
    if not code_ref or not taxable:
        doc["TxnTaxDetail"] = {**({"TxnTaxCodeRef": code_ref} if code_ref else {}), "TotalTax": ZERO}
        return ZERO
    code = company.get("TaxCode", code_ref["value"])
    lines, total = [], ZERO
    for entry in ((code or {}).get("SalesTaxRateList") or {}).get("TaxRateDetail", ()):
        rate = company.get("TaxRate", entry["TaxRateRef"]["value"])
        if rate is None:
            raise Fault("6470")
        percent = rate["RateValue"]
        amount = cents(taxable * percent / 100)
        total += amount
        lines.append(
            {
                "Amount": amount,
                "DetailType": "TaxLineDetail",
                "TaxLineDetail": {
                    "TaxRateRef": {"value": rate["Id"]},
                    "PercentBased": True,
                    "TaxPercent": percent,
                    "NetAmountTaxable": taxable,
                },
            }
        )
    doc["TxnTaxDetail"] = {"TxnTaxCodeRef": {"value": code_ref["value"]}, "TotalTax": total, "TaxLine": lines}
    return total
