"""Finds what one content refers to in the company's lists: mapping table first, then exact name, then the policy's default."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from bookrelay.messages import CustomField, Party, PurchaseContent, SalesContent

from qbo_writer import kinds
from qbo_writer.domain import AccessToken, CompanyFacts, LedgerKind, Reference
from qbo_writer.names import fold
from qbo_writer.policy import Defaults, ItemTarget, Policy, Target, lacking, not_said
from qbo_writer.quickbooks import documents, taxes
from qbo_writer.quickbooks.documents.draft import tax_of
from qbo_writer.quickbooks.missing import (
    NO_BANK_ACCOUNT,
    NO_CLASSES,
    NO_CLASSES_FOR_POLICY,
    NO_DEFAULT,
    NO_DISCOUNTS,
    NO_LOCATIONS,
    NO_LOCATIONS_FOR_POLICY,
    US_TAX,
    Missing,
    unfit,
    unmapped,
)
from qbo_writer.settings import Settings

_TAX_WORDS = frozenset({"TAX", "NON"})  # US companies: words instead of Ids
_UNTAXED = "NON"


class Lists(Protocol):
    """The part of the lists that is needed. Each method raises Missing, New or LookupFailed."""

    async def target(self, realm: str, entity: str, target: Target, token: AccessToken) -> str:
        """Return the Id of an entry that the policy names."""

    async def listed(self, realm: str, entity: str, key: str, token: AccessToken, *, by_id: bool = False) -> Reference | None:
        """Find an entry by its name or Id."""

    async def name(self, realm: str, entity: str, name: str, email: str | None, policy: Policy, token: AccessToken) -> str:
        """Return the Id of a customer or vendor."""


@dataclass
class Finding:
    """One search (a `documents.Finder`): fills `ids`. Raises Missing, New and LookupFailed."""

    realm: str
    policy: Policy
    defaults: Defaults
    facts: CompanyFacts
    lists: Lists
    rates: taxes.Rates
    token: AccessToken
    ids: dict[str, str] = field(default_factory=dict)

    # ----------------------------------------------------------------------------------------------------------- lines

    async def items(self, keys: Iterable[str]) -> None:
        """See `documents.Finder`."""
        await self._lines("Item", "item", keys, self.policy.items, self.defaults.item)

    async def accounts(self, keys: Iterable[str]) -> None:
        """See `documents.Finder`."""
        await self._lines("Account", "account", keys, self.policy.accounts, self.defaults.account)

    async def _lines(
        self, entity: str, prefix: str, keys: Iterable[str], table: Mapping[str, Target], default: Target | None
    ) -> None:
        """Find items or accounts of the lines: mapping, exact name in QuickBooks, default."""
        for key in dict.fromkeys(keys):
            target, found = table.get(fold(key)), None
            if target is None and fold(key) != "default":
                found = await self.lists.listed(self.realm, entity, key, self.token)
                if found and found.active and not found.heads:
                    self.ids[f"{prefix}:{key}"] = found.qbo_id
                    continue
            target = target or (default if self.policy.unmapped == "default" or fold(key) == "default" else None)
            if target is None:
                raise Missing(NO_DEFAULT[entity] if fold(key) == "default" else unfit(found) if found else unmapped(entity, key))
            self.ids[f"{prefix}:{key}"] = await self._target(entity, target)
            if isinstance(target, ItemTarget) and target.tax_code:
                self.ids[f"tax:{key}"] = await self.tax_code(target.tax_code)

    async def custom_fields(self, fields: Sequence[CustomField]) -> None:
        """See `documents.Finder`."""
        mapped = self.policy.custom_fields
        self.ids.update({f"custom:{one.name}": mapped[one.name] for one in fields if one.name in mapped})

    # ---------------------------------------------------------------------------------------------------------- header

    async def heading(self, *, class_name: str | None, department: str | None, class_per_document: bool = False) -> None:
        """See `documents.Finder`."""
        defaults = self.policy.defaults
        if (class_name or defaults.class_name) and self.facts.class_per is None:
            raise Missing(NO_CLASSES if class_name else NO_CLASSES_FOR_POLICY)
        of_document = class_per_document and self.facts.class_per == "transaction"
        await self._optional(
            "class" if of_document else "line_class", "Class", class_name, self.policy.classes, defaults.class_name
        )
        if (department or defaults.department) and not self.facts.departments:
            raise Missing(NO_LOCATIONS if department else NO_LOCATIONS_FOR_POLICY)
        await self._optional("department", "Department", department, self.policy.departments, defaults.department)

    async def terms(self, name: str | None) -> None:
        """See `documents.Finder`."""
        await self._optional("term", "Term", name, self.policy.terms, self.policy.defaults.terms)

    async def account(self, place: Literal["ap_account"]) -> None:
        """See `documents.Finder`."""
        if target := getattr(self.defaults, place):
            self.ids[place] = await self._target("Account", target)

    async def paying_account(self) -> None:
        """See `documents.Finder`."""
        if self.defaults.bank_account is None:
            raise Missing(NO_BANK_ACCOUNT)
        self.ids["bank_account"] = await self._target("Account", self.defaults.bank_account)

    async def deposit(self, account: str | None, method: str | None) -> None:
        """See `documents.Finder`."""
        if account:
            await self._optional("deposit_account", "Account", account, self.policy.accounts, None)
        await self._optional("payment_method", "PaymentMethod", method, {}, None)

    async def _optional(
        self, place: str, entity: str, name: str | None, table: Mapping[str, Target], default: Target | None
    ) -> None:
        target = table.get(fold(name)) if name else default
        if target:
            self.ids[place] = await self._target(entity, target)
        elif name:
            self.ids[place] = await self._named(entity, name)

    async def _named(self, entity: str, key: str, *, by_id: bool = False) -> str:
        """Return the Id of an entry that the document itself names, without a mapping."""
        found = await self.lists.listed(self.realm, entity, key, self.token, by_id=by_id)
        if found is None:
            raise Missing(unmapped(entity, key))
        if not found.active or found.heads:
            raise Missing(unfit(found))
        return found.qbo_id

    # ----------------------------------------------------------------------------------------------------------- taxes

    async def taxes(self, content: SalesContent | PurchaseContent) -> None:
        """Find the lines' tax codes (in the US the single sales tax that a document can have) and the discount's account."""
        sales, ids, facts = isinstance(content, SalesContent), self.ids, self.facts
        if self.defaults.tax_code:
            ids["tax"] = await self.tax_code(self.defaults.tax_code)
        elif sales and facts.in_us:
            ids["tax"] = _UNTAXED  # else a taxable item or the automated sales tax adds tax that was not requested
        for code in dict.fromkeys(line.tax_code for line in content.lines if line.tax_code):
            ids[f"tax_code:{code}"] = await self.own_tax_code(code)
        codes = {tax_of(line, ids) for line in content.lines}
        if facts.country and not facts.in_us:
            await self._taxes_abroad(content, codes)
        elif rates := codes - _TAX_WORDS - {None}:
            if not sales or len(rates) > 1:
                raise Missing(US_TAX)
            ids["txn_tax"] = rates.pop() or ""
        if facts.in_us and codes - {_UNTAXED, None} and self.policy.amounts == "gross":
            raise Missing(taxes.GROSS_IN_US)
        if isinstance(content, SalesContent) and content.discount is not None:
            await self.discount()

    async def discount(self) -> None:
        """Find the discount's account, if the policy names one. Raises Missing if the company does not use discounts."""
        if not self.facts.discounts:
            raise Missing(NO_DISCOUNTS)
        if self.defaults.discount_account:
            self.ids["discount_account"] = await self._target("Account", self.defaults.discount_account)

    async def _taxes_abroad(self, content: SalesContent | PurchaseContent, codes: set[str | None]) -> None:
        """Outside the US: every line has a code if the company uses taxes, and amounts are net or gross."""
        sales = isinstance(content, SalesContent)
        if not self.facts.sales_tax and codes == {None}:
            self.ids["global_tax"] = "NotApplicable"
            return
        if None in codes or self.policy.amounts is None:
            raise Missing(not_said(self.policy))
        self.ids["global_tax"] = "TaxInclusive" if self.policy.amounts == "gross" else "TaxExcluded"
        if self.policy.amounts == "net":
            return
        if isinstance(content, SalesContent) and content.discount is not None:
            raise Missing(taxes.GROSS_DISCOUNT)
        for code in codes:
            percent = await self.rates.percent(self.realm, code or "", self.token, sales=sales)
            if percent is None:
                raise Missing(taxes.TAX_ON_TAX)
            self.ids[f"rate:{code}"] = str(percent)

    async def tax_code(self, code: str) -> str:
        """Return the Id of a tax code that the policy names, or the US word (TAX, NON)."""
        if code.upper() in _TAX_WORDS:
            return code.upper()
        return await self._target("TaxCode", Target(id=code) if code.isdigit() else Target(name=code))

    async def own_tax_code(self, code: str) -> str:
        """Return the Id of a tax code that the document names, or the US word (TAX, NON)."""
        return code.upper() if code.upper() in _TAX_WORDS else await self._named("TaxCode", code, by_id=code.isdigit())

    # --------------------------------------------------------------------------------------------------------- parties

    async def customer(self, party: Party) -> None:
        """See `documents.Finder`."""
        self.ids["customer"] = await self.lists.name(self.realm, "Customer", party.name, party.email, self.policy, self.token)

    async def vendor(self, party: Party) -> None:
        """See `documents.Finder`."""
        self.ids["vendor"] = await self.lists.name(self.realm, "Vendor", party.name, party.email, self.policy, self.token)

    async def _target(self, entity: str, target: Target) -> str:
        return await self.lists.target(self.realm, entity, target, self.token)


class DefaultsFinding(Finding):
    """Checks what the policy adds to documents of a kind, whatever they name themselves."""

    async def run(self, kind: LedgerKind) -> None:
        """Find the defaults. Raises Missing, LookupFailed."""
        content = kinds.of(kind).content
        nothing: dict[str, Any] = dict.fromkeys(content.model_fields) | {"lines": (), "custom_fields": ()}
        await documents.of(kind).refer(self, content.model_construct(**nothing))

    async def taxes(self, content: SalesContent | PurchaseContent) -> None:
        """Check the policy's tax code, and that it sets what the company requires."""
        if self.defaults.tax_code:
            await self.tax_code(self.defaults.tax_code)
        if self.facts.names_taxes and lacking(self.policy):
            raise Missing(not_said(self.policy))

    async def customer(self, party: Party) -> None:
        """No party is named."""

    async def vendor(self, party: Party) -> None:
        """No party is named."""


def with_settings(own: Defaults, settings: Settings) -> Defaults:
    """Return the policy's defaults, completed by the settings."""
    given: dict[str, Any] = {
        "item": _from_setting(settings.qbo_default_item_id, ItemTarget),
        "account": _from_setting(settings.qb_default_expense_account, Target),
        "ap_account": _from_setting(settings.qb_default_vendor_account, Target),
        "bank_account": _from_setting(settings.qb_default_bank_account, Target),
    }
    return own.model_copy(update={key: value for key, value in given.items() if value and getattr(own, key) is None})


def _from_setting(value: str | None, type_: type[Target]) -> Target | None:
    if not value:
        return None
    return type_(id=value) if value.isdigit() else type_(name=value)
