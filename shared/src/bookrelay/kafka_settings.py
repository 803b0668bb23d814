"""How all our clients connect to Kafka: addresses, TLS, SASL. Contradicting settings are reported at start."""

from typing import Any, Literal

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings

from bookrelay import tls
from bookrelay.oauth_tokens import ClientCredentials, Tokens

PASSWORD_MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
_WITH_PASSWORD = {"kafka_sasl_username": "", "kafka_sasl_password": SecretStr("")}
_WITH_TOKEN = {
    "kafka_sasl_oauth_token_url": "", "kafka_sasl_oauth_client_id": "", "kafka_sasl_oauth_client_secret": SecretStr(""),
    "kafka_sasl_oauth_scope": "", "kafka_sasl_oauth_extensions": "",
}  # fmt: skip
_WITH_TLS = {
    "kafka_ssl_ca_file": "", "kafka_ssl_certificate_file": "", "kafka_ssl_key_file": "", "kafka_ssl_key_password": SecretStr(""),
    "kafka_ssl_check_hostname": True,
}  # fmt: skip


class KafkaSettings(BaseSettings):
    """Where Kafka is, and how we authenticate."""

    kafka_bootstrap_servers: str = Field(
        default="127.0.0.1:9092", min_length=3, description="Kafka brokers, host:port, comma separated."
    )
    kafka_security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        default="PLAINTEXT",
        description="PLAINTEXT, SSL (TLS), SASL_SSL (TLS with a user or token), SASL_PLAINTEXT (no TLS: trusted networks only).",
    )
    kafka_sasl_mechanism: Literal["", "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"] = Field(
        default="", description="With SASL: PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER."
    )
    kafka_sasl_username: str = Field(default="", description="User (or API key) for PLAIN and SCRAM.")
    kafka_sasl_password: SecretStr = Field(default=SecretStr(""), description="Its password (or API secret).")
    kafka_sasl_oauth_token_url: str = Field(
        default="", pattern=r"^(https?://.+)?$", description="Token endpoint for OAUTHBEARER (client credentials grant)."
    )
    kafka_sasl_oauth_client_id: str = Field(default="", description="Client id for the token endpoint.")
    kafka_sasl_oauth_client_secret: SecretStr = Field(default=SecretStr(""), description="Client secret for the token endpoint.")
    kafka_sasl_oauth_scope: str = Field(default="", description="Scope to request, if the endpoint requires one.")
    kafka_sasl_oauth_extensions: str = Field(
        default="", description="SASL extensions sent with the token, like logicalCluster=lkc-1,identityPoolId=pool-1."
    )
    kafka_ssl_ca_file: str = Field(
        default="", description="With TLS: trusted certificate authorities (PEM) for the brokers; empty: the system's."
    )
    kafka_ssl_certificate_file: str = Field(default="", description="Client certificate (PEM), if the broker requires one.")
    kafka_ssl_key_file: str = Field(default="", description="Its private key (PEM); empty: it is in the certificate's file.")
    kafka_ssl_key_password: SecretStr = Field(default=SecretStr(""), description="Password of that key, if it is encrypted.")
    kafka_ssl_check_hostname: bool = Field(
        default=True, description="Whether the broker's certificate must be for the host name that we connect to."
    )

    @field_validator("kafka_bootstrap_servers")
    @classmethod
    def _addresses(cls, value: str) -> str:
        for address in value.split(","):
            host, _, port = address.strip().rpartition(":")
            if not host or not port.isdigit() or not 0 < int(port) < 65536:
                raise ValueError("write host:port, separated by commas, like kafka1:9092,kafka2:9092")
        return value

    @field_validator("kafka_security_protocol", "kafka_sasl_mechanism", mode="before")
    @classmethod
    def _capitals(cls, value: object) -> object:
        return value.strip().upper() if isinstance(value, str) else value

    @field_validator("kafka_sasl_oauth_extensions")
    @classmethod
    def _pairs(cls, value: str) -> str:
        if any(not all(part.strip() for part in pair.partition("=")) for pair in value.split(",") if value):
            raise ValueError("write name=value, separated by commas, like logicalCluster=lkc-1")
        return value

    @model_validator(mode="after")
    def _kafka_agrees(self) -> "KafkaSettings":
        wrong = [
            *self._missing_or_idle(),
            *_unreadable(self, "kafka_ssl_ca_file", "kafka_ssl_certificate_file", "kafka_ssl_key_file"),
        ]
        if wrong:
            raise ValueError("; ".join(wrong))
        return self

    def _missing_or_idle(self) -> list[str]:
        """Return which settings of the connection are missing, and which have no effect given the others."""
        protocol, mechanism, wrong = self.kafka_security_protocol, self.kafka_sasl_mechanism, []
        if "SSL" not in protocol.split("_"):
            wrong += self._idle(_WITH_TLS, f"KAFKA_SECURITY_PROTOCOL={protocol}, which has no TLS")
        elif not self.kafka_ssl_certificate_file:
            idle = {name: _WITH_TLS[name] for name in ("kafka_ssl_key_file", "kafka_ssl_key_password")}
            wrong += self._idle(idle, "no KAFKA_SSL_CERTIFICATE_FILE")
        if not protocol.startswith("SASL_"):
            idle = {"kafka_sasl_mechanism": "", **_WITH_PASSWORD, **_WITH_TOKEN}
            return wrong + self._idle(idle, f"KAFKA_SECURITY_PROTOCOL={protocol}; write SASL_SSL, or remove it")
        if not mechanism:
            return [
                *wrong,
                f"KAFKA_SASL_MECHANISM is missing: {protocol} needs PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER",
            ]
        by_password = mechanism in PASSWORD_MECHANISMS
        needed = list(_WITH_PASSWORD) if by_password else list(_WITH_TOKEN)[:3]
        wrong += [f"{name.upper()} is missing: {mechanism} needs it" for name in needed if not _plain(getattr(self, name))]
        return wrong + self._idle(_WITH_TOKEN if by_password else _WITH_PASSWORD, f"KAFKA_SASL_MECHANISM={mechanism}")

    def _idle(self, defaults: dict[str, Any], with_what: str) -> list[str]:
        names = [name.upper() for name, default in defaults.items() if getattr(self, name) != default]
        return [f"{' and '.join(names)} {'has' if len(names) == 1 else 'have'} no effect with {with_what}"] if names else []

    def kafka_security(self) -> dict[str, Any]:
        """Return the security arguments of an aiokafka client; raise SettingsError for an unusable file.

        Call it once in a process: with OAUTHBEARER its clients then share one token.
        """
        options: dict[str, Any] = {"security_protocol": self.kafka_security_protocol}
        if "SSL" in self.kafka_security_protocol.split("_"):
            context = tls.trusting(self.kafka_ssl_ca_file, "KAFKA_SSL_CA_FILE")
            context.check_hostname = self.kafka_ssl_check_hostname
            if certificate := self.kafka_ssl_certificate_file:
                password = self.kafka_ssl_key_password.get_secret_value()
                tls.identify(context, certificate, self.kafka_ssl_key_file, password, "KAFKA_SSL")
            options["ssl_context"] = context
        if not self.kafka_sasl_mechanism:
            return options
        options["sasl_mechanism"] = self.kafka_sasl_mechanism
        if self.kafka_sasl_mechanism in PASSWORD_MECHANISMS:
            password = self.kafka_sasl_password.get_secret_value()
            return options | {"sasl_plain_username": self.kafka_sasl_username, "sasl_plain_password": password}
        pairs = [pair.partition("=") for pair in self.kafka_sasl_oauth_extensions.split(",") if pair]
        credentials = ClientCredentials(
            self.kafka_sasl_oauth_token_url,
            self.kafka_sasl_oauth_client_id,
            self.kafka_sasl_oauth_client_secret.get_secret_value(),
            self.kafka_sasl_oauth_scope,
            {name.strip(): value.strip() for name, _, value in pairs},
        )
        return options | {"sasl_oauth_token_provider": Tokens(credentials)}


def _plain(value: str | SecretStr) -> str:
    return value.get_secret_value() if isinstance(value, SecretStr) else value


def _unreadable(settings: BaseSettings, *names: str) -> list[str]:
    return [
        f"{name.upper()}: {path} cannot be used: {why}"
        for name in names
        if (path := getattr(settings, name)) and (why := tls.cannot_read(path))
    ]
