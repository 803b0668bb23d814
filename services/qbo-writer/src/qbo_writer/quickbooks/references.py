"""What a content refers to, in QuickBooks' lists: mapping table first, then exact name. Cached: no read of what is known.

The cache (memory, and qbo_writer.references across restarts) holds facts about QuickBooks, no decisions: it needs no fence.
"""

import asyncio
import contextlib
import re
import time
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Protocol

from bookrelay import telemetry
from bookrelay.db import Connection, Pool, transaction
from bookrelay.errors import Code
from bookrelay.messages import BillContent, InvoiceContent

from qbo_writer import kinds
from qbo_writer.domain import (
    AccessToken,
    CompanyFacts,
    LedgerKind,
    LookupFailed,
    LookupUnreadable,
    NameNeeded,
    Reference,
    Resolved,
    Seen,
    Skipped,
    Unmapped,
    UpdatedPage,
)
from qbo_writer.kinds import AnyContent, BillPaymentContent, NameContent
from qbo_writer.ledger import merges
from qbo_writer.names import alike, fold, last, means, no_name, own, resembles, texts, tidy
from qbo_writer.policy import Defaults, ItemTarget, Policy, Target, lacking, not_said
from qbo_writer.ports import FACTS_SECONDS
from qbo_writer.quickbooks import taxes
from qbo_writer.quickbooks.mapping import ENTITY, tax_of
from qbo_writer.quickbooks.name_lists import BELIEVED_SECONDS, NameLists
from qbo_writer.settings import WriterSettings

log = telemetry.get_logger(__name__)

NAMES = ("Customer", "Vendor", "Employee")
LISTS = ("Item", "Account", "Term", "Class", "Department", "TaxCode")
_ALSO = ("Name", "AcctNum")  # besides its full name an entry of a list is found by these
_TAX_WORDS = frozenset({"TAX", "NON"})  # US companies: words in place of ids
_UNTAXED = "NON"
_NO_LINES = {"Category": "category", "Group": "bundle"}  # types of items that never stand in a line by themselves
_ABSENT_SECONDS = BELIEVED_SECONDS  # how long "nobody has this name" is believed where it was asked for by itself
_LATELY_SECONDS = 300.0  # as long as a query may lag behind what QuickBooks has just answered
_MERGES_SECONDS = 60.0
_RELOAD_SECONDS = 60.0  # a list is read again for a name that it lacks, at most so often
_FACTS_AGAIN_SECONDS = 10.0  # between two reads of the company because of refusals
_FACTS_CHANGED_SECONDS = 120.0  # as long may a request that was prepared by older facts be on its way
_CURRENCY = re.compile(r"[A-Z]{3}")
_PLANS = {"simple start": "simple_start", "essentials": "essentials", "plus": "plus", "advanced": "advanced"}
_WORD = {"Customer": "customer", "Vendor": "vendor", "Employee": "employee", "Item": "product or service", "Account": "account",
         "Term": "term", "Class": "class", "Department": "location", "TaxCode": "tax code"}  # fmt: skip
_TABLE = {"Customer": "customers", "Vendor": "vendors", "Item": "items", "Account": "accounts", "Term": "terms",
          "Class": "classes", "Department": "departments"}  # fmt: skip


_KEPT = "entity, qbo_id, name, name_folded, active"  # what `_kept` reads


class Lists(Protocol):
    """What References needs of the client."""

    async def query(self, realm: str, statement: str, token: AccessToken) -> list[dict[str, Any]]:
        """Run a query, all pages."""

    async def read(self, realm: str, entity: str, qbo_id: str, token: AccessToken) -> Seen | None:
        """Read by Id; None if it is not there."""

    async def find_names(self, realm: str, name: str, token: AccessToken, entities: tuple[str, ...] = NAMES) -> list[Seen]:
        """Return who holds a name, inactive ones included."""

    async def updated(self, realm: str, entity: str, since: datetime, start: int, token: AccessToken) -> UpdatedPage:
        """Read one page of what was last updated at `since` or later, oldest first."""

    async def get(self, realm: str, path: str, params: Mapping[str, str], token: AccessToken) -> Any:
        """Read one address."""


@dataclass(frozen=True)
class Need:
    """One thing that a document refers to, by the name that the document gives.

    `what`: item, account, customer, vendor, term, class, location; or "defaults", what the policy adds to documents of the kind
    that `name` says.
    """

    what: str
    name: str


class _Missing(Exception):  # noqa: N818
    def __init__(self, unmapped: Unmapped) -> None:
        super().__init__(unmapped.reason)
        self.unmapped = unmapped


class _Alike(_Missing):
    """There are entries that a text may mean, and none that it means."""


class _New(Exception):  # noqa: N818
    def __init__(self, needed: NameNeeded) -> None:
        super().__init__(needed.name)
        self.needed = needed


@dataclass
class _List:
    by_id: dict[str, Reference]
    by_name: dict[str, Reference]
    loaded_at: float


class References:
    """Resolves what documents refer to."""

    def __init__(self, pool: Pool, books: Lists, policy: Policy, settings: WriterSettings) -> None:
        self._pool, self._books, self._policy, self._settings = pool, books, policy, settings
        self._policies: dict[str, Policy] = {}  # of companies whose policy was read again
        self._name_lists = NameLists(pool, books, self._keep_names)
        self._doubted: set[tuple[str, str]] = set()  # realm, folded name: was refused under its Id, and is asked for by itself
        self._names: dict[tuple[str, str, str], Reference] = {}  # realm, entity, exact text
        self._texts: defaultdict[tuple[str, str, str], set[str]] = defaultdict(set)  # realm, entity, folded: texts in _names
        self._keys: dict[tuple[str, str, str], set[str]] = {}  # realm, entity, Id: the texts that are in _names
        self._name_read_at: dict[tuple[str, str, str], float] = {}
        self._absent: dict[tuple[str, str, str], float] = {}
        self._lists: dict[tuple[str, str], _List] = {}
        self._facts: dict[str, tuple[CompanyFacts, float]] = {}  # and when they were read, by the monotonic clock
        self._facts_changed: dict[str, float] = {}  # when they were last read as others than before
        self._facts_again: dict[str, float] = {}  # when a refusal may make them be read again
        self._facts_failed: dict[str, tuple[LookupFailed, float]] = {}  # and when
        self._rates = taxes.Rates(books.query, settings.references_max_age_seconds)
        self._survivors: dict[str, tuple[merges.Survivors, float]] = {}
        self._locks: defaultdict[tuple[str, ...], asyncio.Lock] = defaultdict(asyncio.Lock)

    def use(self, realm: str, policy: Policy) -> None:
        """Resolve by this policy from now on."""
        self._policies[realm] = policy

    def _policy_of(self, realm: str) -> Policy:
        return self._policies.get(realm) or self._policy.for_realm(realm)

    async def resolve(
        self, realm: str, kind: LedgerKind, content: AnyContent, token: AccessToken, *, facts_age: float = FACTS_SECONDS
    ) -> Resolved | NameNeeded | Unmapped:
        """Resolve every reference. Raises LookupFailed; Skipped where mode or plan leave the document out.

        Nothing is refused for what the company does not use by facts that are older than `facts_age` seconds.
        """
        if isinstance(content, NameContent):
            problem = _wrong_name(content.name)
            return problem or Resolved({})
        policy = self._policy_of(realm)
        if isinstance(content, BillContent | BillPaymentContent) and self._settings.qb_sync_mode == "invoice_only":
            raise Skipped("Bills are left out: QB_SYNC_MODE is invoice_only.")
        if kinds.of(kind).optional and kind not in policy.kinds:
            raise Skipped(f"The company policy leaves out documents of kind {kind.value}.")
        facts = await self.company(realm, token)
        found = await self._by(facts, realm, content, policy, token)
        if isinstance(found, Skipped) or (isinstance(found, Unmapped) and found.by_facts):
            fresh = await self.company(realm, token, max_age=facts_age)
            found = found if fresh == facts else await self._by(fresh, realm, content, policy, token)
        if isinstance(found, Skipped):
            raise found
        return found

    async def _by(
        self, facts: CompanyFacts, realm: str, content: AnyContent, policy: Policy, token: AccessToken
    ) -> Resolved | NameNeeded | Unmapped | Skipped:
        if isinstance(content, BillContent | BillPaymentContent) and not facts.has_bills:
            return Skipped("Bills are left out: the company's QuickBooks plan (Simple Start) has none.")
        try:
            return Resolved(await self._ids(realm, content, policy, facts, token))
        except _Missing as missing:
            return missing.unmapped
        except _New as new:
            return new.needed

    async def check(self, realm: str, need: Need, token: AccessToken) -> Unmapped | NameNeeded | None:
        """Look for one thing as `resolve` does: why it cannot be used, or a name that posting creates. Raises LookupFailed."""
        policy = self._policy_of(realm)
        facts, ids = await self.company(realm, token), dict[str, str]()
        try:
            if need.what == "item":
                await self._lines(realm, "Item", "item", [need.name], policy, self._defaults(policy), token, ids)
            elif need.what == "account":
                await self._lines(realm, "Account", "account", [need.name], policy, self._defaults(policy), token, ids)
            elif need.what in ("customer", "vendor"):
                await self._party(realm, need, policy, token)
            elif need.what == "defaults":
                await self._needed_defaults(realm, LedgerKind(need.name), policy, facts, token)
            else:
                field = {"term": "terms", "class": "class_name", "location": "department"}[need.what]
                only: dict[str, Any] = {"terms": None, "class_name": None, "department": None, field: need.name}
                bare = policy.model_copy(update={"defaults": Defaults()})  # the defaults are a need of their own
                await self._header(realm, InvoiceContent.model_construct(**only), bare, facts, token, ids)
        except _Missing as missing:
            return missing.unmapped
        except _New as new:
            return new.needed
        return None

    async def _party(self, realm: str, need: Need, policy: Policy, token: AccessToken) -> None:
        entity = "Customer" if need.what == "customer" else "Vendor"
        table = policy.customers if entity == "Customer" else policy.vendors
        target = table.get(fold(need.name))
        if target is None or target.id is None:
            await self._name(realm, entity, need.name, None, policy, token)
            return
        # Posting takes a mapped Id as it is.
        statement = f"select * from {entity} where Id = '{target.id}' and Active in (true, false)"  # noqa: S608
        rows = await self._books.query(realm, statement, token)
        if not rows:
            raise _Missing(
                Unmapped(
                    f"{need.name!r} is mapped to {need.what} {target.id}, which QuickBooks does not have.",
                    f"Correct it under [{_TABLE[entity]}] in the company policy.",
                )
            )
        if not (found := _reference(entity, rows[0])).active:
            raise _Missing(_unfit(found))

    async def _needed_defaults(
        self, realm: str, kind: LedgerKind, policy: Policy, facts: CompanyFacts, token: AccessToken
    ) -> None:
        defaults, nothing = self._defaults(policy), dict[str, Any]()
        if kind is LedgerKind.BILL_PAYMENT:
            await self._ids(realm, BillPaymentContent.model_construct(**nothing), policy, facts, token)
            return
        if kind is LedgerKind.BILL and defaults.ap_account:
            await self._target(realm, "Account", defaults.ap_account, token)
        if defaults.tax_code:
            await self._tax(realm, defaults.tax_code, token)
        if facts.names_taxes and lacking(policy):
            raise _Missing(not_said(policy))
        nothing |= {"terms": None, "class_name": None, "department": None}
        await self._header(realm, InvoiceContent.model_construct(**nothing), policy, facts, token, {})

    async def company(self, realm: str, token: AccessToken, *, max_age: float | None = None) -> CompanyFacts:
        """Return plan and preferences; read once, kept in realms.company, read again after a day or `max_age` seconds."""
        age = self._settings.references_max_age_seconds
        age = age if max_age is None else min(age, max_age)
        cached, began = self._facts.get(realm), time.monotonic()
        if cached and began < cached[1] + age:
            return cached[0]
        async with self._locks[(realm, "company")]:
            cached = self._facts.get(realm)
            if cached and time.monotonic() < cached[1] + age:
                return cached[0]
            if (failed := self._facts_failed.get(realm)) and began <= failed[1]:
                raise failed[0]  # whoever waited behind that read does not ask the same again
            row = await self._pool.fetchrow(
                "SELECT company, extract(epoch FROM now() - (company->>'read_at')::timestamptz)::float8 AS age "
                "FROM qbo_writer.realms WHERE realm = $1",
                realm,
            )
            facts, old = None, 0.0
            if row and row["company"].get("info") and row["age"] is not None and row["age"] < age:
                with contextlib.suppress(LookupUnreadable):  # an earlier release kept what cannot be read: it is read again
                    facts, old = facts_of(row["company"]["info"], row["company"]["preferences"]), row["age"]
            if facts is None:
                try:
                    facts = await self._read_company(realm, token)
                except LookupFailed as error:
                    self._facts_failed[realm] = (error, time.monotonic())
                    raise
            if (before := self._facts.get(realm)) and before[0] != facts:
                self._facts_changed[realm] = time.monotonic()
                log.info("company.changed", realm=realm)
            self._facts[realm] = (facts, time.monotonic() - old)
            return facts

    async def holder(self, realm: str, kind: LedgerKind, name: str, token: AccessToken) -> tuple[Seen | None, Unmapped | None]:
        """Return who has a name: the one that was meant, read by Id; or another, and why not that. Raises LookupFailed."""
        wanted = ENTITY[kind]
        found = await self._books.find_names(realm, name, token)
        held = min(found, key=lambda one: (not named(one, name), not active(one), one.entity != wanted), default=None)
        if held and named(held, name) and held.entity == wanted and active(held):
            held = await self._books.read(realm, wanted, held.qbo_id, token)  # by Id: a query may show an old SyncToken
            if held and active(held):
                return held, None
        if held is None:
            return None, None
        one = reference_of(held)
        return held, taken(wanted, name, one) if named(held, name) else alike_only(wanted, name, [one])

    def made(self, needed: NameNeeded, qbo_id: str, sync_token: str, name: str, marker: str) -> Seen | Unmapped:
        """Return what the writer made under a name, as it is learned; or why it is not what is needed: it is only alike."""
        entity = ENTITY[needed.kind]
        if fold(name) != fold(needed.name) and alike(name) == alike(needed.name):
            return alike_only(entity, needed.name, [Reference(entity, qbo_id, name)])
        raw = {"Id": qbo_id, "DisplayName": needed.name}
        return Seen(
            entity, qbo_id, sync_token, None, marker, Decimal(0), Decimal(0), False, {"name": fold(name)}, raw, kind=needed.kind
        )

    async def changed(self, realm: str, token: AccessToken) -> bool:
        """Read again what the company is, because of a refusal; return whether that changed lately. Raises LookupFailed."""
        async with self._locks[(realm, "changed")]:
            if time.monotonic() >= self._facts_again.get(realm, 0.0):
                self._facts_again[realm] = time.monotonic() + _FACTS_AGAIN_SECONDS
                await self.company(realm, token, max_age=0.0)
        return time.monotonic() < self._facts_changed.get(realm, float("-inf")) + _FACTS_CHANGED_SECONDS

    async def learn(self, connection: Connection, realm: str, entity: str, seen: Seen) -> None:
        """Take a created or changed entry of any list into the cache, in the caller's transaction."""
        if entity not in NAMES and entity not in LISTS:
            return
        reference = _reference(entity, seen.raw)
        if entity in NAMES:
            self._take(realm, reference)
        elif (realm, entity) in self._lists:
            _put(self._lists[(realm, entity)], reference, _details(seen.raw))
        await self._keep(connection, realm, [reference], [_details(seen.raw)])

    async def merged(self, realm: str, losers: Collection[tuple[str, str]]) -> None:
        """Forget entries that were merged into others, so that whoever names them finds the survivor."""
        self._survivors.pop(realm, None)
        await self.forget(realm, losers)

    async def forget(self, realm: str, entries: Collection[tuple[str, str]] | None = None) -> None:
        """Drop what is cached of these entries (entity, Id) after a refusal that names them, so that it is read again.

        None: everything of the company.
        """
        if entries is None:
            self._facts.pop(realm, None)
        for absent in [key for key in self._absent if key[0] == realm and entries is None]:
            del self._absent[absent]
        for entity, id_ in [key[1:] for key in self._keys if key[0] == realm] if entries is None else entries:
            self._drop(realm, entity, id_)
        for key, listed in list(self._lists.items()):
            if key[0] == realm and (entries is None or any((key[1], id_) in entries for id_ in listed.by_id)):
                del self._lists[key]
        if entries is None:
            await self._pool.execute("UPDATE qbo_writer.realms SET names_read = '{}' WHERE realm = $1", realm)
            await self._pool.execute("DELETE FROM qbo_writer.references WHERE realm = $1", realm)
            self._name_lists.forget(realm)
        elif entries:
            if lists := sorted({entity for entity, _ in entries if entity in LISTS}):
                await self._pool.execute(  # of a list everything: what is left of it would pass for the whole
                    "DELETE FROM qbo_writer.references WHERE realm = $1 AND entity = ANY($2::text[])",
                    realm,
                    lists,
                )
            # Of the names nothing: without the row they would pass for the whole, also after a restart, and a twin would be made.
            # As one that is not active it is asked for by itself until it was read again.
            doubted = await self._pool.fetch(
                "UPDATE qbo_writer.references r SET active = false FROM unnest($2::text[], $3::text[]) AS t(entity, qbo_id) "
                "WHERE r.realm = $1 AND r.entity = t.entity AND r.qbo_id = t.qbo_id RETURNING r.name_folded",
                realm,
                [entity for entity, _ in entries if entity in NAMES],
                [id_ for entity, id_ in entries if entity in NAMES],
            )
            self._doubted.update((realm, row["name_folded"]) for row in doubted)

    # ------------------------------------------------------------------------------------------------------ one content

    async def _ids(
        self, realm: str, content: AnyContent, policy: Policy, facts: CompanyFacts, token: AccessToken
    ) -> dict[str, str]:
        defaults = self._defaults(policy)
        ids: dict[str, str] = {}
        if isinstance(content, BillPaymentContent):
            if defaults.bank_account is None:
                raise _Missing(
                    Unmapped(
                        "No bank account is set that pays bills.",
                        "Set QB_DEFAULT_BANK_ACCOUNT, or bank_account under [defaults] in the company policy.",
                    )
                )
            ids["bank_account"] = await self._target(realm, "Account", defaults.bank_account, token)
            if defaults.ap_account:
                ids["ap_account"] = await self._target(realm, "Account", defaults.ap_account, token)
            return ids
        assert isinstance(content, InvoiceContent | BillContent)
        if isinstance(content, InvoiceContent):
            await self._lines(realm, "Item", "item", [line.item for line in content.lines], policy, defaults, token, ids)
            ids.update(
                {
                    f"custom:{custom.name}": policy.custom_fields[custom.name]
                    for custom in content.custom_fields
                    if custom.name in policy.custom_fields
                }
            )
        else:
            await self._lines(realm, "Account", "account", [line.account for line in content.lines], policy, defaults, token, ids)
            if defaults.ap_account:
                ids["ap_account"] = await self._target(realm, "Account", defaults.ap_account, token)
        await self._taxes(realm, content, defaults, facts, token, ids)
        await self._header(realm, content, policy, facts, token, ids)
        # The name last: nobody is created for a document that cannot be posted for another reason.
        if isinstance(content, InvoiceContent):
            ids["customer"] = await self._name(realm, "Customer", content.customer.name, content.customer.email, policy, token)
        else:
            ids["vendor"] = await self._name(realm, "Vendor", content.vendor.name, content.vendor.email, policy, token)
        return ids

    def _defaults(self, policy: Policy) -> Defaults:
        """The policy's defaults, then those of the environment."""
        own, settings = policy.defaults, self._settings
        given: dict[str, Any] = {
            "item": _from_setting(settings.qbo_default_item_id, ItemTarget),
            "account": _from_setting(settings.qb_default_expense_account, Target),
            "ap_account": _from_setting(settings.qb_default_vendor_account, Target),
            "bank_account": _from_setting(settings.qb_default_bank_account, Target),
        }
        return own.model_copy(update={key: value for key, value in given.items() if value and getattr(own, key) is None})

    async def _lines(
        self,
        realm: str,
        entity: str,
        prefix: str,
        keys: list[str],
        policy: Policy,
        defaults: Defaults,
        token: AccessToken,
        ids: dict[str, str],
    ) -> None:
        """Items or accounts of the lines: mapping, exact name in QuickBooks, default."""
        table: Mapping[str, Target] = policy.items if entity == "Item" else policy.accounts
        default: Target | None = defaults.item if entity == "Item" else defaults.account
        for key in dict.fromkeys(keys):
            target, found = table.get(fold(key)), None
            if target is None and fold(key) != "default":
                found = await self._listed(realm, entity, key, token)
                if found and found.active and not found.heads:
                    ids[f"{prefix}:{key}"] = found.qbo_id
                    continue
            target = target or (default if policy.unmapped == "default" or fold(key) == "default" else None)
            if target is None:
                raise _Missing(_unfit(found) if found else _unmapped(entity, key))
            ids[f"{prefix}:{key}"] = await self._target(realm, entity, target, token)
            if isinstance(target, ItemTarget) and target.tax_code:
                ids[f"tax:{key}"] = await self._tax(realm, target.tax_code, token)

    async def _taxes(
        self,
        realm: str,
        content: InvoiceContent | BillContent,
        defaults: Defaults,
        facts: CompanyFacts,
        token: AccessToken,
        ids: dict[str, str],
    ) -> None:
        """The tax codes of the lines, and in the US the one sales tax that an invoice can have."""
        if defaults.tax_code:
            ids["tax"] = await self._tax(realm, defaults.tax_code, token)
        elif isinstance(content, InvoiceContent) and facts.in_us:
            ids["tax"] = _UNTAXED  # else a taxable item or the automated sales tax adds what nobody asked for
        for code in dict.fromkeys(line.tax_code for line in content.lines if line.tax_code):
            ids[f"tax_code:{code}"] = await self._tax(realm, code, token)
        codes = {tax_of(line, ids) for line in content.lines}
        if facts.country and not facts.in_us:
            await self._taxes_abroad(realm, content, facts, codes, token, ids)
        elif rates := codes - _TAX_WORDS - {None}:
            if isinstance(content, BillContent) or len(rates) > 1:
                raise _Missing(_US_TAX)
            ids["txn_tax"] = rates.pop() or ""
        if facts.in_us and codes - {_UNTAXED, None} and self._policy_of(realm).amounts == "gross":
            raise _Missing(taxes.GROSS_IN_US)
        if not isinstance(content, InvoiceContent) or content.discount is None:
            return
        if not facts.discounts:
            raise _Missing(_NO_DISCOUNTS)
        if defaults.discount_account:
            ids["discount_account"] = await self._target(realm, "Account", defaults.discount_account, token)

    async def _taxes_abroad(
        self,
        realm: str,
        content: InvoiceContent | BillContent,
        facts: CompanyFacts,
        codes: set[str | None],
        token: AccessToken,
        ids: dict[str, str],
    ) -> None:
        """Outside of the US: every line has a code where the company uses taxes, and amounts are net or gross."""
        policy = self._policy_of(realm)
        if not facts.sales_tax and codes == {None}:
            ids["global_tax"] = "NotApplicable"
            return
        if None in codes or policy.amounts is None:
            raise _Missing(not_said(policy))
        ids["global_tax"] = "TaxInclusive" if policy.amounts == "gross" else "TaxExcluded"
        if policy.amounts == "net":
            return
        if isinstance(content, InvoiceContent) and content.discount is not None:
            raise _Missing(taxes.GROSS_DISCOUNT)
        for code in codes:
            percent = await self._rates.percent(realm, code or "", token, sales=isinstance(content, InvoiceContent))
            if percent is None:
                raise _Missing(taxes.TAX_ON_TAX)
            ids[f"rate:{code}"] = str(percent)

    async def _header(
        self,
        realm: str,
        content: InvoiceContent | BillContent,
        policy: Policy,
        facts: CompanyFacts,
        token: AccessToken,
        ids: dict[str, str],
    ) -> None:
        defaults = policy.defaults
        term = await self._optional(realm, "Term", content.terms, policy.terms, defaults.terms, token)
        if term:
            ids["term"] = term
        if (content.class_name or defaults.class_name) and facts.class_per is None:
            raise _Missing(_NO_CLASSES)
        class_ = await self._optional(realm, "Class", content.class_name, policy.classes, defaults.class_name, token)
        if class_:
            ids["class" if facts.class_per == "transaction" and isinstance(content, InvoiceContent) else "line_class"] = class_
        if (content.department or defaults.department) and not facts.departments:
            raise _Missing(_NO_LOCATIONS)
        department = await self._optional(realm, "Department", content.department, policy.departments, defaults.department, token)
        if department:
            ids["department"] = department

    async def _optional(
        self,
        realm: str,
        entity: str,
        name: str | None,
        table: Mapping[str, Target],
        default: Target | None,
        token: AccessToken,
    ) -> str | None:
        if not name:
            return await self._target(realm, entity, default, token) if default else None
        return await self._target(realm, entity, table.get(fold(name)) or Target(name=name), token)

    async def _tax(self, realm: str, code: str, token: AccessToken) -> str:
        if code.upper() in _TAX_WORDS:
            return code.upper()
        return await self._target(realm, "TaxCode", Target(id=code) if code.isdigit() else Target(name=code), token)

    # ------------------------------------------------------------------------------------------------------------ names

    async def _name(self, realm: str, entity: str, name: str, email: str | None, policy: Policy, token: AccessToken) -> str:
        table = policy.customers if entity == "Customer" else policy.vendors
        target = table.get(fold(name))
        if target and target.id:  # no read: 2500 would tell
            return (await self._merged(realm)).by_id.get((entity, target.id), target.id)
        looked_up = target.name if target and target.name else name
        if not target and not fold(name):
            raise _Missing(_EMPTY)
        merged = await self._merged(realm)
        survivor = merged.by_name.get((entity, fold(looked_up)))
        try:
            found = await self._named(realm, entity, looked_up, token)
        except _Alike:
            if survivor:
                return survivor
            raise
        if found and found.entity == entity and found.active:
            return merged.by_id.get((entity, found.qbo_id), found.qbo_id)
        if survivor:
            return survivor
        if found is None:
            for (of, loser), winner in merged.by_name.items():
                if of == entity and resembles(looked_up, [loser]):
                    raise _Alike(alike_only(entity, looked_up, [Reference(entity, winner, loser)]))
            may = policy.create_customers if entity == "Customer" else policy.create_vendors
            if not target and (wrong := _wrong_name(name, entity)):
                raise _Missing(wrong)
            if target:
                raise _Missing(_named_but_missing(entity, repr(looked_up)))
            if not may:
                raise _Missing(_not_to_be_created(entity, name))
            kind = LedgerKind.CUSTOMER if entity == "Customer" else LedgerKind.VENDOR
            raise _New(NameNeeded(kind, tidy(name), email))
        raise _Missing(taken(entity, looked_up, found))

    async def _merged(self, realm: str) -> merges.Survivors:
        """Who stands for whom after merges; another writer may have applied one."""
        cached = self._survivors.get(realm)
        if cached is None or time.monotonic() - cached[1] > _MERGES_SECONDS:
            cached = self._survivors[realm] = (await merges.survivors(self._pool, realm), time.monotonic())
        return cached[0]

    async def _named(self, realm: str, entity: str, name: str, token: AccessToken) -> Reference | None:
        """Return who holds the name: the active one of our kind, else the active one of another, else an inactive one."""
        key = (realm, entity, alike(name))
        if held := self._remembered(realm, entity, name):
            return held
        async with self._locks[key]:  # thirty documents that name the same new customer ask once
            if held := self._remembered(realm, entity, name):
                return held
            if time.monotonic() < self._absent.get(key, 0.0):
                return None
            # A text that only looks like the name is compared with all that there are: somebody else may have just that name.
            kept = [one for one in await self._kept_names(realm, entity, key[2]) if _same(one.name, name)]
            if kept:
                self._take(realm, kept[0], name)
                return kept[0]
            if (realm, key[2]) not in self._doubted and await self._name_lists.whole(realm, token):
                listed = await self._listed_name(realm, entity, name, key)
                if listed is None or (listed.entity == entity and listed.active):
                    return listed
                # Before somebody is refused because of it: what was made inactive or merged lately may show only by itself.
            return await self._read_name(realm, entity, name, key, token)

    async def _listed_name(self, realm: str, entity: str, name: str, key: tuple[str, str, str]) -> Reference | None:
        """Find who holds a name among all that there are. A full name ("Parent:Child") finds the entry below its parent."""
        rows = await self._pool.fetch(
            f"SELECT {_KEPT}, details FROM qbo_writer.references WHERE realm = $1 "  # noqa: S608
            "AND entity = ANY($2::text[]) AND name_folded = ANY($3::text[])",
            realm, list(NAMES), [alike(own(text, active=active_)) for text in (name, last(name)) for active_ in (True, False)],
        )  # fmt: skip
        there = [(_kept(row), own(str(row["details"].get("FullyQualifiedName", "")), active=row["active"])) for row in rows]
        held = [(one, full) for one, full in there if resembles(name, texts(one.name, full, active=one.active))]
        best = _best(entity, name, held)
        if best and best.entity == entity and best.active:
            self._take(realm, best, name)
        return best

    async def _keep_names(self, realm: str, entity: str, seen: Sequence[Seen]) -> None:
        """Keep a page of a list; what memory holds of these entries is looked up again."""
        for one in seen:
            self._drop(realm, entity, one.qbo_id)
            self._drop_alike(realm, reference_of(one))
        await self._keep(self._pool, realm, [reference_of(one) for one in seen], [_details(one.raw) for one in seen])

    def _drop(self, realm: str, entity: str, qbo_id: str) -> None:
        for text in self._keys.pop((realm, entity, qbo_id), ()):
            held = self._names.get((realm, entity, text))
            if held and held.qbo_id == qbo_id:
                del self._names[(realm, entity, text)]
                self._texts[(realm, entity, alike(text))].discard(text)

    def _drop_alike(self, realm: str, reference: Reference) -> None:
        """An entry is there that texts may mean which were taken for another's name, without being just that."""
        entity, folded = reference.entity, alike(reference.name)
        for text in list(self._texts.get((realm, entity, folded), ())):
            held = self._names[(realm, entity, text)]
            if held.qbo_id != reference.qbo_id and not _same(held.name, text):
                del self._names[(realm, entity, text)]
                self._texts[(realm, entity, folded)].discard(text)

    def _remembered(self, realm: str, entity: str, name: str) -> Reference | None:
        key = (realm, entity, name)
        held, fresh = self._names.get(key), time.monotonic() - self._settings.references_max_age_seconds
        return held if held and held.active and self._name_read_at.get(key, 0.0) > fresh else None

    async def _read_name(
        self, realm: str, entity: str, name: str, key: tuple[str, str, str], token: AccessToken
    ) -> Reference | None:
        seen = await self._books.find_names(realm, name, token, (entity,))
        if not any(active(one) for one in seen):
            others = tuple(other for other in NAMES if other != entity)
            seen += await self._books.find_names(realm, name, token, others)
        if not seen:
            for other in NAMES:  # what we were told lately: a query may not show yet what was just made
                if kept := await self._kept_names(realm, other, key[2], _LATELY_SECONDS):
                    return _best(other, name, [(one, "") for one in kept])
            self._absent[key] = time.monotonic() + _ABSENT_SECONDS
            return None
        found = _best(entity, name, [(reference_of(one), _full_name(one.raw)) for one in seen])
        if found and found.entity == entity and found.active:
            self._doubted.discard((realm, key[2]))
            self._take(realm, found, name)  # a full name finds it next time, too
            raw = next(one.raw for one in seen if (one.entity, one.qbo_id) == (entity, found.qbo_id))
            await self._keep(self._pool, realm, [found], [_details(raw)])
        return found

    async def _kept_names(self, realm: str, entity: str, folded: str, seconds: float | None = None) -> list[Reference]:
        rows = await self._pool.fetch(
            f"SELECT {_KEPT} FROM qbo_writer.references WHERE realm = $1 AND entity = $2 "  # noqa: S608
            "AND name_folded = $3 AND active AND seen_at > now() - make_interval(secs => $4)",
            realm,
            entity,
            folded,
            self._settings.references_max_age_seconds if seconds is None else seconds,
        )
        return [one for row in rows if alike((one := _kept(row)).name) == folded]

    def _take(self, realm: str, reference: Reference, also: str | None = None) -> None:
        """Remember an entry by its name, and by the text that it was asked for by."""
        self._drop(realm, reference.entity, reference.qbo_id)  # renamed
        self._drop_alike(realm, reference)
        for entity in NAMES:  # one name space: who was refused because of it finds who has the name
            for text in texts(reference.name, active=reference.active):
                self._absent.pop((realm, entity, alike(text)), None)
        for text in {reference.name, also or reference.name} if reference.active else ():
            self._names[(realm, reference.entity, text)] = reference
            self._texts[(realm, reference.entity, alike(text))].add(text)
            self._name_read_at[(realm, reference.entity, text)] = time.monotonic()
            self._keys.setdefault((realm, reference.entity, reference.qbo_id), set()).add(text)

    # ------------------------------------------------------------------------------------------------------------ lists

    async def _target(self, realm: str, entity: str, target: Target, token: AccessToken) -> str:
        key = target.id or target.name or ""
        found = await self._listed(realm, entity, key, token, by_id=target.id is not None)
        if found is None:
            raise _Missing(_named_but_missing(entity, repr(key) if target.name else f"with Id {key}"))
        if not found.active or found.heads:
            raise _Missing(_unfit(found))
        return found.qbo_id

    async def _listed(self, realm: str, entity: str, key: str, token: AccessToken, *, by_id: bool = False) -> Reference | None:
        """Find an entry of a list; a list that lacks it is read again, if it was not just read."""
        folded, merged = fold(key), await self._merged(realm)
        if by_id:
            key = merged.by_id.get((entity, key), key)
        unfit = None
        for attempt in (0, 1):
            entries = await self._list(realm, entity, token, newer_than=_RELOAD_SECONDS if attempt else None)
            found = entries.by_id.get(key) if by_id else entries.by_name.get(folded)
            if found is None or not found.active:
                unfit, found = found, entries.by_id.get(merged.by_name.get((entity, folded), ""))
            if found or unfit:
                return found or unfit
        return None

    async def _list(self, realm: str, entity: str, token: AccessToken, newer_than: float | None) -> _List:
        age = self._settings.references_max_age_seconds if newer_than is None else newer_than
        cached = self._lists.get((realm, entity))
        if cached and time.monotonic() - cached.loaded_at < age:
            return cached
        async with self._locks[(realm, "list", entity)]:
            cached = self._lists.get((realm, entity))
            if cached and time.monotonic() - cached.loaded_at < age:
                return cached
            loaded = (await self._kept_list(realm, entity, age) if cached is None else None) or await self._read_list(
                realm, entity, token
            )
            self._lists[(realm, entity)] = loaded
            return loaded

    async def _kept_list(self, realm: str, entity: str, age: float) -> _List | None:
        rows = await self._pool.fetch(
            f"SELECT {_KEPT}, details, extract(epoch FROM now() - seen_at)::float8 AS age "  # noqa: S608
            "FROM qbo_writer.references WHERE realm = $1 AND entity = $2",
            realm,
            entity,
        )  # fmt: skip
        oldest = max((row["age"] for row in rows), default=age)
        if oldest >= age or (entity == "Item" and any("Type" not in row["details"] for row in rows)):
            return None  # too old, or kept before types were
        entries = _List({}, {}, time.monotonic() - oldest)
        for row in rows:
            _put(entries, replace(_kept(row), heads=_heads(entity, row["details"])), row["details"])
        return entries

    async def _read_list(self, realm: str, entity: str, token: AccessToken) -> _List:
        """Read a whole list: one or two metered reads a day serve every document."""
        rows = await self._books.query(realm, f"select * from {entity} where Active in (true, false)", token)  # noqa: S608
        entries, references = _List({}, {}, time.monotonic()), [_reference(entity, raw) for raw in rows]
        details = [_details(raw) for raw in rows]
        for reference, detail in zip(references, details, strict=True):
            _put(entries, reference, detail)
        async with transaction(self._pool) as connection:
            await connection.execute("DELETE FROM qbo_writer.references WHERE realm = $1 AND entity = $2", realm, entity)
            await self._keep(connection, realm, references, details)
        log.info("references.read", realm=realm, entity=entity, entries=len(references))
        return entries

    async def _keep(
        self,
        connection: Connection | Pool,
        realm: str,
        references: list[Reference],
        details: list[dict[str, Any]] | None = None,
    ) -> None:
        details = details or [{} for _ in references]
        await connection.executemany(
            "INSERT INTO qbo_writer.references (realm, entity, qbo_id, name, name_folded, active, details, seen_at) "
            "VALUES ($1, $2, $3, $4, $5, $6, $7, now()) ON CONFLICT (realm, entity, qbo_id) DO UPDATE SET name = excluded.name, "
            "name_folded = excluded.name_folded, active = excluded.active, details = excluded.details, seen_at = now()",
            [
                (realm, one.entity, one.qbo_id, one.name, alike(one.name), one.active, detail)
                for one, detail in zip(references, details, strict=True)
            ],
        )

    async def _read_company(self, realm: str, token: AccessToken) -> CompanyFacts:
        """Read plan and preferences; they are kept only where they can be read."""
        info = await self._books.get(realm, f"/companyinfo/{realm}", {}, token)
        preferences = await self._books.get(realm, "/preferences", {}, token)
        if not isinstance(info.get("CompanyInfo"), dict) or not isinstance(preferences.get("Preferences"), dict):
            raise LookupUnreadable("CompanyInfo or Preferences could not be read")
        kept = ("AccountingInfoPrefs", "SalesFormsPrefs", "CurrencyPrefs", "TaxPrefs")
        raw = {
            "info": {"NameValue": info["CompanyInfo"].get("NameValue") or [], "Country": info["CompanyInfo"].get("Country")},
            "preferences": {name: _json(preferences["Preferences"].get(name) or {}) for name in kept},
        }
        try:
            facts = facts_of(raw["info"], raw["preferences"])
        except LookupUnreadable as error:
            log.warning("company.unreadable", realm=realm, error=str(error))
            raise
        await self._pool.execute(
            "INSERT INTO qbo_writer.realms AS r (realm, company) VALUES ($1, $2 || jsonb_build_object('read_at', now())) "
            "ON CONFLICT (realm) DO UPDATE SET company = r.company || excluded.company, updated_at = now()",
            realm,
            raw,
        )
        return facts


# ----------------------------------------------------------------------------------------------------------------- details


def facts_of(info: Mapping[str, Any], preferences: Mapping[str, Any]) -> CompanyFacts:
    """Read plan and preferences; what is missing is taken as allowed: QuickBooks refuses what is not.

    Raises LookupUnreadable with the name of a property that is there and cannot be read, where nothing safe can be assumed.
    """
    pairs = info.get("NameValue")
    values = {str(p.get("Name")): str(p.get("Value")) for p in (pairs if isinstance(pairs, list) else ()) if isinstance(p, dict)}
    sku = values.get("OfferingSku", "").casefold()
    accounting, sales = _group(preferences, "AccountingInfoPrefs"), _group(preferences, "SalesFormsPrefs")
    per_line, per_transaction = accounting.get("ClassTrackingPerTxnLine"), accounting.get("ClassTrackingPerTxn")
    class_per = "line" if _true(per_line) else "transaction" if _true(per_transaction) else None
    if per_line is None and per_transaction is None:
        class_per = "line"
    return CompanyFacts(
        plan=next((plan for word, plan in _PLANS.items() if word in sku), "unknown"),
        class_per=class_per,
        departments=_true(accounting.get("TrackDepartments", True)),
        custom_numbers=_true(sales.get("CustomTxnNumbers", True)),
        sales_tax=_true(_group(preferences, "TaxPrefs").get("UsingSalesTax", True)),
        discounts=_true(sales.get("AllowDiscount", True)),
        closing_date=_closing_date(accounting),
        currency=_currency(_group(preferences, "CurrencyPrefs")),
        country=str(info.get("Country") or ""),
    )


def _group(preferences: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    group = preferences.get(name) or {}
    if not isinstance(group, dict):
        raise LookupUnreadable(f"Preferences.{name} could not be read")
    return group


def _closing_date(accounting: Mapping[str, Any]) -> date | None:
    """Return the date up to which the books are closed. One that cannot be read is not taken for none."""
    text = str(accounting.get("BookCloseDate") or "")[:10]
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        raise LookupUnreadable("Preferences.AccountingInfoPrefs.BookCloseDate could not be read") from None


def _currency(currencies: Mapping[str, Any]) -> str | None:
    """Return the company's own currency where it keeps several."""
    if not _true(currencies.get("MultiCurrencyEnabled")):
        return None
    home = currencies.get("HomeCurrency")
    code = str((home.get("value") if isinstance(home, dict) else home) or "")
    if not _CURRENCY.fullmatch(code):
        raise LookupUnreadable("Preferences.CurrencyPrefs.HomeCurrency could not be read")
    return code


def _true(value: object) -> bool:
    return str(value).lower() == "true"


def _json(value: Any) -> Any:
    """Drop what JSONB cannot hold as it is (Decimals): only words and switches are needed."""
    if not isinstance(value, dict):
        return value
    return {key: _json(item) for key, item in value.items() if isinstance(item, str | bool | int | dict) or item is None}


def _from_setting(value: str | None, type_: type[Target]) -> Target | None:
    if not value:
        return None
    return type_(id=value) if value.isdigit() else type_(name=value)


def _reference(entity: str, raw: Mapping[str, Any]) -> Reference:
    name, in_use = raw.get("DisplayName") if entity in NAMES else (raw.get("FullyQualifiedName") or raw.get("Name")), _in_use(raw)
    return Reference(entity, str(raw.get("Id")), own(str(name or ""), active=in_use), in_use, _heads(entity, raw))


def _kept(row: Mapping[str, Any]) -> Reference:
    """Return what a row of the cache (_KEPT) holds. Earlier rows have the names of inactive entries as QuickBooks shows them."""
    name = row["name"]
    if alike(name) != row["name_folded"]:
        name = own(name, active=row["active"])
    return Reference(row["entity"], row["qbo_id"], name, row["active"])


def _in_use(raw: Mapping[str, Any]) -> bool:
    return _true(raw.get("Active", True))


def _full_name(raw: Mapping[str, Any]) -> str:
    return own(str(raw.get("FullyQualifiedName") or ""), active=_in_use(raw))


def _heads(entity: str, raw: Mapping[str, Any]) -> str | None:
    return _NO_LINES.get(str(raw.get("Type"))) if entity == "Item" else None


def _details(raw: Mapping[str, Any]) -> dict[str, Any]:
    """What else an entry is found by (its short name, an account's number), and its type."""
    details = {key: str(raw[key]) for key in (*_ALSO, "Type") if raw.get(key)}
    if raw.get("DisplayName") and raw.get("FullyQualifiedName") not in (None, raw["DisplayName"]):
        details["FullyQualifiedName"] = _full_name(raw)
    return details


def _put(entries: _List, reference: Reference, details: Mapping[str, Any] | None = None) -> None:
    """Full names come before short ones, active entries before inactive ones; an ambiguous short name finds nobody else's."""
    entries.by_id[reference.qbo_id] = reference
    for name in (reference.name, *(str((details or {}).get(key) or "") for key in _ALSO)):
        for text in texts(own(name, active=reference.active), active=reference.active):
            folded = fold(text)
            held = entries.by_name.get(folded)
            mine, theirs = _fit(reference), held is not None and _fit(held)
            if folded and (
                held is None or held.qbo_id == reference.qbo_id or mine > theirs or (text == reference.name and mine == theirs)
            ):
                entries.by_name[folded] = reference


def _fit(reference: Reference) -> bool:
    return reference.active and not reference.heads


def active(seen: Seen) -> bool:
    """Whether an entry is in use: inactive ones are kept by QuickBooks for ever."""
    return _in_use(seen.raw)


def reference_of(seen: Seen) -> Reference:
    """Return an entry as the cache keeps it."""
    return _reference(seen.entity, seen.raw)


def named(seen: Seen, text: str) -> bool:
    """Whether a text is the name of a customer, vendor or employee, and not only like it."""
    one = reference_of(seen)
    return means(text, texts(one.name, _full_name(seen.raw), active=one.active))


_US_TAX = Unmapped(
    "Its lines ask for tax codes that a US company cannot have on one document: an invoice has one sales tax, a bill none.",
    "Name TAX or NON, or one and the same sales tax for all taxed lines of an invoice; for bills leave tax_code out.",
    Code.VALIDATION,
    at_source=True,
)
_NO_DISCOUNTS = Unmapped(
    "The document has a discount, but the company does not use discounts.",
    "Turn on discounts in QuickBooks (Account and settings > Sales > Sales form content), or take the discount off the lines.",
    by_facts=True,
)
_NO_CLASSES = Unmapped(
    "The document names a class, but the company does not use classes.",
    "Turn on classes in QuickBooks (plan Plus, Account and settings > Advanced), or leave the class empty.",
    by_facts=True,
)
_NO_LOCATIONS = Unmapped(
    "The document names a location, but the company does not use locations.",
    "Turn on locations in QuickBooks (Account and settings > Advanced), or leave the location empty.",
    by_facts=True,
)
_EMPTY = Unmapped("The name is empty.", "Give the customer or vendor a name at the source.", Code.VALIDATION, at_source=True)


def _wrong_name(name: str, entity: str | None = None) -> Unmapped | None:
    """Return why nothing is created under this name. What QuickBooks holds or the policy maps is found all the same."""
    if not fold(name):
        return _EMPTY
    table = f"under [{_TABLE[entity]}] in the company policy" if entity else "in the company policy"
    if what := no_name(name):
        return Unmapped(
            f"{tidy(name)!r} is {what}, not the name of a customer or vendor: nobody is created under it.",
            f"Write the name at the source, or map this text to a QuickBooks name {table}.",
            Code.VALIDATION,
            at_source=True,
        )
    if ":" in name:
        return Unmapped(
            f"QuickBooks has no entry with the full name {tidy(name)!r}, and a colon cannot stand in a new name.",
            "Create it in QuickBooks below its parent, change the name at the source, or map the name to a QuickBooks name "
            f"{table}.",
            Code.VALIDATION,
        )
    return None


def _same(name: str, text: str) -> bool:
    """Whether a text is just this name: QuickBooks keeps no two that differ by case only."""
    return name.strip().lower() == text.strip().lower()


def _best(entity: str, text: str, held: Sequence[tuple[Reference, str]]) -> Reference | None:
    """Return whom a text means among those (each with its full name) whose names are alike: active ones and our kind first.

    Where it is the name of none, it may be another's. Of several active ones the one with just that name; where none has it,
    nobody is guessed: it would be billed to a stranger.
    """
    if held and not any(means(text, texts(one.name, full, active=one.active)) for one, full in held):
        raise _Alike(alike_only(entity, text, [one for one, _ in held]))
    held = [(one, full) for one, full in held if means(text, texts(one.name, full, active=one.active))]
    fit = [(one, full) for one, full in held if one.entity == entity and one.active]
    if len({one.qbo_id for one, _ in fit}) < 2:
        return min((one for one, _ in held), key=lambda one: (not one.active, one.entity != entity), default=None)
    for exact in (
        [one for one, full in fit if text in (one.name, full)],
        [one for one, full in fit if _same(one.name, text) or _same(full, text)],
        [one for one, full in fit if _same(one.name, tidy(text)) or _same(full, tidy(text))],
    ):
        if exact:
            return exact[0]
    raise _Missing(_alike(entity, text, [one for one, _ in fit]))


def _alike(entity: str, text: str, held: Sequence[Reference]) -> Unmapped:
    names = " and ".join(f"{one.name!r} (Id {one.qbo_id})" for one in sorted(held, key=lambda one: one.qbo_id))
    return Unmapped(
        f"{text!r} may be several {_TABLE[entity]} in QuickBooks: {names}.",
        f"Merge them or rename one in QuickBooks, or map {tidy(text)!r} to the Id of one under [{_TABLE[entity]}] in the company "
        "policy.",
    )


def alike_only(entity: str, text: str, held: Sequence[Reference]) -> Unmapped:
    """Return why a text that is only like the names of these is neither taken for one of them nor made beside them."""
    name, word = tidy(text), _WORD[entity]
    others = " and ".join(
        f"the {'' if one.active else 'inactive '}{_WORD[one.entity]} {one.name!r} (Id {one.qbo_id})"
        for one in sorted(held, key=lambda one: one.qbo_id)
    )
    return Unmapped(
        f"There is no {word} {name!r} in QuickBooks, but {others}, which may be meant: they differ in how a letter is spelled.",
        f"If that is meant, map {name!r} to its Id under [{_TABLE[entity]}] in the company policy, or spell the name alike at "
        f"the source; if it is another, create the {word} {name!r} in QuickBooks.",
    )


def _unfit(found: Reference) -> Unmapped:
    """Return why an entry that is there is not taken."""
    word = _WORD[found.entity]
    if found.heads:
        return Unmapped(
            f"{found.name!r} is a {found.heads} in QuickBooks, not a {word}.",
            f"Create the {word} in QuickBooks, or map the name under [{_TABLE[found.entity]}] in the company policy.",
        )
    return Unmapped(
        f"The {word} {found.name!r} is inactive in QuickBooks.",
        "Make it active in QuickBooks, or map to another one in the company policy.",
    )


def _unmapped(entity: str, key: str) -> Unmapped:
    table = _TABLE.get(entity)
    fix = (
        f"Create it in QuickBooks, or map {key!r} under [{table}] in the company policy." if table else "Create it in QuickBooks."
    )
    return Unmapped(f"There is no {_WORD[entity]} {key!r} in QuickBooks, and no mapping for it.", fix)


def _named_but_missing(entity: str, which: str) -> Unmapped:
    """Return why an entry that the policy or a setting names is not taken: QuickBooks does not have it."""
    return Unmapped(
        f"The {_WORD[entity]} {which}, which the company policy or a setting names, is not in QuickBooks.",
        "Create it in QuickBooks, or name another one in the company policy (or the setting) and restart.",
    )


def _not_to_be_created(entity: str, name: str) -> Unmapped:
    word, table = _WORD[entity], _TABLE[entity]
    return Unmapped(
        f"There is no {word} {tidy(name)!r} in QuickBooks, and the company policy (create_{table}) lets nobody be created.",
        f"Create the {word} in QuickBooks, or map the name under [{table}] in the company policy, or set create_{table} there.",
    )


def taken(entity: str, name: str, found: Reference) -> Unmapped:
    """Return why nobody is created under a name that another has, inactive or of another kind, and what a person can do."""
    wanted, holder = _WORD[entity], _WORD[found.entity]
    if found.entity == entity:
        return Unmapped(
            f"The {wanted} {name!r} is inactive in QuickBooks.",
            f"Make the {wanted} active in QuickBooks, or map the name under [{_TABLE[entity]}] in the company policy.",
            Code.CONFLICT,
        )
    state = "" if found.active else "inactive "
    return Unmapped(
        f"The name {name!r} belongs to the {state}{holder} {found.qbo_id} in QuickBooks, where a {wanted} is needed.",
        f"QuickBooks has one name space for all: create the {wanted} under another name, "
        f"for example {name.strip() + ' (' + wanted + ')'!r}, and map {name!r} to it under [{_TABLE[entity]}] "
        "in the company policy.",
        Code.CONFLICT,
    )
