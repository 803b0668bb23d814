"""How every client of ours reaches Postgres: the address, its password, TLS. One address carries all of it to each client."""

import ssl
from typing import Literal
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

from pydantic import Field, PostgresDsn, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings

from bookrelay import tls
from bookrelay.errors import Code, SettingsError

PLACES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem")  # Debian, Fedora, others
SYSTEM = "system"  # libpq's word for the machine's own authorities
_CHECKED = ("verify-ca", "verify-full")
_FILES = ("database_ssl_ca_file", "database_ssl_certificate_file", "database_ssl_key_file")


class PostgresSettings(BaseSettings):
    """Where Postgres is, and how we show who we are."""

    database_url: SecretStr = Field(description="Postgres, e.g. postgresql://user:password@host:5432/bookrelay.")
    database_password: SecretStr = Field(
        default=SecretStr(""), description="Its password, where it does not stand in DATABASE_URL."
    )
    database_pool_size: int = Field(default=5, ge=1, le=100, description="Connections that this process may hold to Postgres.")
    database_prepared_statements: bool = Field(default=True, description="Set to false behind PgBouncer in transaction mode.")
    database_ssl_mode: Literal["", "disable", "prefer", "require", "verify-ca", "verify-full"] = Field(
        default="",
        description="TLS: disable, prefer, require (any certificate), verify-ca, verify-full (signed, and for this host); "
        "empty: as DATABASE_URL says (?sslmode=), else prefer.",
    )
    database_ssl_ca_file: str = Field(
        default="", description="With verify-*: authorities (PEM) that may have signed its certificate, or system: the machine's."
    )
    database_ssl_certificate_file: str = Field(default="", description="Client certificate (PEM), where Postgres wants one.")
    database_ssl_key_file: str = Field(default="", description="Its key (PEM); empty: it stands in the certificate's file.")
    database_ssl_key_password: SecretStr = Field(default=SecretStr(""), description="Password of that key, where it has one.")

    @model_validator(mode="after")
    def _postgres_agrees(self) -> "PostgresSettings":
        mode, wrong = self.database_ssl_mode, []
        url = urlsplit(self.database_url.get_secret_value())
        given = [name for name in _FILES if getattr(self, name)]
        if self.database_password.get_secret_value() and ":" in url.netloc.rpartition("@")[0]:
            wrong.append("DATABASE_URL has a password, and DATABASE_PASSWORD is set: keep one of them")
        in_url = sorted(name for name, _ in parse_qsl(url.query) if name.startswith("ssl"))
        if in_url and (mode or given):
            wrong.append(f"DATABASE_URL has {', '.join(in_url)}, and DATABASE_SSL_... is set: keep one of them")
        if given and mode in ("", "disable"):
            named = " and ".join(name.upper() for name in given)
            wrong.append(f"{named} {'has' if len(given) == 1 else 'have'} no effect without DATABASE_SSL_MODE; write verify-full")
        elif self.database_ssl_ca_file and mode not in _CHECKED:
            wrong.append(f"DATABASE_SSL_CA_FILE has no effect with DATABASE_SSL_MODE={mode}; write verify-full or verify-ca")
        if mode in _CHECKED and not self.database_ssl_ca_file:
            wrong.append(f"DATABASE_SSL_CA_FILE is missing: {mode} needs it; write system for the machine's own authorities")
        if not self.database_ssl_certificate_file and (
            self.database_ssl_key_file or self.database_ssl_key_password.get_secret_value()
        ):
            wrong.append(
                "DATABASE_SSL_KEY_FILE and DATABASE_SSL_KEY_PASSWORD have no effect without DATABASE_SSL_CERTIFICATE_FILE"
            )
        for name in _FILES:
            path = getattr(self, name)
            if path and path != SYSTEM and (why := tls.cannot_read(path)):
                wrong.append(f"{name.upper()}: {path} cannot be used: {why}")
        if wrong:
            raise ValueError("; ".join(wrong))
        return self

    def postgres_dsn(self) -> str:
        """Return the database's address, checked, with password and TLS, in the form that asyncpg takes. Never log it."""
        raw = self.database_url.get_secret_value()
        try:
            PostgresDsn(raw)
        except ValidationError:
            raise SettingsError(
                "DATABASE_URL is not a Postgres address.", "Write postgresql://user:password@host:5432/name."
            ) from None
        url = urlsplit(raw.replace("postgresql+asyncpg://", "postgresql://", 1))
        who, at, place = url.netloc.rpartition("@")
        if password := self.database_password.get_secret_value():
            who, at = f"{who}:{quote(password, safe='')}", "@"
        query = "&".join(part for part in (url.query, urlencode(self._ssl_options())) if part)
        return urlunsplit((url.scheme, f"{who}{at}{place}", url.path, query, url.fragment))

    def _ssl_options(self) -> dict[str, str]:
        """Return libpq's names for what our settings say; checks the files first, for a sentence that names the setting."""
        if not self.database_ssl_mode:
            return {}
        options: dict[str, str] = {"sslmode": self.database_ssl_mode}
        ca_file = self.database_ssl_ca_file
        context = tls.trusting("" if ca_file == SYSTEM else ca_file, "DATABASE_SSL_CA_FILE")
        if ca_file:
            options["sslrootcert"] = _authorities() if ca_file == SYSTEM else ca_file
        if certificate := self.database_ssl_certificate_file:
            key, password = self.database_ssl_key_file, self.database_ssl_key_password.get_secret_value()
            tls.identify(context, certificate, key, password, "DATABASE_SSL")
            options |= {"sslcert": certificate, "sslkey": key or certificate} | ({"sslpassword": password} if password else {})
        return options


def _authorities() -> str:
    """The machine's own authorities as one file, which is what Postgres' clients take."""
    found = ssl.get_default_verify_paths().cafile or next((place for place in PLACES if not tls.cannot_read(place)), None)
    if not found:
        why = "DATABASE_SSL_CA_FILE=system: this machine has no file of authorities."
        raise SettingsError(why, "Install ca-certificates, or name a file.", Code.VALIDATION)
    return found
