"""What waiting commands need and a company lacks: items, accounts, parties, terms, classes, locations, tax codes. Read-only.

Each reference is looked up once, as posting would (`References.check`), with a bounded number of QuickBooks reads.
"""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any
from uuid import UUID

from bookrelay.db import Pool
from bookrelay.errors import BookrelayError, HaltError
from bookrelay.messages import CustomField, Model, Party, PurchaseContent, SalesContent

from qbo_writer import kinds
from qbo_writer.domain import AccessToken, LedgerKind, LookupFailed, NameNeeded, Unmapped
from qbo_writer.ledger import listing
from qbo_writer.ledger.lease import Leases
from qbo_writer.policy import Policy
from qbo_writer.quickbooks import documents
from qbo_writer.quickbooks.client import QboClient
from qbo_writer.quickbooks.oauth_client import OAuthClient
from qbo_writer.quickbooks.pacing import Pacer
from qbo_writer.quickbooks.references import Need, References
from qbo_writer.quickbooks.tokens import TokenStore
from qbo_writer.settings import Settings

FACTS_SECONDS = 10.0
READS = 100  # of QuickBooks for each company; Intuit meters them
SAMPLES = 5
PAGE = 1000  # commands read per page
AT_ONCE = 300  # needs looked up at once: their names share queries
_FIRST = UUID(int=0)


@dataclass
class Demand:
    """How many waiting documents need something, with samples (source:key)."""

    documents: int = 0
    samples: list[str] = field(default_factory=list)
    purchases_only: bool = True  # only documents that are skipped for a company without bills

    def add(self, sample: str, *, purchase: bool) -> None:
        """Count a document."""
        self.documents += 1
        self.purchases_only &= purchase
        if len(self.samples) < SAMPLES:
            self.samples.append(sample)


@dataclass(frozen=True)
class Lack:
    """Something needed that is missing or cannot be used: what to do, and for how many documents."""

    what: str
    name: str
    code: str
    reason: str
    fix: str
    documents: int
    samples: tuple[str, ...]


@dataclass(frozen=True)
class Unchecked:
    """Something that could not be looked up."""

    what: str
    name: str
    reason: str
    documents: int


@dataclass
class Survey:
    """The result for one company. `created`: parties that posting creates itself; `error`: what ended the survey."""

    realm: str
    documents: int = 0
    needs: int = 0
    reads: int = 0
    lacks: list[Lack] = field(default_factory=list)
    unchecked: list[Unchecked] = field(default_factory=list)
    created: dict[str, int] = field(default_factory=dict)
    error: str | None = None

    @property
    def well(self) -> bool:
        """Whether everything was looked up and found."""
        return not (self.lacks or self.unchecked or self.error)

    def plain(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {"ok": self.well, **asdict(self)}


class ReadsSpentError(LookupFailed):
    """The allowed number of reads is used up."""


class BoundedReads(QboClient):
    """A client with a limited number of reads. It is never given anything to send."""

    def __init__(self, settings: Settings, most: int) -> None:
        super().__init__(settings, Pacer(settings))
        self.reads, self.most = 0, most

    async def get(self, *arguments: Any, **more: Any) -> Any:
        """Read one address, if reads are left."""
        if self.reads >= self.most:
            raise ReadsSpentError(f"the {self.most} allowed reads are used up (--reads)")
        self.reads += 1
        return await super().get(*arguments, **more)


@dataclass
class _Needs:
    """Records what a content refers to (a `documents.Finder`) without looking anything up."""

    found: list[Need]

    async def items(self, keys: Iterable[str]) -> None:
        self.found += [Need("item", key) for key in keys]

    async def accounts(self, keys: Iterable[str]) -> None:
        self.found += [Need("account", key) for key in keys]

    async def custom_fields(self, fields: Sequence[CustomField]) -> None:
        """They are in the policy, not in the company."""

    async def taxes(self, content: SalesContent | PurchaseContent) -> None:
        self.found += [Need("tax code", line.tax_code) for line in content.lines if line.tax_code]
        if isinstance(content, SalesContent) and content.discount:
            self.found.append(Need("discount", ""))

    async def heading(self, *, class_name: str | None, department: str | None, class_per_document: bool = False) -> None:
        self._named(("class", class_name), ("location", department))

    async def terms(self, name: str | None) -> None:
        self._named(("term", name))

    async def account(self, place: str) -> None:
        """One of the policy's defaults."""

    async def paying_account(self) -> None:
        """One of the policy's defaults."""

    async def deposit(self, account: str | None, method: str | None) -> None:
        self._named(("deposit account", account), ("payment method", method))

    async def customer(self, party: Party) -> None:
        self.found.append(Need("customer", party.name))

    async def vendor(self, party: Party) -> None:
        self.found.append(Need("vendor", party.name))

    def _named(self, *pairs: tuple[str, str | None]) -> None:
        self.found += [Need(what, name) for what, name in pairs if name]


async def needs_of(kind: LedgerKind, content: Model) -> Iterable[Need]:
    """Return what a content refers to, and what the policy's defaults add to it."""
    needs = _Needs([Need("defaults", kind.value)])
    await documents.of(kind).refer(needs, content)
    return dict.fromkeys(needs.found)


async def survey(pool: Pool, settings: Settings, policy: Policy, realm: str, most: int = READS) -> Survey:
    """Look up everything that a company's waiting commands need, with at most `reads` reads."""
    result = Survey(realm)
    client, oauth = BoundedReads(settings, most), OAuthClient(settings)
    try:
        references = References(pool, client, policy, settings)
        wanted = await _wanted(pool, settings, policy.for_realm(realm), realm, result)
        if not wanted:
            return result
        token = await _token(pool, settings, TokenStore(pool, settings, oauth), realm)
        facts = await references.company(realm, token, max_age=FACTS_SECONDS)  # sees preferences just turned on
        if not facts.has_bills:  # they are skipped, with a reason
            wanted = {need: one for need, one in wanted.items() if not one.purchases_only}
        result.needs = len(wanted)
        needs = list(wanted)
        for start in range(0, len(needs), AT_ONCE):
            part = needs[start : start + AT_ONCE]
            found = await asyncio.gather(*(_check(references, realm, need, token) for need in part))
            for need, one in zip(part, found, strict=True):
                _note(result, need, wanted[need], one)
    except (BookrelayError, LookupFailed) as error:
        result.error = error.sentence() if isinstance(error, BookrelayError) else f"QuickBooks could not be read: {error}"
    finally:
        result.reads = client.reads
        await client.close()
        await oauth.close()
    result.lacks.sort(key=lambda lack: -lack.documents)
    return result


async def _check(
    references: References, realm: str, need: Need, token: AccessToken
) -> Unmapped | NameNeeded | LookupFailed | None:
    try:
        return await references.check(realm, need, token)
    except LookupFailed as error:
        return error


def _note(result: Survey, need: Need, wanted: Demand, found: Unmapped | NameNeeded | LookupFailed | None) -> None:
    if isinstance(found, Unmapped):
        lack = Lack(need.what, need.name, found.code.value, found.reason, found.fix, wanted.documents, tuple(wanted.samples))
        result.lacks.append(lack)
    elif isinstance(found, NameNeeded):
        result.created[found.kind.value] = result.created.get(found.kind.value, 0) + 1
    elif found is not None:
        result.unchecked.append(Unchecked(need.what, need.name, str(found), wanted.documents))


async def _wanted(pool: Pool, settings: Settings, policy: Policy, realm: str, result: Survey) -> dict[Need, Demand]:
    """Read the newest waiting version of every document, page by page; count what they need."""
    command = [one for one in kinds.ALL if not one.is_name and (not one.optional or one.kind in policy.kinds)]
    if settings.qb_sync_mode == "invoice_only":
        command = [one for one in command if not one.purchase]
    wanted: dict[Need, Demand] = {}
    after = _FIRST
    while True:
        rows = await listing.waiting(pool, realm, [one.kind for one in command], after, PAGE)
        for row in rows:
            result.documents += 1
            of_kind = kinds.of(row.kind)
            for need in await needs_of(of_kind.kind, of_kind.content.model_validate(row.content)):
                wanted.setdefault(need, Demand()).add(f"{row.source}:{row.source_key}", purchase=of_kind.purchase)
        if len(rows) < PAGE:
            return wanted
        after = rows[-1].id


async def _token(pool: Pool, settings: Settings, tokens: TokenStore, realm: str) -> AccessToken:
    """Return an access token: the one in use by a running writer, else one refreshed under the lease, which is then released."""
    leases = Leases(pool, [realm], seconds=settings.lease_seconds, renew_seconds=settings.lease_renew_seconds)
    await leases.step()
    try:
        fencing_token = leases.holding(realm)
        if fencing_token is not None:
            return await tokens.current(realm, fencing_token)
    finally:
        await leases.release()
    token = await tokens.stored(realm)
    if token is None:
        raise HaltError(
            f"Company {realm} has no valid access token.",
            f"If it is not connected: qbo-writer auth login --realm {realm}; else try again in a minute: its writer renews it.",
        )
    return token
