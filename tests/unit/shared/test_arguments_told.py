"""A service takes no arguments: what was meant as an option must not start it as if nothing had been said."""

import pytest
from bookrelay import service


def test_an_argument_is_refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.argv", ["emr-poller", "--dry-run"])
    with pytest.raises(SystemExit) as ended:
        service.main("emr-poller", lambda: pytest.fail("it was started"))
    assert ended.value.code == 2
    assert "emr-poller takes no arguments ('--dry-run')" in capsys.readouterr().err
