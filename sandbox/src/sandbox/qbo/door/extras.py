"""PDF, send, pay link and the tax service: small endpoints for a document."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

from sandbox.qbo.company.clock import pacific
from sandbox.qbo.company.schema import KINDS, Entity
from sandbox.qbo.company.store import Company, Doc
from sandbox.qbo.control.world import World
from sandbox.qbo.documents import writes
from sandbox.qbo.door.pdf import render
from sandbox.qbo.rules.changes import Options, bump
from sandbox.qbo.rules.faults import Fault
from sandbox.qbo.rules.validation import number

_EMAIL = re.compile(r"[^@\s,;<>]+@[^@\s,;<>]+\.[^@\s,;<>]+")


def _document(company: Company, entity: Entity, doc_id: str) -> Doc:
    if not entity.pdf:
        raise Fault("500", detail=f"The operation is not supported for {entity.kind}.")
    if not doc_id.isascii() or not doc_id.isdigit():
        raise Fault("2030", element="Id", value=doc_id)
    doc = company.get(entity.kind, doc_id)
    if doc is None:
        raise Fault("610")
    return doc


def pdf(company: Company, entity: Entity, doc_id: str) -> bytes:
    """The document as PDF."""
    doc = _document(company, entity, doc_id)
    return render(company, entity.kind, doc)


def send(company: Company, entity: Entity, doc_id: str, to: str | None, per_day: int) -> Doc:
    """Mark a document as e-mailed; `to` replaces its BillEmail."""
    doc = _document(company, entity, doc_id)
    if to is not None and not _EMAIL.fullmatch(to):
        raise Fault("2210", element="sendTo", value=to)
    address = to or (doc.get("BillEmail") or doc.get("POEmail") or {}).get("Address")
    if not address:
        raise Fault("6420", element="BillEmail")
    today = company.today()
    if company.mails_sent.get(today, 0) >= per_day:
        raise Fault("3001", detail=f"The limit of {per_day} e-mails a day is reached.")
    company.mails_sent[today] = company.mails_sent.get(today, 0) + 1
    new = {
        **doc,
        "EmailStatus": "EmailSent",
        "DeliveryInfo": {"DeliveryType": "Email", "DeliveryTime": pacific(company.clock.now())},
    }
    if entity.kind != "Payment":
        new["POEmail" if entity.kind == "PurchaseOrder" else "BillEmail"] = {"Address": address}
    bump(company, doc, new)
    return company.put(entity.kind, new, "Emailed")


def with_invoice_link(world: World, company: Company, doc: Doc) -> Doc:
    """The invoice with its pay link, where the company takes online payments and the invoice has an e-mail address."""
    if not company.online_payments or not (doc.get("BillEmail") or {}).get("Address") or not doc.get("Balance"):
        return doc
    return {**doc, "InvoiceLink": f"{world.config.base_url}/pay/{company.realm_id}/{doc['Id']}"}


def create_tax_code(company: Company, body: Any) -> dict[str, Any]:
    """`POST /taxservice/taxcode`: a tax code with new or known rates."""
    if type(body) is not dict:
        raise Fault("2010", detail="Property Name:failed to parse json object; the request body is no object")
    # python-quickbooks sends the "Id": 0 that all its objects have
    unknown = next((key for key in body if key not in ("TaxCode", "TaxRateDetails", "TaxCodeId", "Fault", "Id")), None)
    if unknown:
        raise Fault("2010", element=unknown)
    name, details = body.get("TaxCode"), body.get("TaxRateDetails")
    if not name or type(name) is not str:
        raise Fault("2020", element="TaxCode")
    if not details or type(details) is not list:
        raise Fault("2020", element="TaxRateDetails")
    options = Options(person=True)
    rate_ids, shown = [], []
    for detail in details:
        if type(detail) is not dict:
            raise Fault("2120", element="TaxRateDetails", value=detail)
        rate = _tax_rate(company, detail, options)
        rate_ids.append(rate["Id"])
        shown.append(
            {
                **{k: v for k, v in detail.items() if not isinstance(v, float)},
                "RateValue": rate["RateValue"],
                "TaxRateId": rate["Id"],
            }
        )
    code = writes.save(
        company,
        KINDS["TaxCode"],
        {
            "Name": name,
            "Description": name,
            "Taxable": True,
            "TaxGroup": True,
            "Hidden": False,
            "SalesTaxRateList": {
                "TaxRateDetail": [
                    {"TaxRateRef": {"value": i}, "TaxTypeApplicable": "TaxOnAmount", "TaxOrder": 0} for i in rate_ids
                ]
            },
            "PurchaseTaxRateList": {"TaxRateDetail": []},
        },
        options,
    )
    return {"TaxCode": name, "TaxCodeId": code["Id"], "TaxRateDetails": shown}


def _tax_rate(company: Company, detail: dict[str, Any], options: Options) -> Doc:
    known = detail.get("TaxRateId")
    if known:
        rate = company.get("TaxRate", str(known))
        if rate is None:
            raise Fault("2500", element="TaxRateId", value=known, target="TaxRates")
        return rate
    for name in ("TaxRateName", "RateValue", "TaxAgencyId"):
        if detail.get(name) in (None, ""):
            raise Fault("2020", element=name)
    percent: Decimal = number(detail["RateValue"], "RateValue", "2150")
    if not 0 <= percent <= 100:
        raise Fault("2150", element="RateValue", value=percent)
    return writes.save(
        company,
        KINDS["TaxRate"],
        {
            "Name": str(detail["TaxRateName"]),
            "Description": str(detail["TaxRateName"]),
            "RateValue": percent,
            "AgencyRef": {"value": str(detail["TaxAgencyId"])},
        },
        options,
    )
