"""What needs a person, on a running writer: in `qbo-writer status` (and its exit status), /health/ready, events and metrics."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import asyncpg
import pytest
from bookrelay import topics
from bookrelay.kafka import Publisher
from bookrelay.messages import AnyMessage
from bookrelay.money import loads
from running import Running, eventually, read_topic, until
from sandbox.stack.embedded_broker import EmbeddedBroker
from test_service import create_topics, environment
from writer_support import QboSandbox, create_schema, invoice

pytestmark = [pytest.mark.postgres, pytest.mark.kafka]
SOON = {"REPORT_SECONDS": "0.3", "UNSERVED_SECONDS": "1", "FEED_SECONDS": "0.5"}


@dataclass
class Office:
    """A writer that runs, and what an operator asks it."""

    service: Running
    env: dict[str, str]

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run one of the writer's commands."""
        command = [sys.executable, "-m", "qbo_writer.main", *arguments]
        return subprocess.run(command, env=self.env, capture_output=True, text=True, timeout=120, check=False)

    def status(self) -> tuple[int, dict[str, Any], str]:
        """Run `qbo-writer status`; return exit status, what it printed, and what it said to the person."""
        done = self.run("status")
        assert done.stdout, done.stderr
        return done.returncode, loads(done.stdout), done.stderr

    def notes(self) -> list[str]:
        """What /health/ready notes; it is ready all the time."""
        answer = self.service.get("/health/ready")
        assert answer.status_code == 200, answer.text
        return list(answer.json().get("notes", []))

    def metric(self, start: str) -> str | None:
        """The first sample that begins so."""
        return next((line for line in self.service.get("/metrics").text.splitlines() if line.startswith(start)), None)

    def until_noted(self, *parts: str) -> str:
        """Wait for a note with all these parts, and no other."""
        eventually(lambda: len(self.notes()) == 1 and all(part in self.notes()[0] for part in parts), what=f"{parts} in a note")
        return self.notes()[0]

    def only_problem(self) -> dict[str, Any]:
        """Return the one problem that `status` shows; it exits with 1 and says the problem's sentence."""
        code, shown, said = self.status()
        (problem,) = shown["problems"]
        assert (code, shown["ok"]) == (1, False)
        assert problem["sentence"] in said
        return dict(problem)

    def well(self) -> None:
        """All is well."""
        eventually(lambda: self.notes() == [], what="no note")
        code, shown, said = self.status()
        assert (code, shown["ok"], shown["problems"], said) == (0, True, [], "")


@contextmanager
def office(
    database_url: str, broker: EmbeddedBroker, sandbox: QboSandbox, company: dict[str, Any], **more: str
) -> Iterator[Office]:
    env = environment(database_url, broker.bootstrap_servers, sandbox, company, **(SOON | more))
    with Running("qbo_writer.main", env) as service:
        service.wait_for("service.ready")
        yield Office(service, env)


async def publish(broker: EmbeddedBroker, *commands: AnyMessage) -> None:
    publisher = Publisher(broker.bootstrap_servers, "test")
    await publisher.start()
    await publisher.publish(topics.COMMANDS, commands)
    await publisher.stop()


async def ended(database_url: str, key: str) -> str:
    """Wait until the document's command has ended; return how."""
    connection = await asyncpg.connect(database_url)
    statement = (
        "SELECT c.state FROM qbo_writer.commands c JOIN qbo_writer.documents d ON d.id = c.document_id "
        "WHERE d.source_key = $1 AND c.state NOT IN ('due', 'received')"
    )
    try:
        return str(await until(lambda: connection.fetchval(statement, key)))
    finally:
        await connection.close()


async def posted(database_url: str, key: str) -> None:
    """Wait until the document is posted."""
    assert await ended(database_url, key) == "posted"


async def execute(database_url: str, *statements: str) -> None:
    connection = await asyncpg.connect(database_url)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


async def test_a_record_that_the_consumer_cannot_get_past(
    database_url: str, own_broker: EmbeddedBroker, sandbox: QboSandbox
) -> None:
    await create_schema(database_url)
    create_topics(own_broker)
    company = sandbox.company()
    realm = company["realm_id"]
    await execute(
        database_url,
        "CREATE FUNCTION qbo_writer.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF NEW.source_key = 'Q-3' THEN "
        "RAISE EXCEPTION 'locked by somebody' USING ERRCODE = '40001'; END IF; RETURN NEW; END $$",
        "CREATE TRIGGER refuse BEFORE INSERT ON qbo_writer.documents FOR EACH ROW EXECUTE FUNCTION qbo_writer.refuse()",
    )
    with office(database_url, own_broker, sandbox, company) as o:
        o.well()
        await publish(own_broker, *(invoice(realm, f"Q-{number}") for number in range(1, 6)))
        note = o.until_noted("offset", topics.COMMANDS.name, f"'{realm}:emr:Q-3'", "locked by somebody")
        eventually(lambda: o.status()[0] == 1)
        problem = o.only_problem()
        assert problem["what"] == "blocked_consumer"
        where = problem["details"]
        assert (where["topic"], where["group"], where["key"]) == (topics.COMMANDS.name, "qbo-writer", f"{realm}:emr:Q-3")
        assert f"offset {where['offset']} of {where['topic']}, partition {where['partition']}" in note
        assert problem["since"]
        assert "locked by somebody" in problem["reason"]
        assert o.metric(f'bookrelay_consumer_blocked_offset{{group="qbo-writer",partition="{where["partition"]}"')
        await execute(database_url, "DROP TRIGGER refuse ON qbo_writer.documents")
        await posted(database_url, "Q-3")
        o.well()


async def test_a_change_feed_that_fails(database_url: str, own_broker: EmbeddedBroker, sandbox: QboSandbox) -> None:
    await create_schema(database_url)
    create_topics(own_broker)
    company = sandbox.company()
    realm = company["realm_id"]
    with office(database_url, own_broker, sandbox, company) as o:
        await publish(own_broker, invoice(realm, "Q-1"))
        await posted(database_url, "Q-1")
        eventually(lambda: o.metric(f'qbo_feed_position_timestamp_seconds{{realm="{realm}"}}') is not None)  # it was read once
        sandbox.fault(fault="html", status=500, match={"realm": realm, "operation": "cdc"})
        o.until_noted(f"The change feed of company {realm}", "HTTP 500", "Posting continues")
        problem = o.only_problem()
        assert (problem["what"], problem["realm"]) == ("feed_stuck", realm)
        assert problem["details"]["failures"] >= 3
        assert problem["details"]["lag_seconds"] >= 0
        assert "HTTP 500" in problem["details"]["last_error"]
        await publish(own_broker, invoice(realm, "Q-2"))
        await posted(database_url, "Q-2")  # posting goes on
        sandbox.control("DELETE", "faults")
        o.well()


async def test_a_company_that_is_not_connected_and_one_that_is_halted(
    database_url: str, own_broker: EmbeddedBroker, sandbox: QboSandbox
) -> None:
    """Two companies: one was never connected; the other works, then QuickBooks cuts it off."""
    await create_schema(database_url)
    create_topics(own_broker)
    company, other = sandbox.company(), sandbox.company()
    realm, unconnected = company["realm_id"], other["realm_id"]
    with office(database_url, own_broker, sandbox, company):  # with one company in its settings it takes the first token
        await publish(own_broker, invoice(realm, "Q-1"))
        await posted(database_url, "Q-1")
    with office(
        database_url, own_broker, sandbox, company, QBO_REALM_IDS=f"{realm},{unconnected}", QBO_INITIAL_REFRESH_TOKEN=""
    ) as o:
        o.until_noted(f"Company {unconnected} was never connected", f"qbo-writer auth login --realm {unconnected}")
        problem = o.only_problem()
        assert (problem["what"], problem["realm"]) == ("disconnected", unconnected)
        await publish(own_broker, invoice(realm, "Q-2"))
        await posted(database_url, "Q-2")
        sandbox.fault(fault="fault", code="6190", status=400, match={"realm": realm})
        await publish(own_broker, invoice(realm, "Q-3"))
        eventually(lambda: len(o.notes()) == 2)
        code, shown, _ = o.status()
        assert code == 1
        assert {(p["what"], p["realm"]) for p in shown["problems"]} == {("disconnected", unconnected), ("halted", realm)}
        sandbox.control("DELETE", "faults")
        await posted(database_url, "Q-3")
        eventually(lambda: len(o.notes()) == 1)


async def test_a_company_that_nobody_serves_is_told_once_and_its_end_is_told(
    database_url: str, own_broker: EmbeddedBroker, second_broker: EmbeddedBroker, sandbox: QboSandbox
) -> None:
    await create_schema(database_url)
    brokers, company, other = (own_broker, second_broker), sandbox.company(), sandbox.company()
    realm, unserved = company["realm_id"], other["realm_id"]
    for each in brokers:
        create_topics(each)

    async def told(name: str) -> list[AnyMessage]:
        events = [e for each in brokers for e in await read_topic(each.bootstrap_servers, topics.EVENTS, unserved)]
        return [e for e in events if e.type == f"bookrelay.realm.{name}.v1"]

    with office(database_url, own_broker, sandbox, company) as o:
        await publish(own_broker, invoice(unserved, "Q-8"), invoice(unserved, "Q-9"), invoice(realm, "Q-1"))
        await posted(database_url, "Q-1")  # documents of other companies go on
        note = o.until_noted(f"No writer serves company {unserved}", "2 commands wait (from emr)")
        for part in ("QBO_REALM_IDS", f"qbo-writer auth login --realm {unserved}", "the settings of emr"):
            assert part in note
        problem = o.only_problem()
        assert (problem["what"], problem["realm"], problem["details"]["commands"]) == ("unserved", unserved, 2)
        eventually(lambda: o.metric(f'qbo_realm_unserved_commands{{realm="{unserved}"}} 2.0') is not None)
        assert o.metric('qbo_problems{what="unserved"} 1.0')
        o.service.wait_for("realm.unserved", realm=unserved)
        with office(database_url, second_broker, sandbox, company) as standby:  # a second one tells nothing again
            standby.until_noted(f"No writer serves company {unserved}")
        events = await until(lambda: told("unserved"))
        assert len(events) == 1
        assert "qbo-writer auth login" in events[0].data.reason
        with office(database_url, second_broker, sandbox, other):
            await posted(database_url, "Q-8")
            await posted(database_url, "Q-9")
            o.well()
            await until(lambda: told("served"))
        assert (len(await told("unserved")), len(await told("served"))) == (1, 1)
        assert o.metric("qbo_realm_unserved_commands{") is None
        text = "\n".join(str(line) for line in o.service.lines)
        assert text.count("'event': 'realm.unserved'") <= 1


@pytest.mark.parametrize("realm", ["another realm", "12345678901234567890123456789012345"])
async def test_what_is_no_company_id_is_told_so(
    database_url: str, own_broker: EmbeddedBroker, sandbox: QboSandbox, realm: str
) -> None:
    await create_schema(database_url)
    create_topics(own_broker)
    with office(database_url, own_broker, sandbox, sandbox.company()) as o:
        await publish(own_broker, invoice(realm, "Q-1"))
        o.until_noted(f"No writer serves company {realm}", "This is not a company id (digits only)", "the settings of emr")


def _swap(link: Any, target: Any) -> None:
    """As Kubernetes does with a ConfigMap: a new link is renamed over the old one."""
    fresh = link.with_name("..data_tmp")
    fresh.symlink_to(target)
    fresh.replace(link)


async def test_a_policy_is_taken_without_a_restart_and_a_wrong_one_is_not(
    database_url: str, own_broker: EmbeddedBroker, sandbox: QboSandbox, tmp_path: Any
) -> None:
    await create_schema(database_url)
    create_topics(own_broker)
    company = sandbox.company()
    realm = company["realm_id"]
    for number in (1, 2, 3):
        (tmp_path / f"..2026_{number}").mkdir()
    (tmp_path / "..data").symlink_to("..2026_1")
    policy = tmp_path / "policy.toml"
    policy.symlink_to("..data/policy.toml")
    (tmp_path / "..2026_1/policy.toml").write_text('kinds = ["bill"]\n')
    given = {"COMPANY_POLICY_FILE": str(policy), "POLICY_CHECK_SECONDS": "0.2"}

    async def end_of(key: str) -> str:
        await publish(own_broker, invoice(realm, key))
        return await ended(database_url, key)

    with office(database_url, own_broker, sandbox, company, **given) as o:
        assert await end_of("Q-1") == "skipped"
        # Swapped as Kubernetes does it: invoices are posted now.
        (tmp_path / "..2026_2/policy.toml").write_text('kinds = ["invoice", "bill"]\n')
        _swap(tmp_path / "..data", "..2026_2")
        assert o.service.wait_for("policy.reloaded")["changed"] == {realm: ["kinds"]}
        assert await end_of("Q-2") == "posted"
        # Wrong: the old one stays in force; the file, its key and what to do are told.
        (tmp_path / "..2026_3/policy.toml").write_text('kinds = []\nretrakt = "delete"\n')
        _swap(tmp_path / "..data", "..2026_3")
        note = o.until_noted(str(policy), "retrakt: unknown key", "docs/company-policy.md", "stays in force")
        assert o.only_problem()["what"] == "policy_wrong"
        assert o.only_problem()["sentence"] == note
        assert o.metric("qbo_policy_wrong 1.0")
        assert await end_of("Q-3") == "posted"
        # No TOML: the line is told. Replaced atomically, by renaming.
        fresh = tmp_path / "fresh.toml"
        fresh.write_text('kinds = ["bill"]\nitems = nothing\n')
        fresh.replace(policy)
        o.until_noted("is not TOML", "line 2")
        # Removed.
        policy.unlink()
        o.until_noted(str(policy), "cannot be read: No such file or directory")
        assert await end_of("Q-4") == "posted"
        # Right again, written in place.
        policy.write_text('kinds = ["bill"]\n')
        o.well()
        assert o.metric("qbo_policy_wrong 0.0")
        assert await end_of("Q-5") == "skipped"
        wrong = [line for line in o.service.lines if line["event"] == "policy.wrong"]
        assert len(wrong) <= 3, "one line for each wrong file"


async def test_what_a_wrong_company_left_waiting_can_be_ended(
    database_url: str, own_broker: EmbeddedBroker, sandbox: QboSandbox
) -> None:
    await create_schema(database_url)
    create_topics(own_broker)
    company = sandbox.company()
    with office(database_url, own_broker, sandbox, company) as o:
        await publish(
            own_broker, invoice("another realm", "Q-1"), invoice("another realm", "Q-1", 2), invoice("another realm", "Q-2")
        )
        o.until_noted("3 commands wait", "qbo-writer unserved drop 'another realm' --why TEXT")
        refused = o.run("unserved", "drop", company["realm_id"], "--why", "a slip")
        assert (refused.returncode, "No command is due" in refused.stderr) == (1, True)
        done = o.run("unserved", "drop", "another realm", "--why", "the poller had a wrong company")
        assert (done.returncode, loads(done.stdout)) == (0, {"realm": "another realm", "dropped": 2})
        assert await ended(database_url, "Q-2") == "skipped"
        o.well()

        async def told() -> set[str]:
            return {event.type for event in await read_topic(own_broker.bootstrap_servers, topics.EVENTS, "another realm")}

        wanted = {
            f"bookrelay.{name}.v1" for name in ("realm.unserved", "realm.served", "document.skipped", "document.superseded")
        }

        async def all_told() -> bool:
            return await told() >= wanted

        await until(all_told)


async def test_events_that_nobody_publishes_are_told(database_url: str, own_broker: EmbeddedBroker, sandbox: QboSandbox) -> None:
    """No writer runs: `status` needs none."""
    await create_schema(database_url)
    company = sandbox.company()
    env = environment(database_url, own_broker.bootstrap_servers, sandbox, company)
    asked = Office(Running("qbo_writer.main", env), env)
    assert asked.status()[0] == 0
    await execute(
        database_url,
        "INSERT INTO qbo_writer.outbox (topic, key, value, headers, created_at) "
        "VALUES ('t', 'k', '{}', '{}', now() - interval '1 hour')",
    )
    problem = asked.only_problem()
    assert (problem["what"], problem["details"]) == ("events_waiting", {"events": 1})
