"""The policy in force: what is wrong, gone or half written never takes the place of what was read before."""

from pathlib import Path

import pytest
from bookrelay.errors import SettingsError
from qbo_writer.policy import Policy
from qbo_writer.policy_watching import PolicyFile

BILLS, INVOICES = 'kinds = ["bill"]\n', 'kinds = ["invoice"]\n'


def watched(path: Path) -> tuple[PolicyFile, list[Policy]]:
    """A policy that is looked at, and what it gave to the writer."""
    file, taken = PolicyFile(path, ["1", "2"], 0.2), list[Policy]()
    file.on_change = taken.append
    return file, taken


async def look(file: PolicyFile, times: int = 2) -> None:
    """A change is taken at the second look that sees the same."""
    for _ in range(times):
        await file.step()


async def test_nothing_happens_while_nothing_changes(tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    path.write_text(BILLS)
    file, taken = watched(path)
    assert await file.step() == 0.2
    assert (taken, file.wrong) == ([], None)


async def test_a_file_that_is_being_written_is_left_alone(tmp_path: Path) -> None:
    """An editor empties a file before it fills it: an empty one would be the defaults."""
    path = tmp_path / "policy.toml"
    path.write_text(BILLS)
    file, taken = watched(path)
    path.write_text("")
    await look(file, 1)
    assert taken == []
    path.write_text(INVOICES)
    await look(file, 1)
    assert taken == []
    await look(file, 1)
    assert [policy.kinds for policy in taken] == [("invoice",)]
    assert file.current is taken[0]


async def test_one_wrong_company_keeps_the_old_policy_of_all(tmp_path: Path) -> None:
    (tmp_path / "1.toml").write_text(BILLS)
    (tmp_path / "default.toml").write_text(BILLS)
    file, taken = watched(tmp_path)
    (tmp_path / "1.toml").write_text(INVOICES)
    (tmp_path / "2.toml").write_text('retract = "burn"\n')
    await look(file)
    assert file.wrong
    assert "2.toml is invalid: retract" in file.wrong.reason
    assert file.current.for_realm("1").kinds == ("bill",)
    since = file.wrong_since
    (tmp_path / "2.toml").write_text('retract = "burnt"\n')
    await look(file)
    assert file.wrong_since == since  # it has been wrong all the time
    (tmp_path / "2.toml").write_text('retract = "delete"\n')
    await look(file)
    assert (file.wrong, file.wrong_since, len(taken)) == (None, None, 1)
    assert file.current.for_realm("1").kinds == ("invoice",)
    assert file.current.for_realm("2").retract == "delete"


@pytest.mark.parametrize("gone", ["1.toml", "default.toml"])
async def test_a_company_s_file_that_is_gone_leaves_nobody_to_other_decisions(tmp_path: Path, gone: str) -> None:
    for name in ("1.toml", "default.toml"):
        (tmp_path / name).write_text(BILLS)
    file, taken = watched(tmp_path)
    (tmp_path / gone).unlink()
    await look(file)
    assert file.wrong
    assert f"{gone} is gone" in file.wrong.reason
    assert (taken, file.current.for_realm("1").kinds, file.current.for_realm("2").kinds) == ([], ("bill",), ("bill",))
    (tmp_path / gone).write_text(INVOICES)
    await look(file)
    assert (file.wrong, len(taken)) == (None, 1)


async def test_a_directory_that_vanishes_and_comes_back(tmp_path: Path) -> None:
    folder = tmp_path / "policies"
    folder.mkdir()
    (folder / "1.toml").write_text(BILLS)
    file, taken = watched(folder)
    folder.rename(tmp_path / "elsewhere")
    await look(file)
    assert file.wrong
    assert "cannot be read" in file.wrong.reason
    (tmp_path / "elsewhere").rename(folder)
    await look(file)
    assert file.wrong is None
    assert file.current.for_realm("1").kinds == ("bill",)
    assert len(taken) == 1


async def test_what_cannot_be_read_at_all_is_wrong_and_no_crash(tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    path.write_text(BILLS)
    file, _ = watched(path)
    for content in (b"\xff\xfe\x00", b"a = " + b"[" * 20_000, b"kinds = 5\n"):
        path.write_bytes(content)
        await look(file)
        assert file.wrong, content[:10]
        assert file.current.kinds == ("bill",)


def test_a_wrong_policy_at_the_start_ends_the_start(tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    path.write_text("retrakt = 1\n")
    with pytest.raises(SettingsError, match="retrakt: unknown key"):
        watched(path)
