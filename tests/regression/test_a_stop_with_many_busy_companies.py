"""Fifty busy companies were drained one after another: the stop's time was over before the first lease was handed back."""

import asyncio
from collections.abc import Iterator

import pytest
from bookrelay.db import open_pool
from qbo_writer.ledger.lease import Leases
from qbo_writer.protocol.parts import Tenure
from qbo_writer.writer import Writer
from writer_support import QboSandbox, create_schema, qbo_sandbox, settings_for

pytestmark = pytest.mark.postgres
COMPANIES = 50


@pytest.fixture
def sandbox() -> Iterator[QboSandbox]:
    """A stand-in of its own."""
    with qbo_sandbox("--no-limits") as sandbox:
        yield sandbox


async def test_all_are_drained_together_and_all_leases_are_free(database_url: str, sandbox: QboSandbox) -> None:
    await create_schema(database_url)
    realms = [str(9130000000000000 + n) for n in range(COMPANIES)]
    settings = settings_for(database_url, sandbox, {**sandbox.company(), "realm_id": ",".join(realms)})
    pool = await open_pool(settings, application_name="test")
    try:
        writer = Writer(settings, pool)
        await writer.leases.step()
        ended: list[str] = []
        never = asyncio.Event()

        async def request(realm: str, *, silent: bool) -> None:
            if silent:
                await never.wait()
            await asyncio.sleep(0.5)
            ended.append(realm)

        for number, (realm, poster) in enumerate(writer.posters.items()):
            token = writer.leases.holding(realm)
            assert token is not None
            poster.sender.spawn(Tenure(token), (), request(realm, silent=number % 2 == 0))
        async with asyncio.timeout(60):  # one after another takes four seconds for every silent one
            await writer.close(2)
        assert sorted(ended) == realms[1::2]
        standby = Leases(pool, realms, seconds=30, renew_seconds=1)
        await standby.step()
        assert [standby.holding(realm) for realm in realms] == [2] * COMPANIES
        never.set()
    finally:
        await asyncio.wait_for(pool.close(), 60)
