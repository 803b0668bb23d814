"""Settings: one line names every variable that is missing or wrong; secrets never show."""

import pytest
from bookrelay.errors import SettingsError
from bookrelay.settings import CommaSeparated, ServiceSettings, split_commas
from pydantic import Field, SecretStr, field_validator

URL = "postgresql://someone:hidden-password@127.0.0.1:5432/books"


class Example(ServiceSettings):
    names: CommaSeparated = Field(default=(), description="Names.")
    ratio: int = Field(ge=1, le=10, description="A number.")
    key: SecretStr | None = Field(default=None, description="A key.")

    _split = field_validator("names", mode="before")(split_commas)


def load(**environment: str) -> Example:
    return Example.load({"DATABASE_URL": URL, "RATIO": "2", **environment})


def test_values_are_read_from_their_names_in_capitals() -> None:
    settings = load(NAMES=" a, b ,,c", HTTP_PORT="8080")
    assert (settings.names, settings.ratio, settings.http_port) == (("a", "b", "c"), 2, 8080)


def test_everything_that_is_missing_or_wrong_stands_in_one_line() -> None:
    with pytest.raises(SettingsError) as caught:
        Example.load({"RATIO": "12", "HTTP_PORT": "x", "LOG_LEVEL": "LOUD"})
    sentence = caught.value.sentence()
    assert "\n" not in sentence
    for name in ("DATABASE_URL is missing", "RATIO is wrong", "HTTP_PORT is wrong", "LOG_LEVEL is wrong", ".env.example"):
        assert name in sentence


def test_a_wrong_value_is_not_repeated() -> None:
    with pytest.raises(SettingsError) as caught:
        load(RATIO="hidden-value")
    assert "hidden-value" not in caught.value.sentence()


def test_an_empty_value_is_a_missing_one() -> None:
    with pytest.raises(SettingsError, match="RATIO is missing"):
        load(RATIO="")


def test_a_given_environment_is_the_only_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NAMES", "from,the,process")
    monkeypatch.setenv("RATIO", "7")
    assert load().names == ()
    assert load().ratio == 2


def test_without_one_the_process_s_environment_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", URL)
    monkeypatch.setenv("RATIO", "7")
    monkeypatch.setenv("HTTP_PORT", "")
    assert (Example.load().ratio, Example.load().http_port) == (7, 0)


def test_the_summary_shows_everything_but_secrets() -> None:
    summary = load(KEY="hidden-key").summary()
    assert summary["database_url_configured"] is True
    assert summary["key_configured"] is True
    assert summary["ratio"] == 2
    assert "hidden" not in repr(summary)
    assert load().summary()["key_configured"] is False


def test_settings_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load().ratio = 3  # type: ignore[misc]


@pytest.mark.parametrize("wrong", ["sqlite:///x", "nonsense", "http://x/y"])
def test_an_address_that_is_not_postgres_s_is_refused(wrong: str) -> None:
    with pytest.raises(SettingsError, match="DATABASE_URL is not a Postgres address") as caught:
        load(DATABASE_URL=wrong).postgres_dsn()
    assert wrong not in caught.value.sentence()


def test_sqlalchemy_s_form_of_an_address_is_taken() -> None:
    assert load(DATABASE_URL=URL.replace("postgresql://", "postgresql+asyncpg://")).postgres_dsn() == URL
