"""How all our clients connect to Postgres: address, password, TLS. The resulting DSN carries all of it."""

import ssl
from typing import Literal
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

from pydantic import Field, PostgresDsn, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings

from bookrelay import tls
from bookrelay.errors import Code, SettingsError

CA_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
)  # Debian, Fedora, others
SYSTEM = "system"  # libpq's keyword for the system's certificate authorities
_CHECKED = ("verify-ca", "verify-full")
_FILES = ("database_ssl_ca_file", "database_ssl_certificate_file", "database_ssl_key_file")


class PostgresSettings(BaseSettings):
    """Where Postgres is, and how we authenticate."""

    database_url: SecretStr = Field(description="Postgres, e.g. postgresql://user:password@host:5432/bookrelay.")
    database_password: SecretStr = Field(default=SecretStr(""), description="Postgres' password, if it is not in DATABASE_URL.")
    database_pool_size: int = Field(
        default=5, ge=1, le=100, description="Maximum number of connections of this process to Postgres."
    )
    database_prepared_statements: bool = Field(default=True, description="Set to false behind PgBouncer in transaction mode.")
    database_ssl_mode: Literal["", "disable", "prefer", "require", "verify-ca", "verify-full"] = Field(
        default="",
        description="TLS: disable, prefer, require (any certificate), verify-ca (trusted certificate), verify-full (and for "
        "this host); empty: ?sslmode= of DATABASE_URL, else prefer.",
    )
    database_ssl_ca_file: str = Field(
        default="", description="With verify-*: trusted certificate authorities (PEM), or `system` for the system's."
    )
    database_ssl_certificate_file: str = Field(default="", description="Client certificate (PEM), if Postgres requires one.")
    database_ssl_key_file: str = Field(default="", description="Its private key (PEM); empty: it is in the certificate's file.")
    database_ssl_key_password: SecretStr = Field(default=SecretStr(""), description="Password of that key, if it is encrypted.")

    @model_validator(mode="after")
    def _postgres_agrees(self) -> "PostgresSettings":
        mode, wrong = self.database_ssl_mode, []
        url = urlsplit(self.database_url.get_secret_value())
        given = [name for name in _FILES if getattr(self, name)]
        if self.database_password.get_secret_value() and ":" in url.netloc.rpartition("@")[0]:
            wrong.append("DATABASE_URL has a password and DATABASE_PASSWORD is set: keep one of them")
        in_url = sorted(name for name, _ in parse_qsl(url.query) if name.startswith("ssl"))
        if in_url and (mode or given):
            wrong.append(f"DATABASE_URL has {', '.join(in_url)} and DATABASE_SSL_... is set: keep one of them")
        if given and mode in ("", "disable"):
            named = " and ".join(name.upper() for name in given)
            wrong.append(f"{named} {'has' if len(given) == 1 else 'have'} no effect without DATABASE_SSL_MODE; write verify-full")
        elif self.database_ssl_ca_file and mode not in _CHECKED:
            wrong.append(f"DATABASE_SSL_CA_FILE has no effect with DATABASE_SSL_MODE={mode}; write verify-full or verify-ca")
        if mode in _CHECKED and not self.database_ssl_ca_file:
            wrong.append(
                f"DATABASE_SSL_CA_FILE is missing: {mode} needs it; write system for the system's certificate authorities"
            )
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
        """Return the validated database address, with password and TLS, as asyncpg expects it. Never log it."""
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
        """Return our settings as libpq options; checks the files first, so that an error names the setting."""
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
    """Return the system's certificate authorities as one file, as Postgres' clients require."""
    found = ssl.get_default_verify_paths().cafile or next((place for place in CA_BUNDLES if not tls.cannot_read(place)), None)
    if not found:
        why = "DATABASE_SSL_CA_FILE=system: no file of certificate authorities was found on this machine."
        raise SettingsError(why, "Install ca-certificates, or set the path of a file.", Code.VALIDATION)
    return found
