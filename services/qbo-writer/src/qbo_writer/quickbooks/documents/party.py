"""Customers and vendors in QuickBooks."""

from qbo_writer.domain import LedgerKind
from qbo_writer.kinds import NameContent
from qbo_writer.names import fold
from qbo_writer.quickbooks.documents.draft import Draft
from qbo_writer.quickbooks.documents.form import Form
from qbo_writer.quickbooks.values import clean


def _write(draft: Draft, content: NameContent) -> None:
    draft.body |= {"DisplayName": clean(content.name), "Notes": draft.marker}
    if content.email:
        draft.body["PrimaryEmailAddr"] = {"Address": clean(content.email)}
    draft.fields["name"] = fold(clean(content.name))


CUSTOMER = Form(LedgerKind.CUSTOMER, "Customer", "customerdetail?nameId={}", "", _write)
VENDOR = Form(LedgerKind.VENDOR, "Vendor", "vendordetail?nameId={}", "", _write)
