"""What a source says of a document: it shall be in the books, it shall not, or why it cannot be."""

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
    """Why a document cannot be in the books, and what its operator does about it."""

    reason: str
    fix: str
    code: Code = Code.VALIDATION


@dataclass(frozen=True)
class Origin:
    """Whose documents these are: the company, the source's name, and the service that speaks."""

    realm: str
    source: str
    sender: str

    def upsert(self, content: Content, *, key: str, version: int, modified_at: datetime, total: Decimal | None = None) -> Upsert:
        """Say that the document `key` shall be in the books with this content; `total`: what it comes to at its source."""
        return upsert(
            content, sender=self.sender, realm=self.realm, source=self.source, source_key=key, version=version,
            modified_at=modified_at, total=total,
        )  # fmt: skip

    def retract(self, kind: Kind, *, key: str, version: int, modified_at: datetime, reason: str) -> RetractDocument:
        """Say that the document `key` shall not be in the books."""
        data = RetractDocumentData(
            realm=self.realm, source=self.source, source_key=key, kind=kind, version=version, modified_at=modified_at,
            reason=reason,
        )  # fmt: skip
        return RetractDocument.of(data, sender=self.sender)

    def reject(
        self, rejection: Rejection, *, kind: Kind, key: str, version: int, at: datetime, occurrence: int = 0
    ) -> DocumentRejected:
        """Tell why the document `key` cannot be in the books; `occurrence` counts what was told about it in this version."""
        data = DocumentRejectedData(
            realm=self.realm, source=self.source, source_key=key, kind=kind, version=version, occurrence=occurrence,
            code=rejection.code.value, reason=rejection.reason, fix=rejection.fix,
        )  # fmt: skip
        return DocumentRejected.of(data, sender=self.sender, time=at)
