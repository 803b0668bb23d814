"""What a content refers to, in QuickBooks' lists: mapping table first, then exact name. Cached: no read of what is known.

The cache (memory, and qbo_writer.references across restarts) holds facts about QuickBooks, no decisions: it needs no fence.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Any, Protocol, TypeVar

from bookrelay import telemetry
from bookrelay.db import Connection, Pool, transaction

from qbo_writer import kinds
from qbo_writer.domain import (
    AccessToken,
    CompanyFacts,
    LedgerKind,
    NameNeeded,
    Reference,
    Resolved,
    Seen,
    Skipped,
    Unmapped,
    UpdatedPage,
)
from qbo_writer.kinds import AnyContent, NameContent
from qbo_writer.ledger import merges
from qbo_writer.names import alike, fold, last, means, own, resembles, texts, tidy
from qbo_writer.policy import Defaults, Policy, Target
from qbo_writer.ports import FACTS_SECONDS
from qbo_writer.quickbooks import documents, taxes
from qbo_writer.quickbooks.company import Companies, true
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
    several_alike,
    taken,
    unfit,
    wrong_name,
)
from qbo_writer.quickbooks.name_lists import BELIEVED_SECONDS, NameLists
from qbo_writer.quickbooks.resolving import DefaultsFinding, Finding, with_settings
from qbo_writer.settings import WriterSettings

log = telemetry.get_logger(__name__)
F = TypeVar("F", bound=Finding)

NAMES = ("Customer", "Vendor", "Employee")
LISTS = ("Item", "Account", "Term", "Class", "Department", "TaxCode", "PaymentMethod")
_ALSO = ("Name", "AcctNum")  # besides its full name an entry of a list is found by these
_NO_LINES = {"Category": "category", "Group": "bundle"}  # types of items that never stand in a line by themselves
_ABSENT_SECONDS = BELIEVED_SECONDS  # how long "nobody has this name" is believed where it was asked for by itself
_LATELY_SECONDS = 300.0  # as long as a query may lag behind what QuickBooks has just answered
_MERGES_SECONDS = 60.0
_RELOAD_SECONDS = 60.0  # a list is read again for a name that it lacks, at most so often


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

    `what`: item, account, customer, vendor, term, class, location, deposit account, payment method, tax code, discount (without
    a name); or "defaults", what the policy adds to documents of the kind that `name` says.
    """

    what: str
    name: str


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
        self.companies = Companies(pool, books, settings.references_max_age_seconds)
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
            problem = wrong_name(content.name)
            return problem or Resolved({})
        policy, of_kind = self._policy_of(realm), kinds.of(kind)
        if of_kind.purchase and self._settings.qb_sync_mode == "invoice_only":
            raise Skipped(f"{of_kind.words.capitalize()} are left out: QB_SYNC_MODE is invoice_only.")
        if of_kind.optional and kind not in policy.kinds:
            raise Skipped(f"The company policy leaves out documents of kind {kind.value}.")
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
            return Skipped(f"{words} are left out: the company's QuickBooks plan (Simple Start) has none.")
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
        """Look for one thing as `resolve` does: why it cannot be used, or a name that posting creates. Raises LookupFailed."""
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
        bare = policy.model_copy(update={"defaults": Defaults()})  # the defaults are a need of their own
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
                await finding.tax_code(name)
            case "discount":
                await finding.discount()
            case _:
                raise ValueError(f"nobody knows what {need.what!r} is")

    async def _party(self, realm: str, need: Need, policy: Policy, token: AccessToken) -> None:
        entity = "Customer" if need.what == "customer" else "Vendor"
        table = policy.customers if entity == "Customer" else policy.vendors
        target = table.get(fold(need.name))
        if target is None or target.id is None:
            await self.name(realm, entity, need.name, None, policy, token)
            return
        # Posting takes a mapped Id as it is.
        statement = f"select * from {entity} where Id = '{target.id}' and Active in (true, false)"  # noqa: S608
        rows = await self._books.query(realm, statement, token)
        if not rows:
            raise Missing(mapped_to_nothing(entity, need.name, target.id))
        if not (found := _reference(entity, rows[0])).active:
            raise Missing(unfit(found))

    async def company(self, realm: str, token: AccessToken, *, max_age: float | None = None) -> CompanyFacts:
        """Return plan and preferences; `max_age`: in seconds, if they must be newer than what is kept."""
        return await self.companies.facts(realm, token, max_age=max_age)

    async def changed(self, realm: str, token: AccessToken) -> bool:
        """Read again what the company is, because of a refusal; return whether that changed lately. Raises LookupFailed."""
        return await self.companies.changed(realm, token)

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
            self.companies.forget(realm)
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

    # ------------------------------------------------------------------------------------------------------------ names

    async def name(self, realm: str, entity: str, name: str, email: str | None, policy: Policy, token: AccessToken) -> str:
        """Return the Id of a customer or vendor. Raises Missing; New where one is to be made; LookupFailed."""
        table = policy.customers if entity == "Customer" else policy.vendors
        target = table.get(fold(name))
        if target and target.id:  # no read: 2500 would tell
            return (await self._merged(realm)).by_id.get((entity, target.id), target.id)
        looked_up = target.name if target and target.name else name
        if not target and not fold(name):
            raise Missing(EMPTY)
        merged = await self._merged(realm)
        survivor = merged.by_name.get((entity, fold(looked_up)))
        try:
            found = await self._named(realm, entity, looked_up, token)
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

    async def target(self, realm: str, entity: str, target: Target, token: AccessToken) -> str:
        """Return the Id of what the policy or a content names in a list. Raises Missing, LookupFailed."""
        key = target.id or target.name or ""
        found = await self.listed(realm, entity, key, token, by_id=target.id is not None)
        if found is None:
            raise Missing(named_but_missing(entity, repr(key) if target.name else f"with Id {key}"))
        if not found.active or found.heads:
            raise Missing(unfit(found))
        return found.qbo_id

    async def listed(self, realm: str, entity: str, key: str, token: AccessToken, *, by_id: bool = False) -> Reference | None:
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


# ----------------------------------------------------------------------------------------------------------------- details


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
    return true(raw.get("Active", True))


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


def _same(name: str, text: str) -> bool:
    """Whether a text is just this name: QuickBooks keeps no two that differ by case only."""
    return name.strip().lower() == text.strip().lower()


def _best(entity: str, text: str, held: Sequence[tuple[Reference, str]]) -> Reference | None:
    """Return whom a text means among those (each with its full name) whose names are alike: active ones and our kind first.

    Where it is the name of none, it may be another's. Of several active ones the one with just that name; where none has it,
    nobody is guessed: it would be billed to a stranger.
    """
    if held and not any(means(text, texts(one.name, full, active=one.active)) for one, full in held):
        raise Alike(alike_only(entity, text, [one for one, _ in held]))
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
    raise Missing(several_alike(entity, text, [one for one, _ in fit]))
