"""Numbers, times and texts on the command line that fit no column ended with a traceback, or with NaN in what is to be JSON."""

import pytest
from bookrelay.errors import BookrelayError
from bookrelay.source.answers import retry_after
from qbo_writer.ledger.listing import number_of
from qbo_writer.operations import cli

LARGE = str(2**63 - 1)
LIMITED = ("commands list", "held list", "rejected list", "held release", "run-once", "preflight", "audit decisions")


def refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as ended:
        cli.run(words)
    assert ended.value.code == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert "error: " in said[-1], said
    return said[-1]


@pytest.mark.parametrize("command", LIMITED)
@pytest.mark.parametrize("limit", [LARGE, "1000001", "0", "-1", "1e3", "\u0663", "\u00b2", "9" * 5000])
def test_a_limit_that_no_list_has_is_refused(command: str, limit: str, capsys: pytest.CaptureFixture[str]) -> None:
    option = "--reads" if command == "preflight" else "--limit"
    said = refused([*command.split(), f"{option}={limit}"], capsys)
    assert "is not a number from 1 to 1000000" in said
    assert len(said) < 300


@pytest.mark.parametrize("command", ["run-once --seconds", "auth login --timeout", "auth --timeout",
                                     "recover --since 2026-01-01T00:00:00Z --margin"])  # fmt: skip
@pytest.mark.parametrize("seconds", ["nan", "inf", "-inf", "-1", "1e12", "soon", "\u00b2"])
def test_seconds_that_do_not_pass_are_refused(command: str, seconds: str, capsys: pytest.CaptureFixture[str]) -> None:
    *words, option = command.split()
    assert "is not a number of seconds" in refused([*words, f"{option}={seconds}"], capsys)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("audit prune --days 3000000000", "is not a number from 1 to 36500"),
        ("commands list --older 999999d", "is not a duration like"),
        ("commands list --older 999999999d", "is not a duration like"),
        ("held list --older \u00b2d", "is not a duration like"),
        ("recover --since 0001-01-01T00:00:00+14:00", "is before 2001"),
        ("recover --since 0001-01-01T00:00:00Z", "is before 2001"),
        ("recover --since 9999-12-31T23:59:59-14:00", "is in the future"),
        ("held show 9223372036854775808", "is not a number from 1 to"),
        ("commands list --source \udcff", "is not UTF-8"),
        ("commands show \udcff", "is not UTF-8"),
    ],
)
def test_what_fits_no_column_is_refused(line: str, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert words in refused(line.split(" "), capsys)


@pytest.mark.parametrize("id_", ["\u00b2", "\u0661", "9" * 5000, str(2**63), "1_0", ""])
async def test_a_sign_that_is_no_number_shows_no_document(id_: str) -> None:
    with pytest.raises(BookrelayError) as error:
        await number_of(None, id_)  # type: ignore[arg-type]
    assert "neither a document's number nor a command's id" in error.value.sentence()
    assert len(error.value.sentence()) < 200


def test_a_pause_that_is_no_number_is_short() -> None:
    assert (retry_after("nan"), retry_after("inf"), retry_after("-5")) == (1.0, 3600.0, 1.0)
