"""Documents as a program that uses python-quickbooks puts them together: every default of the library goes out with them."""

from typing import Any

from quickbooks import QuickBooks
from quickbooks.objects import (
    AccountBasedExpenseLine,
    AccountBasedExpenseLineDetail,
    Bill,
    Customer,
    Invoice,
    ItemBasedExpenseLine,
    ItemBasedExpenseLineDetail,
    LinkedTxn,
    Payment,
    PaymentLine,
    Ref,
    SalesItemLine,
    SalesItemLineDetail,
    Vendor,
)


def ref(value: str, kind: str = "") -> Ref:
    """A reference by Id."""
    made = Ref()
    made.value, made.type = value, kind
    return made


def fill(target: Any, **fields: Any) -> Any:
    """Set attributes and return the object."""
    for name, value in fields.items():
        setattr(target, name, value)
    return target


def sold(amount: Any, item: str = "1", **detail: Any) -> SalesItemLine:
    """A sales line as the library's README makes it: Qty and UnitPrice stay 0 beside an Amount unless they are given."""
    line = fill(SalesItemLine(), Amount=amount, Description="a line")
    line.SalesItemLineDetail = fill(SalesItemLineDetail(), ItemRef=ref(item), **detail)
    return line


def spent(amount: Any, account: str = "20") -> AccountBasedExpenseLine:
    """An expense line against an account."""
    line = fill(AccountBasedExpenseLine(), Amount=amount)
    line.AccountBasedExpenseLineDetail = fill(AccountBasedExpenseLineDetail(), AccountRef=ref(account))
    return line


def bought(amount: Any, item: str) -> ItemBasedExpenseLine:
    """An expense line for an item."""
    line = fill(ItemBasedExpenseLine(), Amount=amount)
    line.ItemBasedExpenseLineDetail = fill(ItemBasedExpenseLineDetail(), ItemRef=ref(item), Qty=1, UnitPrice=amount)
    return line


def customer(qb: QuickBooks, name: str, **fields: Any) -> Customer:
    """A saved customer."""
    return fill(Customer(), DisplayName=name, **fields).save(qb=qb)


def vendor(qb: QuickBooks, name: str) -> Vendor:
    """A saved vendor."""
    return fill(Vendor(), DisplayName=name).save(qb=qb)


def invoice(qb: QuickBooks, amount: Any = 100, number: str | None = None, to: str = "1", **fields: Any) -> Invoice:
    """A saved invoice."""
    return fill(Invoice(), CustomerRef=ref(to), Line=[sold(amount)], DocNumber=number, **fields).save(qb=qb)


def bill(qb: QuickBooks, amount: Any, number: str = "", of: str = "51") -> Bill:
    """A saved bill."""
    return fill(Bill(), VendorRef=ref(of), Line=[spent(amount)], DocNumber=number).save(qb=qb)


def applied(amount: Any, *documents: Any) -> PaymentLine:
    """A payment's line over documents."""
    line = fill(PaymentLine(), Amount=amount)
    line.LinkedTxn = [fill(LinkedTxn(), TxnId=d.Id, TxnType=d.qbo_object_name) for d in documents]
    return line


def paid(qb: QuickBooks, amount: Any, document: Any) -> Payment:
    """A saved payment over one invoice."""
    return fill(Payment(), CustomerRef=document.CustomerRef, TotalAmt=amount, Line=[applied(amount, document)]).save(qb=qb)
