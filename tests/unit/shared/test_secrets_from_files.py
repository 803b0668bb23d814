"""A secret may be in a file: NAME_FILE instead of NAME."""

from pathlib import Path

import pytest
from bookrelay.errors import SettingsError
from bookrelay.settings import ServiceSettings

URL = "postgresql://u:hidden-word@h:5432/d"


@pytest.mark.parametrize("from_process", [True, False])
def test_a_secret_is_read_from_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, from_process: bool) -> None:
    file = tmp_path / "url"
    file.write_text(URL + "\n")
    monkeypatch.delenv("DATABASE_URL", raising=False)
    monkeypatch.setenv("DATABASE_URL_FILE", str(file))
    settings = ServiceSettings.load(None if from_process else {"DATABASE_URL_FILE": str(file)})
    assert settings.database_url.get_secret_value() == URL
    assert "hidden-word" not in str(settings.summary())


def test_both_and_an_unreadable_file_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "url"
    with pytest.raises(SettingsError, match="cannot be read"):
        ServiceSettings.load({"DATABASE_URL_FILE": str(file)})
    file.write_text(URL)
    with pytest.raises(SettingsError, match="both set"):
        ServiceSettings.load({"DATABASE_URL_FILE": str(file), "DATABASE_URL": URL})
