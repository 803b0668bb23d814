"""What an operator mistypes is refused before anything is opened, and what is not connected says what to run."""

import asyncio
import threading

import pytest
from bookrelay.errors import BookrelayError
from qbo_writer.ledger.tokens import TokenStatus
from qbo_writer.operations import auth_cli, cli
from qbo_writer.settings import Settings

SETTINGS = {"DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none", "QBO_REALM_ID": "1"}


@pytest.mark.parametrize(
    "line",
    ["audit prune --days -5", "audit prune --days 0", "held drop x", f"held drop {2**63}", "held force 0", "run-once --limit -1"],
)
def test_a_number_that_cannot_be_meant_is_refused(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.run(line.split())
    assert ended.value.code == 2
    assert "is not a number from 1 to" in capsys.readouterr().err


@pytest.mark.parametrize("line", ["audit verify", "audit discrepancies", "audit prune", "held list", "bounds unreliable"])
async def test_a_company_that_is_not_served_is_not_said_to_be_well(line: str) -> None:
    company = ["77"] if line.startswith("bounds") else ["--realm", "77"]
    given = cli.parser().parse_args([*line.split(), *company])
    with pytest.raises(BookrelayError, match="does not serve company 77"):
        await given.action(given, Settings.load(SETTINGS), None)


def test_a_company_that_is_not_connected_is_told_what_to_run() -> None:
    nothing = {name: None for name in TokenStatus.__dataclass_fields__ if name not in ("state", "reason")}
    status = TokenStatus(**{**nothing, "state": "needs_reconnect", "reason": "revoked by an operator"})
    said = auth_cli.sentence("1", status, 14)
    assert said == "1: needs_reconnect (revoked by an operator). Run: qbo-writer auth login"


def test_nobody_waits_for_a_person_who_pastes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """asyncio.run waits for the threads of its executor: the command stayed until somebody pressed enter."""

    enough, waited_out = threading.Event(), list[bool]()

    class Silent:
        def readline(self) -> str:
            waited_out.append(not enough.wait(60))
            return ""

    async def login() -> None:
        async with asyncio.timeout(0.1):
            await auth_cli._pasted()

    monkeypatch.setattr("sys.stdin", Silent())
    with pytest.raises(TimeoutError):
        asyncio.run(login())
    assert waited_out == []  # the thread still reads, and nobody waited for it
    enough.set()
