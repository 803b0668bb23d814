"""Settings from environment variables: built once in `main`, passed down, logged at start, never read at import.

A missing or invalid setting ends the service with one line: the variable, what is wrong and what to do.
"""

import os
import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

from pydantic import AfterValidator, BaseModel, Field, ValidationError
from pydantic_settings import NoDecode, SettingsConfigDict

from bookrelay.errors import Code, SettingsError
from bookrelay.kafka_settings import KafkaSettings
from bookrelay.postgres_settings import PostgresSettings

CommaSeparated = Annotated[tuple[str, ...], NoDecode]
"""A tuple written as `a,b,c` in the environment; the field needs a `split_commas` validator."""


def split_commas(value: object) -> object:
    """Return "a, b" as ("a", "b"), and a value that is not text unchanged."""
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


def _realm(value: str) -> str:
    if not re.fullmatch(r"[0-9]{1,32}", value):
        raise ValueError(
            "a company's (realm) id consists of digits, like 9341450000000001; Intuit returns it as realmId after a login"
        )
    return value


RealmId = Annotated[str, AfterValidator(_realm)]
"""A QuickBooks company's id."""

_MISSPELT = 0.88  # similarity: QB_SYNC_MOD and QB_SYNC_MODE have 0.96, WEBHOOK_PORT (compose's) and WEBHOOK_PATH 0.83


class ServiceSettings(PostgresSettings, KafkaSettings):
    """The settings of every service. Each environment variable is the field's name in upper case."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", case_sensitive=False, env_ignore_empty=True)

    http_host: str = Field(
        default="127.0.0.1", description="Address to listen on, for health, metrics and the gateway's webhooks."
    )
    http_port: int = Field(default=0, ge=0, le=65535, description="Port to listen on; 0 picks a free port and logs it.")
    log_level: str = Field(default="INFO", pattern="^(DEBUG|INFO|WARNING|ERROR)$", description="Minimum level of log lines.")
    otel_exporter_otlp_endpoint: str | None = Field(
        default=None, pattern=r"^https?://", description="OTLP/HTTP endpoint for traces; without it no traces are exported."
    )
    shutdown_seconds: float = Field(default=20, gt=0, description="Time allowed for a graceful stop.")

    of_others: ClassVar[frozenset[str]] = frozenset()
    """Variables of other services that resemble ours: one .env may serve all services."""

    @classmethod
    def load(cls, environment: Mapping[str, str] | None = None) -> Self:
        """Build the settings from the environment; raise SettingsError with one line for everything missing or invalid."""
        source = cls._with_files(os.environ if environment is None else environment)
        cls._refuse_misspelt(source)
        given = {
            name: value for name in cls.model_fields if (value := source.get(name.upper(), source.get(name))) not in (None, "")
        }
        try:
            if environment is None:
                held: dict[str, Any] = {n.lower(): v for n, v in source.items() if os.environ.get(n) != v}  # by files
                return cls(**held)
            settings = cls.__new__(cls)
            BaseModel.__init__(settings, **given)  # not BaseSettings', which would also read the process's environment
            return settings
        except ValidationError as error:
            raise SettingsError(_explain(error), "See .env.example.", Code.VALIDATION) from None

    @classmethod
    def _with_files(cls, given: Mapping[str, str]) -> dict[str, str]:
        """Read secrets from files: NAME_FILE may be set instead of NAME for each secret."""
        values = dict(given)
        for field_name, field in cls.model_fields.items():
            name, file = field_name.upper(), f"{field_name.upper()}_FILE"
            if "SecretStr" not in str(field.annotation) or not (path := values.pop(file, "")):
                continue
            if values.get(name):
                raise SettingsError(f"{name} and {file} are both set.", "Keep one of them.", Code.VALIDATION)
            try:
                values[name] = Path(path).read_text().strip()
            except (OSError, UnicodeDecodeError) as error:
                why = error.strerror if isinstance(error, OSError) else "it is not text"
                raise SettingsError(f"{file}: {path} cannot be read: {why}.", "Use a readable file.", Code.VALIDATION) from None
        return values

    @classmethod
    def _refuse_misspelt(cls, given: Iterable[str]) -> None:
        """Raise SettingsError for a variable that resembles a setting: the default would otherwise be used unnoticed."""
        ours = {name.upper() for name in cls.model_fields}
        wrong = []
        for name in sorted({name.upper() for name in given} - ours - cls.of_others):
            prefix = name.partition("_")[0] + "_"
            if prefix == "OTEL_":  # the standard has more variables than we use
                continue
            if near := get_close_matches(name, [own for own in ours if own.startswith(prefix)], 1, _MISSPELT):
                wrong.append(f"{name} is not a setting; did you mean {near[0]}?")
        if wrong:
            raise SettingsError(" ".join(wrong), "Correct or remove it; see .env.example.", Code.VALIDATION)

    def summary(self) -> dict[str, Any]:
        """Return the values that may be logged; secrets appear only as `<name>_configured`."""
        shown: dict[str, Any] = {}
        for name, field in type(self).model_fields.items():
            value = getattr(self, name)
            if "SecretStr" in str(field.annotation):
                shown[f"{name}_configured"] = bool(value)
            else:
                shown[name] = value
        return shown


def _explain(error: ValidationError) -> str:
    parts = []
    for item in error.errors(include_input=False, include_url=False):
        what = "it is empty" if item["type"] == "too_short" else item["msg"].removeprefix("Value error, ")
        if not item["loc"]:  # several settings together
            parts.append(what)
            continue
        name = str(item["loc"][0]).upper()
        parts.append(f"{name} is missing" if item["type"] == "missing" else f"{name} is wrong: {what}")
    return "; ".join(parts) + "."
