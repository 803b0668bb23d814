"""Dead letters on a broker: what the writer cannot read is listed, sent back, and not for ever."""

import asyncio
import json
import sys
import time
from typing import Any

import pytest
from bookrelay import topics
from sandbox.stack.embedded_broker import EmbeddedBroker
from test_service import create_topics, environment, publisher, writer_process
from writer_support import QboSandbox, create_schema

pytestmark = [pytest.mark.postgres, pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(420)]  # many processes
POISON = {topics.COMMANDS: b'{"not": "a command"}', topics.WEBHOOKS: b"\xffnot even text"}


async def cli(env: dict[str, str], *arguments: str) -> tuple[int, str]:
    """Run `qbo-writer dead-letters ...`."""
    command = [sys.executable, "-m", "qbo_writer.main", "dead-letters", *arguments]
    process = await asyncio.create_subprocess_exec(*command, env=env, stdout=-1, stderr=-1)
    out, err = await asyncio.wait_for(process.communicate(), 120)
    assert err in (b"", b"qbo-writer: there are no dead letters.\n"), err.decode()
    assert process.returncode in (0, 1)
    return process.returncode, out.decode()


async def listed(env: dict[str, str], attempts: str) -> list[dict[str, Any]]:
    """The list, as soon as every poisonous record stands in it with so many attempts."""
    deadline = time.monotonic() + 120
    while True:
        _, out = await cli(env, "list")
        letters = [json.loads(line) for line in out.splitlines()]
        if [letter["attempts"] for letter in letters] == [attempts] * len(POISON):
            return letters
        assert time.monotonic() < deadline, letters


async def test_dead_letters_of_both_groups_are_sent_back_until_the_limit(
    database_url: str, own_broker: EmbeddedBroker, sandbox: QboSandbox
) -> None:
    await create_schema(database_url)
    servers = own_broker.bootstrap_servers
    create_topics(own_broker)
    env = environment(database_url, servers, sandbox, sandbox.company())
    with writer_process(env) as (_, log):
        async with publisher(servers) as p:
            for topic, value in POISON.items():
                await p.publish_encoded(topic.name, [(b"key", value, {"traceparent": "00-" + "a" * 32 + "-" + "b" * 16 + "-01"})])
        letters = await listed(env, "1")
        assert {letter["topic"] for letter in letters} == {topic.name for topic in POISON}, log.read_text()
        _, shown = await cli(env, "show", letters[0]["id"])
        assert json.loads(shown)[0]["key"] == "key"
        for attempts in ("2", "3", "4"):
            assert await cli(env, "redrive", "all") == (0, "sent back: 2 records, 0 commands\n")
            await listed(env, attempts)
        status, out = await cli(env, "redrive", "all")
        assert (status, out.splitlines()[0]) == (1, "sent back: 0 records, 0 commands")
        assert out.count("not sent back: ") == 2
        (one, _) = await listed(env, "4")
        assert (await cli(env, "redrive", "--over-limit", one["id"]))[0] == 0
