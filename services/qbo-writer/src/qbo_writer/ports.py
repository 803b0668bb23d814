"""What the protocol needs of QuickBooks, the tokens and the pacing; `quickbooks` implements it."""

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Any, Protocol

from bookrelay.messages import Priority

from qbo_writer.domain import (
    AccessToken,
    Answer,
    BatchItem,
    BatchRequest,
    BooksEntity,
    CompanyFacts,
    Deleted,
    DesiredDocument,
    LedgerKind,
    NameNeeded,
    Operation,
    Request,
    Resolved,
    Unmapped,
    UpdatedPage,
)
from qbo_writer.kinds import AnyContent
from qbo_writer.policy import Policy

FACTS_SECONDS = 60.0  # a new document is never refused by facts older than this


class Books(Protocol):
    """The port to QuickBooks: it sends what it is given, once, and classifies the answer. It never retries."""

    async def send(self, request: Request, token: AccessToken) -> Answer:
        """Send one journalled request; every outcome is an Answer, including a time-out."""

    async def send_batch(self, batch: BatchRequest, token: AccessToken) -> Answer | dict[str, Answer]:
        """Send a journalled batch: one Answer for the whole call (silence, 429, 401, error), or one for each bId.

        A bId that is missing from a readable reply is silence.
        """

    async def read(self, realm: str, entity: str, qbo_id: str, token: AccessToken) -> BooksEntity | None:
        """Read by Id; None if QuickBooks says that it is not there (deleted). Raises LookupFailed without a readable answer."""

    async def find(
        self,
        realm: str,
        entity: str,
        *,
        doc_number: str | None,
        marker: str,
        since: datetime,
        name: str | None,
        token: AccessToken,
    ) -> list[BooksEntity]:
        """Look up the entity with our marker (for names, with this name): by DocNumber, else by MetaData.CreateTime.

        Also returns documents with this DocNumber and another marker: the caller decides. Raises LookupFailed.
        """

    async def numbered(self, realm: str, entity: str, numbers: Collection[str], token: AccessToken) -> list[BooksEntity]:
        """Return the documents of a kind with one of these numbers, as QuickBooks compares them. Raises LookupFailed."""

    async def find_marked(
        self, realm: str, entity: str, numbers: Mapping[str, str | None], since: datetime, token: AccessToken
    ) -> dict[str, BooksEntity]:
        """Look up many documents by marker (each with its number, if any), in one window of CreateTime.

        Returns what was found, by marker. Raises LookupFailed.
        """

    async def changes(
        self, realm: str, entities: Sequence[str], since: datetime, token: AccessToken
    ) -> "list[BooksEntity | Deleted]":
        """Read the change feed. Raises LookupFailed; FeedFull if the answer reached its cap and may be incomplete."""

    async def updated(self, realm: str, entity: str, since: datetime, start: int, token: AccessToken) -> "UpdatedPage":
        """Read one page of what was last updated at `since` or later, oldest first. Raises LookupFailed."""

    async def harmless(self, realm: str, token: AccessToken, number: int = 0) -> None:
        """Read one of two things (`number`: 0 or 1) that every company can read. Raises LookupFailed."""

    async def created(self, realm: str, entity: str, since: datetime, token: AccessToken) -> tuple[list[BooksEntity], list[str]]:
        """Read what was created since then, and the error of each entity that cannot be read. Raises LookupFailed."""

    async def present(self, realm: str, entity: str, ids: Sequence[str], token: AccessToken) -> set[str]:
        """Return which of these Ids a query shows, which is only a hint. Raises LookupFailed."""


class Forms(Protocol):
    """QuickBooks' names and request bodies. Pure."""

    @property
    def documents(self) -> tuple[str, ...]:
        """The entities of documents, payments last: they belong to what they pay."""

    @property
    def lists(self) -> tuple[str, ...]:
        """The entities that documents refer to."""

    @property
    def names(self) -> tuple[str, ...]:
        """Those of the lists that the writer creates entries in."""

    def entity_of(self, kind: LedgerKind) -> str:
        """Return QuickBooks' entity name of a kind."""

    def wanted(
        self, kind: LedgerKind, content: AnyContent, resolved: Resolved, policy: Policy, number: str | None, marker: str,
        currency: str | None,
    ) -> DesiredDocument:  # fmt: skip
        """Return what a document should be. `number` None: QuickBooks sets it."""

    def body(self, operation: Operation, wanted: DesiredDocument | None, qbo_id: str, sync_token: str) -> str:
        """Return the body of a request; `wanted` None: a delete or void."""

    def batch(self, items: Sequence[BatchItem]) -> str:
        """Return the body of a batch that embeds each item's body unchanged."""

    def witnessed(self, item: BatchItem) -> tuple[str, BatchItem]:
        """Return the body of a batch with this item and a harmless second one, and that second item."""

    def was_executed(self, answer: Answer) -> bool:
        """Whether the answer to the second item shows that it was executed."""

    def redacted(self, body: str) -> Any:
        """Return a body without its texts, which may name people. None if it cannot be read."""

    def named(self, body: str) -> set[tuple[str, str]]:
        """Return the list entries (entity, Id) that a body refers to."""


class References(Protocol):
    """QuickBooks' lists, and the company's facts."""

    def use(self, realm: str, policy: Policy) -> None:
        """Resolve by this policy from now on."""

    async def resolve(
        self, realm: str, kind: LedgerKind, content: AnyContent, token: AccessToken, *, facts_age: float = FACTS_SECONDS
    ) -> Resolved | NameNeeded | Unmapped:
        """Resolve every reference. Raises LookupFailed, Skipped."""

    async def company(self, realm: str, token: AccessToken, *, max_age: float | None = None) -> CompanyFacts:
        """Return the company's facts. Raises LookupFailed."""

    async def changed(self, realm: str, token: AccessToken) -> bool:
        """Whether the company's facts changed since they were last read. Raises LookupFailed."""

    async def forget(self, realm: str, entries: Collection[tuple[str, str]] | None = None) -> None:
        """Forget these entries (None: all), so that they are read again."""

    async def merged(self, realm: str, losers: Collection[tuple[str, str]]) -> None:
        """Note that these entries were merged into others."""

    async def holder(
        self, realm: str, kind: LedgerKind, name: str, token: AccessToken
    ) -> tuple[BooksEntity | None, Unmapped | None]:
        """Return the entry with a name, if it is usable; and why it is not. Raises LookupFailed."""

    def made(self, needed: NameNeeded, qbo_id: str, sync_token: str, name: str, marker: str) -> BooksEntity | Unmapped:
        """Return the entry that the writer created, for the cache; or why it cannot be used."""


class Pace(Protocol):
    """When requests may leave."""

    def slot(self, realm: str, *, batch: bool = False, priority: Priority = Priority.LIVE) -> AbstractAsyncContextManager[None]:
        """Wait for a slot."""

    def batch_now(self, realm: str) -> bool:
        """Whether a batch call may leave at once."""

    def load(self, realm: str, state: dict[str, Any]) -> None:
        """Load a stored state."""

    def state(self, realm: str) -> dict[str, Any]:
        """Return the state to store."""

    def used_at(self, realm: str) -> float:
        """When a request left last, by the monotonic clock."""


class Tokens(Protocol):
    """Access tokens of the companies."""

    async def current(self, realm: str, fencing_token: int) -> AccessToken:
        """Return a token with enough life left. Raises HaltError."""

    async def renew(self, realm: str, fencing_token: int, refused: AccessToken) -> AccessToken:
        """Return a different token than the refused one. Raises HaltError."""

    async def kept(self, realm: str) -> AccessToken | None:
        """Return the stored token without refreshing it."""

    async def rescue(self, realm: str) -> None:
        """Store a token pair that could not be stored when it arrived."""

    def unproven(self, realm: str) -> bool:
        """Whether QuickBooks has not yet accepted the current token."""

    def ask_again(self, realm: str) -> None:
        """Ask the token endpoint at once instead of waiting out a pause."""
