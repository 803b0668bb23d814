"""What the protocol needs of the books and of what stands around them; QuickBooks' side is in `quickbooks`."""

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

FACTS_SECONDS = 60.0  # by older facts no document is refused that comes for the first time


class Books(Protocol):
    """The port to one QuickBooks company: it sends what it is given, once, and classifies the answer. It never retries."""

    async def send(self, request: Request, token: AccessToken) -> Answer:
        """Send one journalled request; every outcome is an Answer, also a time-out."""

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
        """Look up what carries our marker (or, for names, has this name): by DocNumber, else by MetaData.CreateTime.

        Also returns a document with this DocNumber and another marker: the caller decides. Raises LookupFailed.
        """

    async def numbered(self, realm: str, entity: str, numbers: Collection[str], token: AccessToken) -> list[BooksEntity]:
        """Return the documents of a kind that bear one of these numbers, as QuickBooks compares them. Raises LookupFailed."""

    async def find_marked(
        self, realm: str, entity: str, numbers: Mapping[str, str | None], since: datetime, token: AccessToken
    ) -> dict[str, BooksEntity]:
        """Look up many documents at once by their markers (each with its number, if any), in one window of CreateTime.

        Return by marker what was found; raises LookupFailed.
        """

    async def changes(
        self, realm: str, entities: Sequence[str], since: datetime, token: AccessToken
    ) -> "list[BooksEntity | Deleted]":
        """Read the change feed. Raises LookupFailed; FeedFull where the answer is at its cap and so may be incomplete."""

    async def updated(self, realm: str, entity: str, since: datetime, start: int, token: AccessToken) -> "UpdatedPage":
        """Read one page of what was last updated at `since` or later, oldest first. Raises LookupFailed."""

    async def harmless(self, realm: str, token: AccessToken, number: int = 0) -> None:
        """Read what every company can read; `number` 0 or 1: which. Raises LookupFailed."""

    async def created(self, realm: str, entity: str, since: datetime, token: AccessToken) -> tuple[list[BooksEntity], list[str]]:
        """Read what was made since then, and what is wrong with each that cannot be read. Raises LookupFailed."""

    async def present(self, realm: str, entity: str, ids: Sequence[str], token: AccessToken) -> set[str]:
        """Return which of these Ids a query shows: a hint only. Raises LookupFailed."""


class Forms(Protocol):
    """How the books write what is asked of them. Pure."""

    @property
    def documents(self) -> tuple[str, ...]:
        """The entities that stand for documents; payments last: they belong to what they pay."""

    @property
    def lists(self) -> tuple[str, ...]:
        """The entities that documents refer to."""

    @property
    def names(self) -> tuple[str, ...]:
        """Of these the ones that the writer makes."""

    def entity_of(self, kind: LedgerKind) -> str:
        """Return the books' name for a kind of document."""

    def wanted(
        self, kind: LedgerKind, content: AnyContent, resolved: Resolved, policy: Policy, number: str | None, marker: str,
        currency: str | None,
    ) -> DesiredDocument:  # fmt: skip
        """Return what a document shall be. `number` None: the books give it."""

    def body(self, operation: Operation, wanted: DesiredDocument | None, qbo_id: str, sync_token: str) -> str:
        """Return the body of a request; `wanted` None for what takes a document away."""

    def batch(self, items: Sequence[BatchItem]) -> str:
        """Return the body of a batch, with each item's body as it is."""

    def witnessed(self, item: BatchItem) -> tuple[str, BatchItem]:
        """Return the body of a batch of this item and a harmless second one, and that one: was it executed?"""

    def was_executed(self, answer: Answer) -> bool:
        """Whether the answer to the second item says that it was executed."""

    def redacted(self, body: str) -> Any:
        """Return a body without its texts: they may name people. None for what cannot be read."""

    def named(self, body: str) -> set[tuple[str, str]]:
        """Return the entries of lists (entity, Id) that a body names."""


class References(Protocol):
    """The lists of the books, and what the company is."""

    def use(self, realm: str, policy: Policy) -> None:
        """Resolve by this policy from now on."""

    async def resolve(
        self, realm: str, kind: LedgerKind, content: AnyContent, token: AccessToken, *, facts_age: float = FACTS_SECONDS
    ) -> Resolved | NameNeeded | Unmapped:
        """Resolve every reference. Raises LookupFailed, Skipped."""

    async def company(self, realm: str, token: AccessToken, *, max_age: float | None = None) -> CompanyFacts:
        """Return what the company is. Raises LookupFailed."""

    async def changed(self, realm: str, token: AccessToken) -> bool:
        """Whether the company is another than it was when it was last read. Raises LookupFailed."""

    async def forget(self, realm: str, entries: Collection[tuple[str, str]] | None = None) -> None:
        """Forget these entries (all: None): they are asked for again."""

    async def merged(self, realm: str, losers: Collection[tuple[str, str]]) -> None:
        """These entries are part of others now."""

    async def holder(
        self, realm: str, kind: LedgerKind, name: str, token: AccessToken
    ) -> tuple[BooksEntity | None, Unmapped | None]:
        """Return who has a name: the one that was meant; or another, and why that is not taken. Raises LookupFailed."""

    def made(self, needed: NameNeeded, qbo_id: str, sync_token: str, name: str, marker: str) -> BooksEntity | Unmapped:
        """Return what the writer made under a name, as it is learned; or why it is not what is needed."""


class Pace(Protocol):
    """When requests may leave."""

    def slot(self, realm: str, *, batch: bool = False, priority: Priority = Priority.LIVE) -> AbstractAsyncContextManager[None]:
        """Wait for one's turn."""

    def batch_now(self, realm: str) -> bool:
        """Whether a batch call may leave at once."""

    def load(self, realm: str, state: dict[str, Any]) -> None:
        """Go on from a kept state."""

    def state(self, realm: str) -> dict[str, Any]:
        """Return the state that is kept."""

    def used_at(self, realm: str) -> float:
        """When a request left last, by the monotonic clock."""


class Tokens(Protocol):
    """Access tokens of the companies."""

    async def current(self, realm: str, fencing_token: int) -> AccessToken:
        """Return a token that lives long enough. Raises HaltError."""

    async def renew(self, realm: str, fencing_token: int, refused: AccessToken) -> AccessToken:
        """Return another token than the refused one. Raises HaltError."""

    async def kept(self, realm: str) -> AccessToken | None:
        """Return the token that is kept, as it is; refreshes nothing."""

    async def rescue(self, realm: str) -> None:
        """Keep what a refresh brought and nobody could store."""

    def unproven(self, realm: str) -> bool:
        """Whether the present token was not accepted yet."""

    def ask_again(self, realm: str) -> None:
        """Ask the token endpoint at once where it was refused."""
