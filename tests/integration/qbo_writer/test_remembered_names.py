"""Of a company with 100,000 customers memory holds a bounded number; whoever it does not hold is found by an index."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from bookrelay.db import Pool, open_pool
from ledger_load import REALM, connect, fill
from qbo_writer.domain import AccessToken, Reference
from qbo_writer.ledger.references import ReferenceRows
from qbo_writer.quickbooks.name_cache import NameCache
from qbo_writer.settings import Settings

pytestmark = [pytest.mark.postgres, pytest.mark.slow]
CUSTOMERS, MOST = 100_000, 50
TOKEN = AccessToken("t", datetime.now(UTC) + timedelta(hours=1))


class NoBooks:
    """QuickBooks is not asked."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"{name} was called")


async def _pool(url: str) -> Pool:
    settings = Settings.load({"DATABASE_URL": url, "KAFKA_BOOTSTRAP_SERVERS": "localhost:1"})
    return await open_pool(settings, application_name="test")


async def test_a_name_among_very_many_is_found_by_an_index_and_memory_is_bounded(database_url: str) -> None:
    made = await connect(database_url)
    try:
        await fill(made, 10)
        await made.execute(
            "INSERT INTO qbo_writer.references (realm, entity, qbo_id, name, name_folded) SELECT $1, 'Customer', 'c' || i, "
            "'C-' || i || ' A.B.', 'c-' || i || ' a.b.' FROM generate_series(1, $2::int) AS i",
            REALM, CUSTOMERS,
        )  # fmt: skip
        await made.execute("VACUUM ANALYZE qbo_writer.references")
        plan = await made.fetchval(
            "EXPLAIN (ANALYZE, FORMAT JSON) SELECT * FROM qbo_writer.references WHERE realm = $1 AND entity = 'Customer' "
            "AND name_folded = 'c-777 a.b.' AND active",
            REALM,
        )
        explained = json.loads(plan)[0]
        assert "Index" in explained["Plan"]["Node Type"] or "Bitmap" in explained["Plan"]["Node Type"]
        assert explained["Plan"]["Actual Rows"] == 1
    finally:
        await made.connection.close()
    pool = await _pool(database_url)
    try:
        cache = NameCache(ReferenceRows(pool), NoBooks(), 86_400, MOST)
        for number in range(1, 4 * MOST):
            found = await cache.find(REALM, "Customer", f"C-{number} A.B.", TOKEN)
            assert isinstance(found, Reference)
            assert found.qbo_id == f"c{number}"
        held = (cache._names, cache._texts, cache._keys, cache._name_read_at, cache._locks)
        assert max(len(one) for one in held) <= 2 * MOST
        found = await cache.find(REALM, "Customer", "C-1 A.B.", TOKEN)  # forgotten, and found again
        assert found
        assert found.qbo_id == "c1"
    finally:
        await pool.close()
