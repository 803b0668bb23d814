"""What changed in QuickBooks: the change feed, and pages of what was last updated since."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from bookrelay import telemetry

from qbo_writer.domain import AccessToken, BooksEntity, Deleted, FeedFull, LookupFailed, LookupUnreadable, UpdatedPage
from qbo_writer.quickbooks import faults, mapping
from qbo_writer.quickbooks.answers import as_dict, is_deleted, rows_of
from qbo_writer.quickbooks.reads import OVERLAP, PAGE, Reads
from qbo_writer.quickbooks.statements import ALL
from qbo_writer.quickbooks.transport import ReadRefused

log = telemetry.get_logger(__name__)

CDC_CAP = 1000  # objects in one answer of the change feed: at the cap something may be missing
CDC_DAYS = 29  # it looks back 30 days
_WITH_ACTIVE = frozenset({"Customer", "Vendor", "Employee", "Item", "Account", "Term", "Class", "Department"})


class ChangeReads(Reads):
    """Reads what somebody changed, ourselves included."""

    async def changes(
        self, realm: str, entities: Sequence[str], since: datetime, token: AccessToken
    ) -> list[BooksEntity | Deleted]:
        """Read the change feed. Raises LookupFailed; FeedFull where the answer is at its cap, which all entities share."""
        if since < datetime.now(UTC) - timedelta(days=CDC_DAYS):
            raise LookupFailed("the change feed looks back 30 days only")
        from_ = since.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        params = {"entities": ",".join(entities), "changedSince": from_}
        value = await self.get(realm, "/cdc", params, token, name="changes")
        found, count = list[BooksEntity | Deleted](), 0
        for response in rows_of(value, "CDCResponse"):
            if faults.faults_of(response):
                raise ReadRefused(replace(faults.item(response, None), http_status=200, body=mapping.dumps(as_dict(response))))
            for part in rows_of(response, "QueryResponse"):
                for entity in entities:
                    rows = rows_of(part, entity)
                    count += len(rows)
                    gone = [raw for raw in rows if _gone(raw)]
                    found += [Deleted(entity, str(raw.get("Id")), mapping.KIND.get(entity)) for raw in gone]
                    found += _readable(realm, entity, [raw for raw in rows if not _gone(raw)])
        if count >= CDC_CAP:
            raise FeedFull(found)
        return found

    async def updated(self, realm: str, entity: str, since: datetime, start: int, token: AccessToken) -> UpdatedPage:
        """Read one page of what was last updated at `since` or later, oldest first. Raises LookupFailed.

        The next page begins at the last time seen: what changes meanwhile moves behind it. Only within a second that fills a page
        do pages go by row, with an overlap.
        """
        which = f"{ALL} and " if entity in _WITH_ACTIVE else ""
        statement = (
            f"select * from {entity} where {which}MetaData.LastUpdatedTime >= '{since.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}' "  # noqa: S608
            f"orderby MetaData.LastUpdatedTime startposition {start} maxresults {PAGE}"
        )
        value = await self.get(realm, "/query", {"query": statement}, token, name="updated")
        response = value.get("QueryResponse")
        if not isinstance(response, dict):
            raise LookupUnreadable("the answer to a query holds no QueryResponse")
        rows = rows_of(response, entity)
        seen = tuple(_readable(realm, entity, rows))
        if len(rows) < PAGE:
            return UpdatedPage(seen, None)
        try:
            last = datetime.fromisoformat(str(rows[-1]["MetaData"]["LastUpdatedTime"])).astimezone(UTC).replace(microsecond=0)
        except (KeyError, TypeError, ValueError, OverflowError):
            raise LookupUnreadable(f"a {entity} shows no LastUpdatedTime") from None
        if last > since:
            return UpdatedPage(seen, (last, 1))
        return UpdatedPage(seen, (since, start + PAGE - OVERLAP))


def _gone(raw: Mapping[str, Any]) -> bool:
    return is_deleted(raw) and "SyncToken" not in raw


def _readable(realm: str, entity: str, rows: Sequence[Mapping[str, Any]]) -> list[BooksEntity]:
    """Read entities that somebody else may have made; one that cannot be read is told and left out, the others count."""
    seen, odd = mapping.readable(entity, rows)
    for error in odd:
        log.warning("entity.unreadable", realm=realm, error=error)
    return seen
