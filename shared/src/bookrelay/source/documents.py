"""What a source publishes about a document: it shall exist in the books, it shall not exist, or it is rejected."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from bookrelay.errors import Code
from bookrelay.messages import (
    Content,
    DocumentRejected,
    DocumentRejectedData,
    Kind,
    RetractDocument,
    RetractDocumentData,
    Upsert,
    upsert,
)


@dataclass(frozen=True)
class Rejection:
    """Why a document cannot be posted, and what its operator should do."""

    reason: str
    fix: str
    code: Code = Code.VALIDATION


@dataclass(frozen=True)
class Origin:
    """Where documents come from: the company, the source's name, and the service that publishes them."""

    realm: str
    source: str
    sender: str

    def upsert(self, content: Content, *, key: str, version: int, modified_at: datetime, total: Decimal | None = None) -> Upsert:
        """Return the command that document `key` shall exist with this content; `total` is the total at its source."""
        return upsert(
            content, sender=self.sender, realm=self.realm, source=self.source, source_key=key, version=version,
            modified_at=modified_at, total=total,
        )  # fmt: skip

    def retract(self, kind: Kind, *, key: str, version: int, modified_at: datetime, reason: str) -> RetractDocument:
        """Return the command that document `key` shall not exist."""
        data = RetractDocumentData(
            realm=self.realm, source=self.source, source_key=key, kind=kind, version=version, modified_at=modified_at,
            reason=reason,
        )  # fmt: skip
        return RetractDocument.of(data, sender=self.sender)

    def reject(
        self, rejection: Rejection, *, kind: Kind, key: str, version: int, at: datetime, occurrence: int = 0
    ) -> DocumentRejected:
        """Return the event that document `key` is rejected; `occurrence` counts the rejections of this version."""
        data = DocumentRejectedData(
            realm=self.realm, source=self.source, source_key=key, kind=kind, version=version, occurrence=occurrence,
            code=rejection.code.value, reason=rejection.reason, fix=rejection.fix,
        )  # fmt: skip
        return DocumentRejected.of(data, sender=self.sender, time=at)
