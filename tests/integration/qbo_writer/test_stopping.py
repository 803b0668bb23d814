"""SIGTERM to a busy writer: it waits for what is in flight, hands every lease back, leaves nothing open and nothing doubled."""

import asyncio
from collections import Counter
from typing import Any

import asyncpg
import psutil
import pytest
from bookrelay import topics
from bookrelay.db import open_pool
from qbo_writer.quickbooks.oauth_client import OAuthClient, TokenPair
from qbo_writer.quickbooks.tokens import TokenStore
from running import Running, eventually
from sandbox.stack.embedded_broker import EmbeddedBroker
from test_service import create_topics, environment, publisher
from writer_support import QboSandbox, create_schema, invoice, settings_for

pytestmark = [pytest.mark.postgres, pytest.mark.kafka, pytest.mark.slow]
COMPANIES, DOCUMENTS = 50, 3
SHUTDOWN_SECONDS = 60
PATIENT = {"SHUTDOWN_SECONDS": str(SHUTDOWN_SECONDS), "LEASE_SECONDS": "120", "QBO_REQUEST_TIMEOUT_SECONDS": "180"}


async def connect(database_url: str, sandbox: QboSandbox, companies: list[dict[str, Any]]) -> None:
    """Store the tokens of every company, as `qbo-writer auth login` does."""
    settings = settings_for(database_url, sandbox, companies[0])
    pool = await open_pool(settings, application_name="test")
    oauth = OAuthClient(settings)
    try:
        store = TokenStore(pool, settings, oauth)
        for company in companies:
            pair = TokenPair(company["access_token"], 3600, company["refresh_token"], 100 * 86400)
            await store.connect(company["realm_id"], pair)
    finally:
        await oauth.close()
        await asyncio.wait_for(pool.close(), 60)


async def test_fifty_companies_with_requests_in_flight_are_drained_and_handed_back(
    database_url: str, own_broker: EmbeddedBroker, sandbox: QboSandbox
) -> None:
    await create_schema(database_url)
    create_topics(own_broker)
    companies = [sandbox.company() for _ in range(COMPANIES)]
    realms = [company["realm_id"] for company in companies]
    await connect(database_url, sandbox, companies)
    since = sandbox.control("GET", "requests")["last"]
    # QuickBooks answers no create of an invoice until it is let: in an hour, or by `release`.
    sandbox.fault(fault="latency", seconds=3600, match={"entity": "Invoice", "operation": "create", "realm": realms})
    env = environment(database_url, own_broker.bootstrap_servers, sandbox, companies[0], **PATIENT)
    env |= {"QBO_REALM_IDS": ",".join(realms), "QBO_INITIAL_REFRESH_TOKEN": ""}

    def requests() -> list[dict[str, Any]]:
        return [r for r in sandbox.control("GET", "requests", since=since)["requests"] if r["realm"] in realms]

    def in_flight() -> Counter[str]:
        return Counter(
            r["realm"] for r in requests() if r["status"] == 0 and (r["entity"], r["operation"]) == ("Invoice", "create")
        )

    connection = await asyncpg.connect(database_url)
    try:
        async with publisher(own_broker.bootstrap_servers) as p:
            await p.publish(topics.COMMANDS, [invoice(realm, f"Q-{n}") for n in range(DOCUMENTS) for realm in realms])
        with Running("qbo_writer.main", env) as writer:
            writer.wait_for("service.ready")
            eventually(lambda: set(in_flight()) == set(realms), within=180, what="a request in flight for every company")
            writer.process.terminate()
            writer.wait_for("service.stopping")
            # Its loops have ended and its consumers have left: the producer and the probe alone are connected. So it drains now.
            process, broker = psutil.Process(writer.process.pid), int(own_broker.bootstrap_servers.rpartition(":")[2])
            eventually(lambda: sum(c.raddr[1:] == (broker,) for c in process.net_connections("tcp")) <= 2, within=60)
            # It waits: no request was given up, no lease handed back.
            assert set(in_flight()) == set(realms)
            held = "SELECT count(*) FROM qbo_writer.leases WHERE expires_at > clock_timestamp()"
            assert await connection.fetchval(held) == COMPANIES
            sandbox.control("DELETE", "faults")
            eventually(lambda: sandbox.control("POST", "release") == {"released": 0} and writer.process.poll() is not None, 120)
            stopped = writer.wait_for("service.stopped")
            assert writer.process.returncode == 0
            assert stopped["seconds"] < SHUTDOWN_SECONDS, "it was cut off"
            wrong = [line for line in writer.lines if line.get("level") in ("warning", "error", "critical")]
            assert wrong == []
        # Every lease is free for the next one.
        assert await connection.fetchval("SELECT count(*) FROM qbo_writer.leases") == COMPANIES
        assert await connection.fetchval(held) == 0
        # No attempt is open, silent or without its answer; as many requests were sent as QuickBooks has answered.
        attempts = await connection.fetch(
            "SELECT realm, entity, state, answered, ambiguous, http_status, sends FROM qbo_writer.attempts"
        )
        ends = {(a["state"], a["answered"], a["ambiguous"], a["http_status"], a["sends"]) for a in attempts}
        assert ends == {("resolved", True, False, 200, 1)}
        sent = Counter((r["realm"], r["entity"]) for r in requests() if r["operation"] == "create")
        assert sent == Counter((a["realm"], a["entity"]) for a in attempts)
        assert {r["status"] for r in requests()} == {200}
        # What is posted is there once; what was not sent yet is due for the next one.
        states = await connection.fetch(
            "SELECT realm, state, count(*) FROM qbo_writer.commands WHERE kind = 'invoice' GROUP BY 1, 2"
        )
        assert {row["state"] for row in states} <= {"posted", "due"}
        posted = Counter({row["realm"]: row["count"] for row in states if row["state"] == "posted"})
        assert set(posted) == set(realms)
        for realm in realms:
            notes = [b["PrivateNote"] for b in sandbox.books(realm, "Invoice") if "bookrelay:" in b.get("PrivateNote", "")]
            assert len(notes) == len(set(notes)) == posted[realm] == sent[realm, "Invoice"]
    finally:
        await connection.close()
