"""What a document itself names and the company lacks was said to be named by the company policy: the wrong place to look."""

from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

import pytest
from bookrelay import messages as m
from document_kinds import content
from qbo_writer.domain import AccessToken, CompanyFacts, LedgerKind, Reference
from qbo_writer.policy import Policy
from qbo_writer.quickbooks import documents
from qbo_writer.quickbooks.missing import Missing, named_but_missing, unfit
from qbo_writer.quickbooks.resolving import DefaultsFinding, Finding

HELD = ("Services", "Supplies")
FACTS = CompanyFacts(country="US", class_per="line", departments=True, discounts=True)


class FakeLists:
    """Lists of a company that has every customer and vendor, "Services", "Supplies", and at most one other entry."""

    def __init__(self, found: Reference | None = None) -> None:
        self._found = found

    async def target(self, realm: str, entity: str, target: Any, token: AccessToken) -> str:
        if target.name in HELD:
            return "2"
        raise Missing(unfit(self._found) if self._found else named_but_missing(entity, repr(target.name)))

    async def listed(self, realm: str, entity: str, key: str, token: AccessToken, *, by_id: bool = False) -> Reference | None:
        return Reference(entity, "2", key) if key in HELD else self._found and replace(self._found, entity=entity)

    async def name(self, realm: str, entity: str, name: str, email: str | None, policy: Policy, token: AccessToken) -> str:
        return "1"


def finding(type_: type[Finding] = Finding, policy: dict[str, Any] | None = None, **of: Any) -> Any:
    given = {"unmapped": "reject", **(policy or {})}
    given["defaults"] = {"item": "Services", "account": "Supplies", **given.get("defaults", {})}
    parsed = Policy.parse(given, Path("policy.toml"))
    lists = FakeLists(of.pop("found", None))
    return type_("1", parsed, parsed.defaults, replace(FACTS, **of), lists, cast(Any, None), cast(Any, None))


def sales(**line: Any) -> Any:
    return content(m.Kind.INVOICE).model_copy(update={"lines": (m.InvoiceLine(amount=Decimal(5), **line),)})


def purchase(**line: Any) -> Any:
    return content(m.Kind.BILL).model_copy(update={"lines": (m.BillLine(amount=Decimal(5), **line),)})


DOCUMENTS = {
    "term": lambda name: content(m.Kind.INVOICE, terms=name),
    "class": lambda name: content(m.Kind.INVOICE, class_name=name),
    "location": lambda name: content(m.Kind.BILL, department=name),
    "payment method": lambda name: content(m.Kind.PAYMENT, payment_method=name),
    "deposit account": lambda name: content(m.Kind.SALES_RECEIPT, deposit_to=name),
    "tax code": lambda name: sales(tax_code=name),
    "product or service": lambda name: sales(item=name),
    "account": lambda name: purchase(account=name),
}
POLICIES: dict[str, dict[str, Any]] = {
    "term": {"defaults": {"terms": "Zebra"}},
    "class": {"defaults": {"class": "Zebra"}},
    "location": {"defaults": {"department": "Zebra"}},
    "tax code": {"defaults": {"tax_code": "Zebra"}},
    "product or service": {"defaults": {"item": "Zebra"}},
    "mapped term": {"terms": {"Net 30": "Zebra"}},
}


async def refused(search: Any, document: Any) -> tuple[str, str]:
    with pytest.raises(Missing) as raised:
        await documents.of(LedgerKind(document_kind(document))).refer(search, document)
    return raised.value.unmapped.reason, raised.value.unmapped.fix


def document_kind(document: Any) -> str:
    return {
        m.InvoiceContent: "invoice", m.BillContent: "bill", m.PaymentContent: "payment", m.SalesReceiptContent: "sales_receipt",
    }[type(document)]  # fmt: skip


@pytest.mark.parametrize("word", DOCUMENTS)
async def test_what_the_document_names_and_the_company_lacks(word: str) -> None:
    document = DOCUMENTS[word]("Zebra")
    reason, fix = await refused(finding(), document)
    assert reason.startswith(f"There is no {word.removeprefix('deposit ')} 'Zebra' in QuickBooks"), reason
    assert "setting" not in reason + fix
    assert fix.startswith("Create it in QuickBooks, or ")
    assert ("company policy" in fix) == (word not in ("payment method", "tax code")), "only where it can be mapped"


@pytest.mark.parametrize("word", DOCUMENTS)
async def test_what_the_document_names_is_inactive(word: str) -> None:
    reason, fix = await refused(finding(found=Reference("Any", "7", "Zebra", active=False)), DOCUMENTS[word]("Zebra"))
    assert reason == f"The {word.removeprefix('deposit ')} 'Zebra' is inactive in QuickBooks."
    assert fix.startswith("Make it active in QuickBooks, or ")
    assert ("company policy" in fix) == (word not in ("payment method", "tax code"))


@pytest.mark.parametrize("word", POLICIES)
async def test_what_the_policy_names_and_the_company_lacks(word: str) -> None:
    document = content(m.Kind.INVOICE, terms="Net 30") if word == "mapped term" else sales(item="default")
    reason, _ = await refused(finding(policy=POLICIES[word]), document)
    assert (
        reason
        == f"The {word.removeprefix('mapped ')} 'Zebra', which the company policy or a setting names, is not in QuickBooks."
    )


@pytest.mark.parametrize(("of", "policy", "off"), [
    ("class_name", "class", {"class_per": None}), ("department", "department", {"departments": False}),
])  # fmt: skip
async def test_who_names_what_the_company_does_not_use(of: str, policy: str, off: dict[str, Any]) -> None:
    reason, fix = await refused(finding(**off), content(m.Kind.INVOICE, **{of: "Zebra"}))
    assert reason.startswith("The document names a ")
    given = {"defaults": {policy: "Zebra"}}
    reason, fix = await refused(finding(policy=given, **off), content(m.Kind.INVOICE))
    assert reason.startswith("The company policy names a ")
    assert f"remove {policy} from [defaults]" in fix
    with pytest.raises(Missing) as raised:  # and so in `preflight`
        await finding(DefaultsFinding, policy=given, **off).run(LedgerKind.INVOICE)
    assert (raised.value.unmapped.reason, raised.value.unmapped.fix) == (reason, fix)


@pytest.mark.parametrize(("document", "word", "setting"), [
    (content(m.Kind.INVOICE), "product or service", "QBO_DEFAULT_ITEM_ID"),
    (content(m.Kind.BILL), "account", "QB_DEFAULT_EXPENSE_ACCOUNT"),
])  # fmt: skip
async def test_a_line_that_names_nothing_where_no_default_is_set(document: Any, word: str, setting: str) -> None:
    reason, fix = await refused(finding(policy={"defaults": {"item": None, "account": None}}), document)
    assert reason == f"A line names no {word}, and no default is set."
    assert setting in fix
