"""What waiting commands need and a company lacks: items, accounts, parties, terms, classes, locations, tax codes. Sends nothing.

Each thing is looked for once, as posting would look for it (`References.check`), with a bounded number of QuickBooks reads.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any
from uuid import UUID

from bookrelay.db import Pool
from bookrelay.errors import BookrelayError, HaltError
from bookrelay.messages import BillContent, InvoiceContent

from qbo_writer.domain import AccessToken, LedgerKind, LookupFailed, NameNeeded, Unmapped
from qbo_writer.kinds import BillPaymentContent
from qbo_writer.ledger.lease import Leases
from qbo_writer.policy import Defaults, Policy
from qbo_writer.quickbooks.client import QboClient
from qbo_writer.quickbooks.oauth_client import OAuthClient
from qbo_writer.quickbooks.pacing import Pacer
from qbo_writer.quickbooks.references import Need, References
from qbo_writer.quickbooks.tokens import TokenStore
from qbo_writer.settings import WriterSettings

FACTS_SECONDS = 10.0
READS = 100  # of QuickBooks, for each company; Intuit meters them
SAMPLES = 5
PAGE = 1000  # commands read at once
AT_ONCE = 300  # needs looked for at once: their names share queries
_CONTENT: dict[LedgerKind, type[InvoiceContent | BillContent | BillPaymentContent]] = {
    LedgerKind.INVOICE: InvoiceContent,
    LedgerKind.BILL: BillContent,
    LedgerKind.BILL_PAYMENT: BillPaymentContent,
}
_FIRST = UUID(int=0)
TAX_CODE, DISCOUNT = "tax code", "discount"  # needs that are looked for here, by a policy that names nothing else
_NO_DISCOUNTS = Unmapped(
    "Documents have a discount, but the company does not use discounts.",
    "Turn on discounts in QuickBooks (Account and settings > Sales > Sales form content), or take the discount off the lines.",
)


@dataclass
class Wanted:
    """How many waiting documents need a thing, and some of them (source:key)."""

    documents: int = 0
    samples: list[str] = field(default_factory=list)

    def add(self, sample: str) -> None:
        """Count a document."""
        self.documents += 1
        if len(self.samples) < SAMPLES:
            self.samples.append(sample)


@dataclass(frozen=True)
class Lack:
    """A thing that is needed and is not there, or cannot be used: what to do, and for how many documents."""

    what: str
    name: str
    code: str
    reason: str
    fix: str
    documents: int
    samples: tuple[str, ...]


@dataclass(frozen=True)
class Unchecked:
    """A thing that could not be looked for."""

    what: str
    name: str
    reason: str
    documents: int


@dataclass
class Survey:
    """What came of one company. `created` are parties that posting creates by itself; `error` ended the survey."""

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
        """Whether everything is there, as far as everything was looked for."""
        return not (self.lacks or self.unchecked or self.error)

    def plain(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {"ok": self.well, **asdict(self)}


class ReadsSpentError(LookupFailed):
    """The allowed number of reads is spent."""


class BoundedReads(QboClient):
    """The client that reads at most so often. It is given no document to send."""

    def __init__(self, settings: WriterSettings, most: int) -> None:
        super().__init__(settings, Pacer(settings))
        self.reads, self.most = 0, most

    async def get(self, *arguments: Any, **more: Any) -> Any:
        """Read one address, if that is still allowed."""
        if self.reads >= self.most:
            raise ReadsSpentError(f"the {self.most} reads that were allowed are spent (--reads)")
        self.reads += 1
        return await super().get(*arguments, **more)


def needs_of(content: InvoiceContent | BillContent | BillPaymentContent) -> Iterable[Need]:
    """Return what a content refers to, and what the policy's defaults add to it."""
    if isinstance(content, BillPaymentContent):
        return [Need("defaults", LedgerKind.BILL_PAYMENT.value)]
    bill = isinstance(content, BillContent)
    found = [Need("defaults", (LedgerKind.BILL if bill else LedgerKind.INVOICE).value)]
    if isinstance(content, BillContent):
        found += [Need("account", line.account) for line in content.lines]
        found.append(Need("vendor", content.vendor.name))
    else:
        found += [Need("item", line.item) for line in content.lines]
        found.append(Need("customer", content.customer.name))
        found += [Need(DISCOUNT, "")] if content.discount else []
    found += [Need(TAX_CODE, line.tax_code) for line in content.lines if line.tax_code]
    found += [
        Need(what, name)
        for what, name in (("term", content.terms), ("class", content.class_name), ("location", content.department))
        if name
    ]
    return dict.fromkeys(found)


async def survey(pool: Pool, settings: WriterSettings, policy: Policy, realm: str, most: int = READS) -> Survey:
    """Look for all that a company's waiting commands need, with at most so many reads."""
    result = Survey(realm)
    client, oauth = BoundedReads(settings, most), OAuthClient(settings)
    try:
        references = References(pool, client, policy, settings)
        wanted = await _wanted(pool, settings, policy.for_realm(realm), realm, result)
        if not wanted:
            return result
        token = await _token(pool, settings, TokenStore(pool, settings, oauth), realm)
        facts = await references.company(realm, token, max_age=FACTS_SECONDS)  # what a person just turned on counts
        if not facts.has_bills:  # they are left out, with a reason of their own
            wanted = {need: w for need, w in wanted.items() if not _of_bills(need)}
        result.needs = len(wanted)
        needs = list(wanted)
        for start in range(0, len(needs), AT_ONCE):
            part = needs[start : start + AT_ONCE]
            plain = [need for need in part if need.what not in (TAX_CODE, DISCOUNT)]
            found = await asyncio.gather(*(_check(references, realm, need, token) for need in plain))
            for need, one in zip(plain, found, strict=True):
                _note(result, need, wanted[need], one)
        special = _Special(references, realm, policy.for_realm(realm), facts.discounts, token)
        for need in needs:
            if need.what in (TAX_CODE, DISCOUNT):
                _note(result, need, wanted[need], await special.check(need))
    except (BookrelayError, LookupFailed) as error:
        result.error = error.sentence() if isinstance(error, BookrelayError) else f"QuickBooks could not be read: {error}"
    finally:
        result.reads = client.reads
        await client.close()
        await oauth.close()
    result.lacks.sort(key=lambda lack: -lack.documents)
    return result


def _of_bills(need: Need) -> bool:
    return need.what in ("account", "vendor") or (need.what == "defaults" and need.name != LedgerKind.INVOICE.value)


async def _check(
    references: References, realm: str, need: Need, token: AccessToken
) -> Unmapped | NameNeeded | LookupFailed | None:
    try:
        return await references.check(realm, need, token)
    except LookupFailed as error:
        return error


@dataclass(frozen=True)
class _Special:
    """Looks for what `References.check` knows only as a part of the policy: one after the other, each under a policy for it."""

    references: References
    realm: str
    policy: Policy
    discounts: bool
    token: AccessToken

    async def check(self, need: Need) -> Unmapped | NameNeeded | LookupFailed | None:
        if need.what == TAX_CODE:
            defaults = Defaults(tax_code=need.name)
            named = self.policy.model_copy(update={"defaults": defaults, "amounts": self.policy.amounts or "net"})
            return await self._under(named, Need("defaults", LedgerKind.INVOICE.value))
        if not self.discounts:
            return _NO_DISCOUNTS
        if (account := self.policy.defaults.discount_account) is None:
            return None
        named = self.policy.model_copy(update={"accounts": {DISCOUNT: account}})
        return await self._under(named, Need("account", DISCOUNT))

    async def _under(self, policy: Policy, need: Need) -> Unmapped | NameNeeded | LookupFailed | None:
        self.references.use(self.realm, policy)
        try:
            return await _check(self.references, self.realm, need, self.token)
        finally:
            self.references.use(self.realm, self.policy)


def _note(result: Survey, need: Need, wanted: Wanted, found: Unmapped | NameNeeded | LookupFailed | None) -> None:
    if isinstance(found, Unmapped):
        lack = Lack(need.what, need.name, found.code.value, found.reason, found.fix, wanted.documents, tuple(wanted.samples))
        result.lacks.append(lack)
    elif isinstance(found, NameNeeded):
        result.created[found.kind.value] = result.created.get(found.kind.value, 0) + 1
    elif found is not None:
        result.unchecked.append(Unchecked(need.what, need.name, str(found), wanted.documents))


async def _wanted(pool: Pool, settings: WriterSettings, policy: Policy, realm: str, result: Survey) -> dict[Need, Wanted]:
    """Read the newest waiting version of every document, page by page; count what they need."""
    kinds = [kind for kind in _CONTENT if kind in policy.kinds or kind is LedgerKind.BILL_PAYMENT]
    if settings.qb_sync_mode == "invoice_only":
        kinds = [LedgerKind.INVOICE] if LedgerKind.INVOICE in kinds else []
    wanted: dict[Need, Wanted] = {}
    after = _FIRST
    while True:
        rows = await pool.fetch(
            """
            SELECT c.id, c.kind, c.content, d.source, d.source_key FROM qbo_writer.commands c
            JOIN qbo_writer.documents d ON d.id = c.document_id
            WHERE c.realm = $1 AND c.id > $2 AND c.state IN ('due', 'received', 'waiting') AND c.operation = 'upsert'
              AND c.kind = ANY($4::text[]) AND c.content IS NOT NULL AND NOT c.dropped
              AND NOT EXISTS (SELECT 1 FROM qbo_writer.commands n WHERE n.document_id = c.document_id
                AND (n.version, n.modified_at) > (c.version, c.modified_at))
            ORDER BY c.id LIMIT $3
            """,
            realm, after, PAGE, [kind.value for kind in kinds],
        )  # fmt: skip
        for row in rows:
            result.documents += 1
            content = _CONTENT[LedgerKind(row["kind"])].model_validate(row["content"])
            for need in needs_of(content):
                wanted.setdefault(need, Wanted()).add(f"{row['source']}:{row['source_key']}")
        if len(rows) < PAGE:
            return wanted
        after = rows[-1]["id"]


async def _token(pool: Pool, settings: WriterSettings, tokens: TokenStore, realm: str) -> AccessToken:
    """Return an access token: the one in use while a writer runs; else one that is refreshed under the lease, given back."""
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
            f"If it is not connected: qbo-writer auth login --realm {realm}; else ask again in a minute, its writer renews it.",
        )
    return token
