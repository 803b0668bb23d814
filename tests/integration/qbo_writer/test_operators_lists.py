"""What a person can ask and decide: every document by its state, counts that agree with the lists, one or many released."""

import json
import shlex

import pytest
from bookrelay.errors import BookrelayError
from qbo_writer.ledger import audit, listing
from qbo_writer.operations import cli
from writer_support import Desk, QboSandbox, desk, invoice, running

pytestmark = pytest.mark.postgres

NAME = "Wanda Verhoeven"  # of a patient, as far as these tests go


async def say(d: Desk, line: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    """Run a command of the operators' in this process: exit status, what it printed, what it remarked."""
    capsys.readouterr()
    given = cli.parser().parse_args(shlex.split(line))
    status = await given.action(given, d.settings, d.pool)
    told = capsys.readouterr()
    return status, told.out, told.err


async def rejected(d: Desk, *keys: str) -> None:
    await d.tell(*(invoice(d.realm, key, customer="#N/A") for key in keys))
    states = await d.until_ended()
    assert {states[key, 1] for key in keys} == {"rejected"}


async def one_of_each(d: Desk) -> None:
    """Leave documents in every state that is not over."""
    await d.tell(invoice(d.realm, "Q-posted"), invoice(d.realm, "Q-held"))
    await d.until_ended()
    (there,) = [b for b in d.sandbox.books(d.realm, "Invoice") if b["DocNumber"] in await numbers(d, "Q-held")]
    d.sandbox.person(d.realm, "edit", "Invoice", there["Id"], TxnDate="2026-11-09")
    await d.tell(invoice(d.realm, "Q-held", 2, amount="140.00"))
    await rejected(d, "Q-rejected")
    d.sandbox.fault(fault="drop_before_commit", count=50, match={"realm": d.realm, "operation": "create"})
    await d.tell(invoice(d.realm, "Q-unknown"))

    async def unknown() -> bool:
        return bool(await d.pool.fetchval("SELECT EXISTS (SELECT 1 FROM qbo_writer.attempts WHERE state = 'unknown')"))

    await d.until(unknown)


async def numbers(d: Desk, key: str) -> set[str]:
    rows = await d.pool.fetch("SELECT doc_number FROM qbo_writer.documents WHERE source_key = $1", key)
    return {row["doc_number"] for row in rows}


async def test_counts_agree_with_the_lists(database_url: str, sandbox: QboSandbox, capsys: pytest.CaptureFixture[str]) -> None:
    async with desk(database_url, sandbox, run=False, protocol_transit_seconds=3600) as d:
        async with running(d.writer):
            await one_of_each(d)
        await d.tell(*(invoice(d.realm, f"Q-due-{i}") for i in range(3)), invoice(d.realm, "Q-waiting"))
        await d.tell(invoice(d.realm, "Q-rejected-2", customer="#N/A"))
        await d.pool.execute(
            "UPDATE qbo_writer.commands SET due_at = now() + interval '1 hour' WHERE document_id = "
            "(SELECT id FROM qbo_writer.documents WHERE source_key = 'Q-waiting')"
        )
        # An older version that was held does not count beside the newest one.
        await d.tell(invoice(d.realm, "Q-held", 3, amount="150.00"))
        _, out, _ = await say(d, "status", capsys)
        (counted,) = [r["documents"] for r in json.loads(out)["realms"] if r["realm"] == d.realm]
        assert counted == {"due": 5, "waiting": 1, "unknown": 1, "rejected": 1}
        for state in listing.OPEN:
            _, out, told = await say(d, f"commands list --state {state} --json", capsys)
            rows = [json.loads(line) for line in out.splitlines()]
            assert len(rows) == counted.get(state, 0), state
            assert {row["state"] for row in rows} <= {state}
            assert bool(rows) or "no document matches" in told
        _, out, _ = await say(d, "commands list --json", capsys)
        assert len(out.splitlines()) == sum(counted.values())
        _, out, told = await say(d, "commands list --state due --limit 2", capsys)
        assert len(out.splitlines()) == 1 + 2
        assert "only the first" in told
        _, out, _ = await say(d, "commands list --older 1h --json", capsys)
        assert not out
        await d.pool.execute("UPDATE qbo_writer.commands SET recorded_at = now() - interval '11 minutes' WHERE state = 'due'")
        _, out, _ = await say(d, "commands list --state due --state waiting --older 10m --json", capsys)
        assert len(out.splitlines()) == 6
        _, out, _ = await say(d, f"commands list --state posted --kind invoice --realm {d.realm}", capsys)
        assert [line.split()[5] for line in out.splitlines()[1:]] == ["Q-posted"]


async def test_everything_that_is_known_of_one(
    database_url: str, sandbox: QboSandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    async with desk(database_url, sandbox) as d:
        sandbox.fault(
            fault="fault", code="6000", detail="Pick a date that is open.", status=400, count=1,
            match={"realm": d.realm, "entity": "Invoice"},
        )  # fmt: skip
        await d.tell(invoice(d.realm, "Q-1", customer=NAME))
        await d.until_ended()
        await d.tell(invoice(d.realm, "Q-1", 2, customer=NAME))
        assert (await d.until_ended())["Q-1", 2] == "posted"
        row = await d.pool.fetchrow(
            "SELECT d.id, c.id AS command FROM qbo_writer.documents d JOIN qbo_writer.commands c ON c.document_id = d.id "
            "WHERE d.source_key = 'Q-1' AND c.version = 1"
        )
        _, out, _ = await say(d, f"commands show {row['command']} --json", capsys)
        known = json.loads(out)
        assert known["document"]["id"] == row["id"]
        assert known["document"]["state"] == "posted"
        assert [(v["version"], v["state"]) for v in known["versions"]] == [(1, "rejected"), (2, "posted")]
        assert "Pick a date that is open." in known["versions"][0]["reason"]
        first, second = known["attempts"]
        assert "Pick a date that is open." in first["answer"]
        assert [(s["answer"], s["http_status"], s["intuit_code"]) for s in first["sent"]] == [("error", 400, "6000")]
        assert first["sent"][0]["request"]["TxnDate"] == "2026-11-01"
        assert second["sent"][0]["response"]["Invoice"]["Id"]
        assert second["sent"][0]["intuit_tid"] == second["intuit_tid"]
        assert NAME not in out
        _, text, _ = await say(d, f"commands show {row['id']}", capsys)
        assert NAME not in text
        for part in ("posted since", "Pick a date that is open.", "error, 400, 6000", "success, 200", first["requestid"]):
            assert part in text
        for wrong in ("4711", "nonsense", str(d.realm) * 4):
            with pytest.raises(BookrelayError, match=wrong[:20]):
                await say(d, f"commands show {wrong}", capsys)


async def test_rejected_documents_are_released_many_at_once(
    database_url: str, sandbox: QboSandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    async with desk(database_url, sandbox, run=False) as d:
        async with running(d.writer):
            await rejected(d, "Q-1", "Q-2", "Q-3")
            await d.tell(invoice(d.realm, "Q-4"))
            await d.until_ended()
        _, out, _ = await say(d, "rejected list --source emr", capsys)
        assert [json.loads(line)["source_key"] for line in out.splitlines()] == ["Q-1", "Q-2", "Q-3"]

        async def due() -> int:
            return int(await d.pool.fetchval("SELECT count(*) FROM qbo_writer.commands WHERE state = 'due'"))

        bulk = "rejected release --code QB004 --reason 'not the NAME of a customer' --why 'names are mapped now' --by 'Ann Li'"
        status, out, told = await say(d, bulk, capsys)  # nobody is at the terminal
        assert (status, await due()) == (1, 0)
        assert out.split()[:5] == ["3", d.realm, "invoice", "emr", "QB004"]
        assert "nothing was changed" in told
        status, out, _ = await say(d, f"{bulk} --limit 2 --yes", capsys)
        assert (status, await due()) == (0, 2)
        assert "release: 2 of 2 rejected documents, the oldest of more" in out
        for words in ("rejected release --yes", "rejected release --kind invoice --yes", "rejected release --why because --yes"):
            with pytest.raises(BookrelayError):
                await say(d, words, capsys)
        assert await due() == 2
        status, out, told = await say(d, "rejected release --code QB006 --why because --yes", capsys)
        assert (status, out) == (0, "")
        (row,) = await listing.documents(d.pool, listing.Filter(("rejected",)))
        status, out, _ = await say(d, f"rejected drop {row['document']}", capsys)
        assert out == "drop: invoice emr:Q-3 version 1\n"
        _, out, _ = await say(d, f"audit decisions --realm {d.realm}", capsys)
        made = [json.loads(line) for line in out.splitlines()]
        assert [(m["decision"], m["by"], m["why"], m["state"], m["code"]) for m in made[:2]] == [
            ("release", "Ann Li", "names are mapped now", "rejected", "QB004")
        ] * 2
        assert made[2]["decision"] == "drop"
        assert made[2]["document"] == row["document"]
        assert all(m["at"] for m in made)


@pytest.mark.parametrize("threshold", [1000, 2], ids=["singles", "batches"])
async def test_what_is_released_after_a_rejection_is_posted(
    database_url: str, sandbox: QboSandbox, capsys: pytest.CaptureFixture[str], threshold: int
) -> None:
    """QuickBooks had refused it, and a person mended what it refused it for: it is really sent again, and once."""
    async with desk(database_url, sandbox, batch_threshold=threshold) as d:
        await d.tell(invoice(d.realm, "Q-0"))
        await d.until_ended()
        keys = ["Q-1", "Q-2", "Q-3"]
        d.sandbox.fault(
            fault="fault", code="6000", detail="You must set a transaction amount.", match={"realm": d.realm, "body": "TxnDate"}
        )
        await d.tell(*(invoice(d.realm, key) for key in keys))
        states = await d.until_ended()
        assert {states[key, 1] for key in keys} == {"rejected"}
        d.sandbox.control("DELETE", "faults")
        (first, *_) = await listing.documents(d.pool, listing.Filter(("rejected",)))
        status, _, _ = await say(d, f"rejected release {first['document']}", capsys)
        assert status == 0
        assert sorted((await d.until_ended()).values()) == ["posted", "posted", "rejected", "rejected"]
        await say(d, f"rejected release --realm {d.realm} --why 'mended' --yes", capsys)
        assert set((await d.until_ended()).values()) == {"posted"}
        there = [b["DocNumber"] for b in d.sandbox.books(d.realm, "Invoice") if "bookrelay:" in b.get("PrivateNote", "")]
        wanted = set().union(*[await numbers(d, key) for key in ("Q-0", *keys)])
        assert (len(there), set(there)) == (4, wanted)
        assert [(await d.event_types(key))[-1] for key in keys] == ["invoice.posted"] * 3


async def test_decisions_are_a_chain_that_shows_tampering(
    database_url: str, sandbox: QboSandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    async with desk(database_url, sandbox) as d:
        await rejected(d, "Q-1", "Q-2", "Q-3")
        await say(d, f"rejected release --realm {d.realm} --why 'once more' --yes", capsys)
        verified = await audit.verify(d.pool, d.realm, "decision_log")
        assert (verified.entries, verified.broken_at) == (3, None)
        await d.pool.execute('UPDATE qbo_writer.decision_log SET entry = entry || \'{"by": "nobody"}\' WHERE id = 2')
        status, out, _ = await say(d, "audit verify", capsys)
        assert status == 1
        assert json.loads(out.splitlines()[1])["broken_at"] == 2
