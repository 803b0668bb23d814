"""Name lists and other lists: names and their uniqueness, trees, inactive names, accounts, items, terms, budgets, attachables."""

from __future__ import annotations

import re
from collections.abc import Iterator

from sandbox.qbo.company.schema import KINDS, PLANS
from sandbox.qbo.company.store import TAX_IDENTIFIERS, ZERO, Company, Doc, folded, masked
from sandbox.qbo.rules.changes import DELETED, Change, account_type, check_currency
from sandbox.qbo.rules.faults import Fault
from sandbox.qbo.rules.validation import cents

FORBIDDEN_IN_NAMES = re.compile(r"[:\t\n\r]")


FORBIDDEN_IN_ACCOUNTS = re.compile(r'[:"\t\n\r]')


def finish_name(change: Change) -> None:
    company, doc, old, kind = change.company, change.doc, change.old, change.entity.kind
    name = str(doc.get("DisplayName") or "").strip()
    if not name:
        parts = [str(doc.get(p) or "").strip() for p in ("Title", "GivenName", "MiddleName", "FamilyName", "Suffix")]
        name = " ".join(part for part in parts if part) or (old["DisplayName"] if old else "")
    if not name and doc.get("CompanyName"):
        name = str(doc["CompanyName"]).strip()
    if not name:
        raise Fault("6080")
    if FORBIDDEN_IN_NAMES.search(name):
        raise Fault("2040", element="DisplayName", value=name)
    active = doc.setdefault("Active", True)
    name = _active_name(company, kind, name, active, old)
    if active and (old is None or folded(old["DisplayName"]) != folded(name)):
        taken = company.names.get(folded(name))
        if taken and (old is None or taken != (kind, old["Id"])):
            raise Fault(
                "6240",
                value="Another customer, vendor or employee is already using this name. Please use a different name. "
                f"The {taken[0].lower()} ID is: {taken[1]}"
                if company.random.random() < company.name_detail
                else "null",
            )
    if old is not None and old.get("CurrencyRef", {}).get("value") != doc.get("CurrencyRef", {}).get("value"):
        raise Fault("6000", detail="Business Validation Error: The currency of a name cannot be changed.")
    if not active and (old is None or old.get("Active", True)):
        _check_closing_name(company, kind, old)
    doc["DisplayName"] = name
    keep_masked(old, doc)
    _finish_open_balance(change)
    check_currency(change)
    home = company.preference("CurrencyPrefs", "HomeCurrency")
    doc.setdefault("CurrencyRef", {"value": home["value"], "name": home.get("name", home["value"])})
    doc["PrintOnCheckName"] = doc.get("PrintOnCheckName") or name.removesuffix(DELETED)[: 100 if kind == "Vendor" else 110]
    if kind == "Customer":
        _finish_customer(change)
    elif kind == "Vendor":
        doc.setdefault("Vendor1099", False)
    else:
        doc.setdefault("BillableTime", False)


def _active_name(company: Company, kind: str, name: str, active: bool, old: Doc | None) -> str:
    """Inactive names carry " (deleted)"; taking one back into use strips it."""
    if active:
        if old is not None and not old.get("Active", True) and name.endswith(DELETED):
            return name.removesuffix(DELETED)
        return name
    if name.endswith(DELETED) or "(deleted-" in name:
        return name
    candidate, number = name + DELETED, 0
    while (taken := company.names.get(folded(candidate))) and (old is None or taken != (kind, old["Id"])):
        number += 1
        candidate = f"{name} (deleted-{number})"
    return candidate


def keep_masked(old: Doc | None, doc: Doc) -> None:
    """A masked tax number that a client echoes back means the stored one."""
    for name in TAX_IDENTIFIERS:
        known = (old or {}).get(name)
        if known and doc.get(name) == masked(known):
            doc[name] = known


def _check_closing_name(company: Company, kind: str, old: Doc | None) -> None:
    if old is None:
        return
    if kind == "Customer":
        if any(_bills(part, old["Id"]) for part in _billable_parts(company)):
            raise Fault("6280")
        if company.close_balance and company.open_balance.get((kind, old["Id"])):
            raise Fault("6220")


def _billable_parts(company: Company) -> Iterator[Doc]:
    """Hours, and the lines of bills and expenses: what can be billed on to a customer."""
    yield from company.rows("TimeActivity")
    for kind in ("Bill", "Purchase"):
        for doc in company.rows(kind):
            for line in doc.get("Line", ()):
                detail = line.get(line.get("DetailType", ""))
                if isinstance(detail, dict):
                    yield detail


def _bills(part: Doc, customer_id: str) -> bool:
    return part.get("BillableStatus") == "Billable" and (part.get("CustomerRef") or {}).get("value") == customer_id


def _finish_open_balance(change: Change) -> None:
    doc, old = change.doc, change.old
    opening = doc.pop("Balance", None)
    if old is None and opening:
        if "OpenBalanceDate" not in doc:
            raise Fault("6060", element="OpenBalanceDate")
        doc["_opening"] = cents(opening)
    doc.pop("OpenBalanceDate", None) if old is not None else None


def _finish_customer(change: Change) -> None:
    doc, old = change.doc, change.old
    parent_ref = doc.get("ParentRef")
    if doc.get("Job") and not parent_ref:
        raise Fault("6150", element="ParentRef")
    name = doc["DisplayName"]
    doc["Level"], doc["FullyQualifiedName"] = 0, name
    if parent_ref:
        parent = _parent(change, "Customer", parent_ref["value"])
        doc["Level"] = parent.get("Level", 0) + 1
        if doc["Level"] >= 5:
            raise Fault("6180")
        doc["FullyQualifiedName"] = f"{parent['FullyQualifiedName']}:{name}"
        doc["Job"] = True
        doc.setdefault("BillWithParent", False)
    elif doc.get("BillWithParent"):
        raise Fault("6150", element="ParentRef")
    doc.setdefault("Job", False)
    doc.setdefault("BillWithParent", False)
    doc.setdefault("Taxable", False)
    doc.setdefault("PreferredDeliveryMethod", "Print")
    if old is not None and old.get("BillWithParent") and not doc.get("BillWithParent") and old.get("ParentRef") == parent_ref:
        raise Fault("6130", element="BillWithParent")


def _parent(change: Change, kind: str, parent_id: str) -> Doc:
    own = (change.old or {}).get("Id")
    if parent_id == own:
        raise Fault("900", element="ParentRef")
    parent = change.company.get(kind, parent_id)
    if parent is None:
        raise Fault("700", element="ParentRef", value=parent_id)
    above: Doc | None = parent
    for _ in range(10):
        above_ref = above.get("ParentRef") if above else None
        if not above_ref:
            break
        if above_ref["value"] == own:
            raise Fault("700", element="ParentRef", value=parent_id)
        above = change.company.get(kind, above_ref["value"])
    return parent


def finish_list(change: Change) -> None:
    """Name, tree and uniqueness for lists with Name: Item, Account, Class, Department, Term, PaymentMethod, ..."""
    company, doc, old, kind = change.company, change.doc, change.old, change.entity.kind
    name = str(doc.get("Name") or "").strip()
    if not name:
        raise Fault("2020", element="Name")
    if (FORBIDDEN_IN_ACCOUNTS if kind == "Account" else FORBIDDEN_IN_NAMES).search(name) and not (old and old["Name"] == name):
        raise Fault("2040", element="Name", value=name)
    active = doc.setdefault("Active", True)
    if not active and not name.endswith(DELETED):
        name += DELETED
    elif active and old is not None and not old.get("Active", True):
        name = name.removesuffix(DELETED)
    full, level = name, 0
    flag = {"Item": "SubItem", "Account": "SubAccount", "Class": "SubClass", "Department": "SubDepartment"}.get(kind)
    parent_ref = doc.get("ParentRef")
    if flag:
        if doc.get(flag) and not parent_ref:
            raise Fault("6150", element="ParentRef")
        doc[flag] = bool(parent_ref)
        if parent_ref:
            parent = _parent(change, kind, parent_ref["value"])
            level = parent.get("FullyQualifiedName", "").count(":") + 1
            if level >= 5:
                raise Fault("6180")
            full = f"{parent['FullyQualifiedName']}:{name}"
    doc["Name"] = name
    if flag:
        doc["FullyQualifiedName"] = full
    taken = company.list_names.get(kind, {}).get(folded(full))
    if active and taken and (old is None or taken != old["Id"]):
        raise Fault(
            "6240",
            value=f"Another {kind.lower()} is already using this name. Please use a different name. "
            f"The {kind.lower()} ID is: {taken}",
        )
    if kind in ("Class", "Department") and old is None and company.plan != "advanced":
        used = sum(1 for k in ("Class", "Department") for row in company.rows(k) if row.get("Active", True))
        if used >= 40:
            raise Fault("6000", detail="Business Validation Error: the usage limit of 40 classes and locations is reached.")


CLASSIFICATION = {
    **dict.fromkeys(("Bank", "Accounts Receivable", "Other Current Asset", "Fixed Asset", "Other Asset"), "Asset"),
    **dict.fromkeys(("Accounts Payable", "Credit Card", "Other Current Liability", "Long Term Liability"), "Liability"),
    "Equity": "Equity",
    **dict.fromkeys(("Income", "Other Income"), "Revenue"),
    **dict.fromkeys(("Cost of Goods Sold", "Expense", "Other Expense"), "Expense"),
    "Non-Posting": "Non-Posting",
}


DEFAULT_SUBTYPE = {
    "Bank": "Checking",
    "Accounts Receivable": "AccountsReceivable",
    "Other Current Asset": "OtherCurrentAssets",
    "Fixed Asset": "OtherFixedAssets",
    "Other Asset": "OtherLongTermAssets",
    "Accounts Payable": "AccountsPayable",
    "Credit Card": "CreditCard",
    "Other Current Liability": "OtherCurrentLiabilities",
    "Long Term Liability": "OtherLongTermLiabilities",
    "Equity": "OpeningBalanceEquity",
    "Income": "ServiceFeeIncome",
    "Cost of Goods Sold": "SuppliesMaterialsCogs",
    "Expense": "OtherMiscellaneousServiceCost",
    "Other Income": "OtherMiscellaneousIncome",
    "Other Expense": "OtherMiscellaneousExpense",
}


CONTROLS = {"Accounts Receivable", "Accounts Payable"}  # their sub-ledgers are the customers and vendors


def finish_account(change: Change) -> None:
    company, doc = change.company, change.doc
    kind = doc.get("AccountType")
    if not kind and not doc.get("AccountSubType"):
        raise Fault("6010", element="AccountType")
    if not kind:
        kind = next((t for t, s in DEFAULT_SUBTYPE.items() if s == doc["AccountSubType"]), None)
        if kind is None:
            raise Fault("6430", value=str(doc["AccountSubType"]))
        doc["AccountType"] = kind
    if change.old is not None and kind != (was := change.old["AccountType"]) and CONTROLS & {kind, was}:
        raise Fault("6430", value=f"An account cannot be changed from {was} to {kind}.")
    finish_list(change)
    doc["Classification"] = CLASSIFICATION[kind]
    doc.setdefault("AccountSubType", DEFAULT_SUBTYPE.get(kind, "OtherCurrentAssets"))
    home = company.preference("CurrencyPrefs", "HomeCurrency")
    doc.setdefault("CurrencyRef", {"value": home["value"], "name": home.get("name", home["value"])})
    doc.setdefault("CurrentBalance", ZERO)
    doc.setdefault("CurrentBalanceWithSubAccounts", ZERO)
    if (
        change.old is None
        and company.plan != "advanced"
        and sum(1 for a in company.rows("Account") if a.get("Active", True)) >= 250
    ):
        raise Fault("6000", detail="Business Validation Error: the usage limit of 250 accounts is reached.")


def finish_item(change: Change) -> None:
    company, doc, old = change.company, change.doc, change.old
    kind = doc["Type"]
    finish_list(change)
    if kind == "Service" and "IncomeAccountRef" not in doc:
        raise Fault("2020", element="IncomeAccountRef")
    if kind == "NonInventory" and "IncomeAccountRef" not in doc and "ExpenseAccountRef" not in doc:
        raise Fault("2020", element="IncomeAccountRef")
    if old is not None and old.get("TrackQtyOnHand") and doc.get("TrackQtyOnHand") is False:
        raise Fault("6000", detail="Business Validation Error: TrackQtyOnHand cannot be switched off again.")
    if kind == "Inventory":
        _finish_inventory(change)
    if "IncomeAccountRef" in doc:
        account_type(company, doc["IncomeAccountRef"], ("Income", "Other Income"))
    if "ExpenseAccountRef" in doc and kind == "Inventory":
        account_type(company, doc["ExpenseAccountRef"], ("Cost of Goods Sold",))
    doc.setdefault("Taxable", False)
    doc.setdefault("TrackQtyOnHand", False)
    if kind != "Category":
        doc.setdefault("UnitPrice", ZERO)
        doc.setdefault("PurchaseCost", ZERO)


def _finish_inventory(change: Change) -> None:
    company, doc = change.company, change.doc
    if PLANS.index(company.plan) < PLANS.index("plus"):
        raise Fault("5030", value="Inventory")
    for name in ("IncomeAccountRef", "ExpenseAccountRef", "AssetAccountRef"):
        if name not in doc:
            raise Fault("2020", element=name)
    if not doc.get("TrackQtyOnHand"):
        raise Fault("2020", element="TrackQtyOnHand")
    if "QtyOnHand" not in doc or "InvStartDate" not in doc:
        raise Fault("6520", element="QtyOnHand")
    if change.old is not None and "QtyOnHand" in change.old:
        # Stored is the starting quantity; what readers see follows the documents, and they send it back on updates.
        doc["QtyOnHand"] = change.old["QtyOnHand"]
    account_type(company, doc["AssetAccountRef"], ("Other Current Asset",))


def finish_term(change: Change) -> None:
    doc = change.doc
    finish_list(change)
    if "DueDays" in doc and "DayOfMonthDue" in doc:
        raise Fault("2600", element="DueDays and DayOfMonthDue")
    if "DueDays" not in doc and "DayOfMonthDue" not in doc:
        raise Fault("2020", element="DueDays")
    doc["Type"] = "DATE_DRIVEN" if "DayOfMonthDue" in doc else "STANDARD"


def finish_currency(change: Change) -> None:
    doc = change.doc
    if not re.fullmatch(r"[A-Z]{3}", doc["Code"]):
        raise Fault("2220", element="Code", value=doc["Code"])
    own = change.old["Id"] if change.old else None
    if any(row["Code"] == doc["Code"] and row["Id"] != own for row in change.company.rows("CompanyCurrency")):
        raise Fault("630", element="Code", value=doc["Code"])
    doc.setdefault("Name", doc["Code"])
    doc.setdefault("Active", True)


def finish_agency(change: Change) -> None:
    doc = change.doc
    if any(folded(row["DisplayName"]) == folded(doc["DisplayName"]) for row in change.company.rows("TaxAgency")):
        raise Fault("630", element="DisplayName", value=doc["DisplayName"])


def finish_budget(change: Change) -> None:
    doc = change.doc
    if not doc.get("BudgetDetail"):
        raise Fault("6490", element="BudgetDetail")
    for line in doc["BudgetDetail"]:
        if not doc["StartDate"] <= line.get("BudgetDate", doc["StartDate"]) <= doc["EndDate"]:
            raise Fault("6500", element="BudgetDate")
        if "AccountRef" not in line:
            raise Fault("6510", element="AccountRef")
    doc.setdefault("Active", True)


def finish_attachable(change: Change) -> None:
    doc, company = change.doc, change.company
    if not doc.get("Note") and not doc.get("FileName") and change.old is None:
        raise Fault("2020", element="Note")
    for reference in doc.get("AttachableRef", ()):
        target = reference.get("EntityRef")
        if not target:
            continue
        kind = next((k for k in KINDS if k.lower() == str(target.get("type", "")).lower()), None)
        if kind is None or kind in ("CompanyInfo", "Preferences", "Attachable", "TaxCode", "TaxRate"):
            raise Fault("6050", element="EntityRef", value=target.get("type"))
        if company.get(kind, str(target["value"])) is None:
            raise Fault("2500", element="EntityRef", value=target["value"], target=kind + "s")
        target["type"] = kind
