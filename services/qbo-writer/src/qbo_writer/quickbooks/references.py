"""Resolves what a content refers to in QuickBooks' lists: mapping table first, then exact name. Cached.

The cache (memory, and qbo_writer.references across restarts) has facts about QuickBooks, no decisions: it needs no fencing.
"""

from collections.abc import Collection
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Protocol, TypeVar

from bookrelay.db import Connection, Pool

from qbo_writer import kinds
from qbo_writer.domain import (
    AccessToken,
    BooksEntity,
    CompanyFacts,
    LedgerKind,
    NameNeeded,
    Reference,
    Resolved,
    Skipped,
    Unmapped,
)
from qbo_writer.kinds import AnyContent, NameContent
from qbo_writer.ledger.companies import CompanyRows
from qbo_writer.ledger.references import ReferenceRows
from qbo_writer.names import alike, fold, resembles, tidy
from qbo_writer.policy import Defaults, Policy, Target
from qbo_writer.ports import FACTS_SECONDS
from qbo_writer.quickbooks import documents, taxes
from qbo_writer.quickbooks.company import Companies, Reads
from qbo_writer.quickbooks.entries import LISTS, NAME_SPACE, active, details, named, reference, reference_of, to_keep
from qbo_writer.quickbooks.entry_lists import EntryLists
from qbo_writer.quickbooks.mapping import ENTITY
from qbo_writer.quickbooks.missing import (
    EMPTY,
    Alike,
    Missing,
    New,
    alike_only,
    mapped_to_nothing,
    named_but_missing,
    not_to_be_created,
    taken,
    unfit,
    wrong_name,
)
from qbo_writer.quickbooks.name_cache import Finds, NameCache
from qbo_writer.quickbooks.resolving import DefaultsFinding, Finding, with_settings
from qbo_writer.quickbooks.survivors import KnownSurvivors
from qbo_writer.settings import Settings

F = TypeVar("F", bound=Finding)


class Lists(Finds, Reads, Protocol):
    """The part of the client that References needs."""

    async def query(self, realm: str, statement: str, token: AccessToken) -> list[dict[str, Any]]:
        """Run a query, all pages."""

    async def read(self, realm: str, entity: str, qbo_id: str, token: AccessToken) -> BooksEntity | None:
        """Read by Id; None if it is not there."""


@dataclass(frozen=True)
class Need:
    """One reference of a document, by the name that the document uses.

    `what`: item, account, customer, vendor, term, class, location, deposit account, payment method, tax code, discount (without
    a name); or "defaults": what the policy adds to documents of the kind `name`.
    """

    what: str
    name: str


class References:
    """Resolves what documents refer to."""

    def __init__(self, pool: Pool, books: Lists, policy: Policy, settings: Settings) -> None:
        self._rows, self._books, self._policy, self._settings = ReferenceRows(pool), books, policy, settings
        self._policies: dict[str, Policy] = {}  # of companies whose policy was read again
        self.companies = Companies(CompanyRows(pool), books, settings.references_max_age_seconds)
        self._rates = taxes.Rates(books.query, settings.references_max_age_seconds)
        self.survivors = KnownSurvivors(pool)
        self.names = NameCache(self._rows, books, settings.references_max_age_seconds)
        self.lists = EntryLists(self._rows, books.query, settings.references_max_age_seconds, self.survivors)

    def use(self, realm: str, policy: Policy) -> None:
        """Resolve by this policy from now on."""
        self._policies[realm] = policy

    def _policy_of(self, realm: str) -> Policy:
        return self._policies.get(realm) or self._policy.for_realm(realm)

    async def resolve(
        self, realm: str, kind: LedgerKind, content: AnyContent, token: AccessToken, *, facts_age: float = FACTS_SECONDS
    ) -> Resolved | NameNeeded | Unmapped:
        """Resolve every reference. Raises LookupFailed; Skipped if the sync mode or the plan excludes the document.

        Facts older than `facts_age` seconds are read again before a document is refused for a feature that the company lacks.
        """
        if isinstance(content, NameContent):
            problem = wrong_name(content.name)
            return problem or Resolved({})
        policy, of_kind = self._policy_of(realm), kinds.of(kind)
        if of_kind.purchase and self._settings.qb_sync_mode == "invoice_only":
            raise Skipped(f"{of_kind.words.capitalize()} are skipped: QB_SYNC_MODE is invoice_only.")
        if of_kind.optional and kind not in policy.kinds:
            raise Skipped(f"The company policy skips documents of kind {kind.value}.")
        facts = await self.company(realm, token)
        found = await self._by(facts, realm, kind, content, policy, token)
        if isinstance(found, Skipped) or (isinstance(found, Unmapped) and found.by_facts):
            fresh = await self.company(realm, token, max_age=facts_age)
            found = found if fresh == facts else await self._by(fresh, realm, kind, content, policy, token)
        if isinstance(found, Skipped):
            raise found
        return found

    async def _by(
        self, facts: CompanyFacts, realm: str, kind: LedgerKind, content: AnyContent, policy: Policy, token: AccessToken
    ) -> Resolved | NameNeeded | Unmapped | Skipped:
        if kinds.of(kind).purchase and not facts.has_bills:
            words = kinds.of(kind).words.capitalize()
            return Skipped(f"{words} are skipped: the company's QuickBooks plan (Simple Start) does not include them.")
        finding = self._finding(Finding, realm, policy, facts, token)
        try:
            await documents.of(kind).refer(finding, content)
        except Missing as missing:
            return missing.unmapped
        except New as new:
            return new.needed
        return Resolved(finding.ids)

    def _finding(self, type_: type[F], realm: str, policy: Policy, facts: CompanyFacts, token: AccessToken) -> F:
        defaults = with_settings(policy.defaults, self._settings)
        return type_(realm, policy, defaults, facts, self, self._rates, token)

    async def check(self, realm: str, need: Need, token: AccessToken) -> Unmapped | NameNeeded | None:
        """Look up one reference like `resolve`; return why it cannot be used, or a name to be created. Raises LookupFailed."""
        policy, facts = self._policy_of(realm), await self.company(realm, token)
        if need.what == "defaults":
            added = self._finding(DefaultsFinding, realm, policy, facts, token)
            looking = added.run(LedgerKind(need.name))
        else:
            looking = self._look_for(need, policy, facts, token, realm)
        try:
            await looking
        except Missing as missing:
            return missing.unmapped
        except New as new:
            return new.needed
        return None

    async def _look_for(self, need: Need, policy: Policy, facts: CompanyFacts, token: AccessToken, realm: str) -> None:
        bare = policy.model_copy(update={"defaults": Defaults()})  # the defaults are checked separately
        finding, alone = (self._finding(Finding, realm, one, facts, token) for one in (policy, bare))
        name = need.name
        match need.what:
            case "item":
                await finding.items([name])
            case "account":
                await finding.accounts([name])
            case "customer" | "vendor":
                await self._party(realm, need, policy, token)
            case "term":
                await alone.terms(name)
            case "class":
                await alone.heading(class_name=name, department=None)
            case "location":
                await alone.heading(class_name=None, department=name)
            case "deposit account":
                await finding.deposit(name, None)
            case "payment method":
                await finding.deposit(None, name)
            case "tax code":
                await finding.own_tax_code(name)
            case "discount":
                await finding.discount()
            case _:
                raise ValueError(f"unknown kind of need: {need.what!r}")

    async def _party(self, realm: str, need: Need, policy: Policy, token: AccessToken) -> None:
        entity = "Customer" if need.what == "customer" else "Vendor"
        table = policy.customers if entity == "Customer" else policy.vendors
        target = table.get(fold(need.name))
        if target is None or target.id is None:
            await self.name(realm, entity, need.name, None, policy, token)
            return
        # Posting uses a mapped Id unchecked.
        statement = f"select * from {entity} where Id = '{target.id}' and Active in (true, false)"  # noqa: S608
        rows = await self._books.query(realm, statement, token)
        if not rows:
            raise Missing(mapped_to_nothing(entity, need.name, target.id))
        if not (found := reference(entity, rows[0])).active:
            raise Missing(unfit(found))

    async def company(self, realm: str, token: AccessToken, *, max_age: float | None = None) -> CompanyFacts:
        """Return plan and preferences; `max_age`: the greatest age in seconds, if the cached ones may be too old."""
        return await self.companies.facts(realm, token, max_age=max_age)

    async def changed(self, realm: str, token: AccessToken) -> bool:
        """Read the company's facts again, because of a refusal; return whether they changed lately. Raises LookupFailed."""
        return await self.companies.changed(realm, token)

    async def holder(
        self, realm: str, kind: LedgerKind, name: str, token: AccessToken
    ) -> tuple[BooksEntity | None, Unmapped | None]:
        """Return the entry with a name, read by Id, if it is usable; and why it is not. Raises LookupFailed."""
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

    def made(self, needed: NameNeeded, qbo_id: str, sync_token: str, name: str, marker: str) -> BooksEntity | Unmapped:
        """Return the entry that the writer created, for the cache; or why it cannot be used: its name is only similar."""
        entity = ENTITY[needed.kind]
        if fold(name) != fold(needed.name) and alike(name) == alike(needed.name):
            return alike_only(entity, needed.name, [Reference(entity, qbo_id, name)])
        raw = {"Id": qbo_id, "DisplayName": needed.name}
        return BooksEntity(
            entity, qbo_id, sync_token, None, marker, Decimal(0), Decimal(0), False, {"name": fold(name)}, raw, kind=needed.kind
        )

    async def learn(self, connection: Connection, realm: str, entity: str, seen: BooksEntity) -> None:
        """Add a created or changed entry of any list to the cache, in the caller's transaction."""
        if entity not in NAME_SPACE and entity not in LISTS:
            return
        if entity in NAME_SPACE:
            self.names.take(realm, reference_of(seen))
        else:
            self.lists.learn(realm, seen)
        await self._rows.keep(realm, [to_keep(reference_of(seen), details(seen.raw))], within=connection)

    async def merged(self, realm: str, losers: Collection[tuple[str, str]]) -> None:
        """Forget entries that were merged into others, so that their names find the survivor."""
        self.survivors.forget(realm)
        await self.forget(realm, losers)

    async def forget(self, realm: str, entries: Collection[tuple[str, str]] | None = None) -> None:
        """Drop these entries (entity, Id) from the cache after a refusal that names them, so that they are read again.

        None: everything of the company.
        """
        self.lists.forget(realm, entries)
        if entries is None:
            self.companies.forget(realm)
            self.names.forget_all(realm)
            await self._rows.forget_all(realm)
        elif entries:
            if lists := sorted({entity for entity, _ in entries if entity in LISTS}):
                await self._rows.forget_lists(realm, lists)  # what is left of a list would pass for the whole
            await self.names.doubt(realm, entries)

    # ------------------------------------------------------------------------------------------------------------ names

    async def name(self, realm: str, entity: str, name: str, email: str | None, policy: Policy, token: AccessToken) -> str:
        """Return the Id of a customer or vendor. Raises Missing; New if it must be created; LookupFailed."""
        table = policy.customers if entity == "Customer" else policy.vendors
        target = table.get(fold(name))
        if target and target.id:  # not read: a 2500 would show an error
            return (await self.survivors.of(realm)).by_id.get((entity, target.id), target.id)
        looked_up = target.name if target and target.name else name
        if not target and not fold(name):
            raise Missing(EMPTY)
        merged = await self.survivors.of(realm)
        survivor = merged.by_name.get((entity, fold(looked_up)))
        try:
            found = await self.names.find(realm, entity, looked_up, token)
        except Alike:
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
                    raise Alike(alike_only(entity, looked_up, [Reference(entity, winner, loser)]))
            may = policy.create_customers if entity == "Customer" else policy.create_vendors
            if not target and (wrong := wrong_name(name, entity)):
                raise Missing(wrong)
            if target:
                raise Missing(named_but_missing(entity, repr(looked_up)))
            if not may:
                raise Missing(not_to_be_created(entity, name))
            kind = LedgerKind.CUSTOMER if entity == "Customer" else LedgerKind.VENDOR
            raise New(NameNeeded(kind, tidy(name), email))
        raise Missing(taken(entity, looked_up, found))

    async def target(self, realm: str, entity: str, target: Target, token: AccessToken) -> str:
        """Return the Id of a list entry that the policy names. Raises Missing, LookupFailed."""
        key = target.id or target.name or ""
        found = await self.listed(realm, entity, key, token, by_id=target.id is not None)
        if found is None:
            raise Missing(named_but_missing(entity, repr(key) if target.name else f"with Id {key}"))
        if not found.active or found.heads:
            raise Missing(unfit(found))
        return found.qbo_id

    async def listed(self, realm: str, entity: str, key: str, token: AccessToken, *, by_id: bool = False) -> Reference | None:
        """Find an entry of a list by its name or Id. Raises LookupFailed."""
        return await self.lists.find(realm, entity, key, token, by_id=by_id)
