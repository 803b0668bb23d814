"""The list of employees could not be read, and each name that waited read it again, one after another: an hour of time-outs."""

from datetime import datetime

import pytest
from qbo_writer.domain import AccessToken, LookupFailed, LookupUnreadable, UpdatedPage
from qbo_writer.quickbooks.name_lists import Pages
from test_names_that_look_alike import make
from writer_support import QboSandbox, desk, invoice, running

pytestmark = pytest.mark.postgres


class WithoutEmployees:
    """QuickBooks, where the list of employees fails."""

    def __init__(self, books: Pages, error: type[LookupFailed]) -> None:
        self.books, self.error, self.reads = books, error, 0

    async def updated(self, realm: str, entity: str, since: datetime, start: int, token: AccessToken) -> UpdatedPage:
        if entity == "Employee":
            self.reads += 1
            raise self.error("the list fails")
        return await self.books.updated(realm, entity, since, start, token)


@pytest.mark.parametrize("error", [LookupUnreadable, LookupFailed])
async def test_a_list_that_fails_is_read_once_for_all_names(
    database_url: str, sandbox: QboSandbox, error: type[LookupFailed]
) -> None:
    company = sandbox.company()
    async with desk(database_url, sandbox, company=company, run=False) as d:
        lists = d.writer.references.names.lists
        failing = lists._books = WithoutEmployees(lists._books, error)
        for at in range(30):
            await make(d, company, "Customer", DisplayName=f"Patient {at}")
        await d.tell(*(invoice(d.realm, f"Q-{at}", customer=f"Patient {at}") for at in range(30)))
        async with running(d.writer):
            assert set((await d.until_ended()).values()) == {"posted"}
        assert failing.reads <= 3
        assert not await d.pool.fetchval("SELECT count(*) FROM qbo_writer.commands WHERE failures > 1")
