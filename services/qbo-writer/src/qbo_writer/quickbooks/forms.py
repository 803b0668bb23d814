"""The port's forms: QuickBooks' names of kinds, and the bodies of requests as `mapping` writes them."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from qbo_writer.domain import Answer, BatchItem, DesiredDocument, LedgerKind, Operation, Resolved
from qbo_writer.kinds import AnyContent
from qbo_writer.policy import Policy
from qbo_writer.quickbooks import mapping
from qbo_writer.redacting import redacted

_WITNESS = "witness"  # bId of the second item, a query: executed if memory is kept for each item
_WITNESS_ITEM = f'{{"bId":"{_WITNESS}","Query":"select count(*) from Term"}}'  # noqa: S608
_EXECUTED = "QueryResponse"
# Names, notes, descriptions, addresses and messages can hold a person's name: only what cannot is kept.
_KEPT = frozenset(
    (
        *("Id", "SyncToken", "value", "TxnDate", "DueDate", "DocNumber", "DetailType", "TxnType", "TxnId", "PayType", "domain"),
        *("EmailStatus", "CreateTime", "LastUpdatedTime", "time", "DefinitionId", "Type", "status", "code", "type", "bId"),
    )
)


class QboForms:
    """See `ports.Forms`."""

    documents = mapping.DOCUMENTS
    lists = mapping.LISTS
    names = mapping.PARTY_ENTITIES

    def entity_of(self, kind: LedgerKind) -> str:
        """Return QuickBooks' name for a kind."""
        return mapping.ENTITY[kind]

    def wanted(
        self, kind: LedgerKind, content: AnyContent, resolved: Resolved, policy: Policy, number: str | None, marker: str,
        currency: str | None,
    ) -> DesiredDocument:  # fmt: skip
        """Map a content."""
        return mapping.wanted(kind, content, resolved, policy, number, marker, currency)

    def body(self, operation: Operation, wanted: DesiredDocument | None, qbo_id: str, sync_token: str) -> str:
        """Return the body of a request."""
        if operation is Operation.VOID:
            return mapping.void_body(qbo_id, sync_token)
        if operation is Operation.DELETE:
            return mapping.delete_body(qbo_id, sync_token)
        assert wanted is not None
        return mapping.create_body(wanted) if operation is Operation.CREATE else mapping.update_body(wanted, qbo_id, sync_token)

    def batch(self, items: Sequence[BatchItem]) -> str:
        """Return the body of a batch."""
        return mapping.batch_body(items)

    def witnessed(self, item: BatchItem) -> tuple[str, BatchItem]:
        """Return the body of a batch of this item and a query beside it."""
        witness = BatchItem(_WITNESS, replace(item.request, entity=_EXECUTED, operation=Operation.CREATE))
        return mapping.batch_body([item]).removesuffix("]}") + f",{_WITNESS_ITEM}]}}", witness

    def was_executed(self, answer: Answer) -> bool:
        """Whether the query of `witnessed` was answered."""
        return _EXECUTED in answer.body

    def redacted(self, body: str) -> Any:
        """Return a body without its texts."""
        return redacted(body, _KEPT)

    def named(self, body: str) -> set[tuple[str, str]]:
        """Return the entries of lists that a body names."""
        return mapping.named(body)
