"""What must not get out: names of patients that stand in QuickBooks, tokens, the client's secret. Searched for everywhere."""

import asyncio
import time
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from aiokafka import AIOKafkaConsumer
from bookrelay import topics
from cryptography.fernet import Fernet
from sandbox.stack.embedded_broker import EmbeddedBroker
from test_posting_operators import command
from test_service import create_topics, environment, events, publisher, writer_process
from writer_support import KEY, QboSandbox, bill, create_schema, invoice

pytestmark = [pytest.mark.postgres, pytest.mark.kafka]
NAME = "Zzcanary Wilhelmina"
BELONGS = {"references"}  # QuickBooks' own lists, kept to find who is meant


async def tables(connection: asyncpg.Connection) -> dict[str, str]:
    """Every row of every table of the writer, as text."""
    names = await connection.fetch("SELECT table_name FROM information_schema.tables WHERE table_schema = 'qbo_writer'")
    return {
        name: "\n".join(row["text"] for row in await connection.fetch(f'SELECT t::text AS text FROM qbo_writer."{name}" t'))
        for name in (row["table_name"] for row in names)
    }


async def records(servers: str) -> dict[str, str]:
    """Every record of every topic: key, value and headers."""
    names = [topic.name for topic in topics.all_topics()]
    consumer = AIOKafkaConsumer(*names, bootstrap_servers=servers, auto_offset_reset="earliest", enable_auto_commit=False)
    await consumer.start()
    found = dict.fromkeys(names, "")
    try:
        ends = await consumer.end_offsets(sorted(consumer.assignment()))
        for partition, end in ends.items():
            while await consumer.position(partition) < end:
                for batch in (await consumer.getmany(partition, timeout_ms=1000)).values():
                    for r in batch:
                        found[r.topic] += f"{r.key!r} {r.value.decode() if r.value else ''} {r.headers!r}\n"
    finally:
        await consumer.stop()
    return found


async def until(connection: asyncpg.Connection, log: Path, query: str, *values: Any) -> None:
    """Wait until a query says true."""
    deadline = time.monotonic() + 90
    while not await connection.fetchval(query, *values):
        assert time.monotonic() < deadline, f"{query} {values}\n{log.read_text()[-3000:]}"  # noqa: ASYNC240
        await asyncio.sleep(0.05)


ENDED = (
    "SELECT c.state = $3 FROM qbo_writer.commands c JOIN qbo_writer.documents d ON d.id = c.document_id "
    "WHERE d.source_key = $1 AND c.version = $2 AND d.kind = 'invoice'"
)
BILL_ENDED = "SELECT count(*) > 0 FROM qbo_writer.commands WHERE kind = 'bill' AND state NOT IN ('due', 'received')"
# Both: one at the conflict of its next version, the other by the change feed.
DIVERGED = "SELECT count(*) = 2 FROM qbo_writer.documents WHERE diverged"


def with_the_name_in_it(sandbox: QboSandbox, realm: str, policy: Path) -> str:
    """A company whose customer is called by a full name; the source's word for it has initials only."""
    made = sandbox.control("POST", "entities", {"realm": realm, "entities": {"Customer": [{"DisplayName": NAME}]}})
    policy.write_text(f'[customers]\n"P-1 A.B." = "{NAME}"\n')
    # Answers of several kinds that carry the name: in an error's detail, in every invoice's CustomerRef.
    sandbox.fault(
        fault="fault", code="6240", count=1, detail=f"The name supplied already exists. : {NAME}",
        match={"realm": realm, "entity": "Vendor", "operation": "create"},
    )  # fmt: skip
    sandbox.fault(
        fault="fault", code="6210", count=1, detail=f"The books are closed for {NAME}",
        match={"realm": realm, "entity": "Bill", "operation": "create"},
    )  # fmt: skip
    return str(made["created"]["Customer"][0])


async def test_no_name_and_no_secret_gets_into_logs_tables_topics_or_outputs(
    database_url: str, own_broker: EmbeddedBroker, sandbox: QboSandbox, tmp_path: Path
) -> None:
    await create_schema(database_url)
    servers = own_broker.bootstrap_servers
    create_topics(own_broker)
    company, policy = sandbox.company(), tmp_path / "policy.toml"
    realm = company["realm_id"]
    customer = with_the_name_in_it(sandbox, realm, policy)
    more = {"COMPANY_POLICY_FILE": str(policy), "LOG_LEVEL": "DEBUG", "FEED_SECONDS": "1", "SWEEP_SECONDS": "1"}
    env = environment(database_url, servers, sandbox, company, **more)
    connection = await asyncpg.connect(database_url)
    try:
        with writer_process(env) as (_, log):
            async with publisher(servers) as p:
                await p.publish(topics.COMMANDS, [invoice(realm, "Q-1"), invoice(realm, "Q-2"), bill(realm, "R-1")])
                for key in ("Q-1", "Q-2"):
                    await until(connection, log, ENDED, key, 1, "posted")
                await until(connection, log, BILL_ENDED)
                ours = [b for b in sandbox.books(realm, "Invoice") if "bookrelay:" in b.get("PrivateNote", "")]
                assert {b["CustomerRef"]["value"] for b in ours} == {customer}
                for one in ours:  # a person writes the name into texts that we own
                    lines = [{**line, "Description": f"for {NAME}"} for line in one["Line"] if line.get("Id")]
                    note = f"{one['PrivateNote']}\nspoke with {NAME}"
                    sandbox.person(realm, "edit", "Invoice", one["Id"], PrivateNote=note, Line=lines)
                await p.publish(topics.COMMANDS, [invoice(realm, "Q-1", 2, amount="140.00")])
                await until(connection, log, ENDED, "Q-1", 2, "held")
                await until(connection, log, DIVERGED)
                await events(servers, {"Q-1", "Q-2", "R-1"})
            outputs = "".join([(await command(env, *words))[1] for words in (["status"], ["held", "list"], ["auth", "status"])])
            text = log.read_text()
        found: dict[str, str] = {"log": text, "outputs": outputs}
        found |= {f"table {name}": rows for name, rows in (await tables(connection)).items()}
        found |= {f"topic {name}": rows for name, rows in (await records(servers)).items()}
        secrets = await secrets_of(connection, company, env)
    finally:
        await connection.close()
    names = {where for where, rows in found.items() if "zzcanary" in rows.lower() or "wilhelmina" in rows.lower()}
    assert names == {f"table {name}" for name in BELONGS}  # there it is found: the search is no blind one
    assert {where: what for where, rows in found.items() for what, secret in secrets.items() if secret in rows} == {}
    for where in ("table attempt_log", "table outbox", "topic billing.events.v1", "table token_history", "log"):
        assert found[where] or where == "table token_history", where
    assert "(different text)" in found["topic billing.events.v1"]


async def secrets_of(connection: asyncpg.Connection, company: dict[str, Any], env: dict[str, str]) -> dict[str, str]:
    row = await connection.fetchrow("SELECT access_token, refresh_token FROM qbo_writer.tokens")
    opened = {name: Fernet(KEY).decrypt(row[name].encode()).decode() for name in ("access_token", "refresh_token")}
    assert opened["access_token"]
    return {
        **opened, "first access token": company["access_token"], "first refresh token": company["refresh_token"],
        "client secret": env["QBO_CLIENT_SECRET"], "encryption key": KEY,
    }  # fmt: skip
