"""Why a server cannot be used: what is wrong, and which kind of problem it is, so that the setting to correct can be named."""

import errno
import socket
import ssl
from dataclasses import dataclass
from typing import Literal

from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    IllegalSaslStateError,
    KafkaConnectionError,
    KafkaError,
    KafkaTimeoutError,
    RequestTimedOutError,
    SaslAuthenticationFailed,
    TopicAuthorizationFailedError,
    UnsupportedSaslMechanismError,
)

from bookrelay.oauth_tokens import TokenError, TokenRefusedError

Kind = Literal["address", "authority", "host name", "protocol", "tls", "user", "mechanism", "token", "certificate", "entry"]
HOST_NAME = (62, 64)  # X509_V_ERR_HOSTNAME_MISMATCH, X509_V_ERR_IP_ADDRESS_MISMATCH
EXPIRED = (9, 10)  # X509_V_ERR_CERT_NOT_YET_VALID, X509_V_ERR_CERT_HAS_EXPIRED


class WrongProtocolError(KafkaError):  # type: ignore[misc]
    """The port uses a different security protocol from ours; the text says which."""


class MechanismError(KafkaError):  # type: ignore[misc]
    """The broker does not offer our SASL mechanism; the text says which ones it offers."""


class ClientCertificateError(KafkaError):  # type: ignore[misc]
    """The broker refuses our client certificate, or requires one."""


@dataclass(frozen=True)
class Cause:
    """What is wrong, without user names or passwords, and its kind."""

    text: str
    kind: Kind = "address"


_OURS: dict[type[BaseException], Kind] = {
    WrongProtocolError: "protocol", MechanismError: "mechanism", ClientCertificateError: "certificate",
    TokenError: "token", TokenRefusedError: "token",
}  # fmt: skip
_RIGHTS: dict[type[BaseException], str] = {
    TopicAuthorizationFailedError: "the topic", GroupAuthorizationFailedError: "the consumer group",
    ClusterAuthorizationFailedError: "the cluster",
}  # fmt: skip
# asyncpg is an extra that a service without tables does not install, so its errors are recognised by class name.
_POSTGRES: dict[str, Cause] = {
    "InvalidPasswordError": Cause("it refuses the user or the password", "user"),
    "CannotConnectNowError": Cause("it is starting or stopping"),
    "TooManyConnectionsError": Cause("all its connections are in use"),
    "ConnectionDoesNotExistError": Cause("it closes the connection"),
}


def cause_of(error: BaseException) -> Cause:
    """Return why a server cannot be used."""
    text = str(error)
    first = text.splitlines()[0][:300] if text else type(error).__name__
    if kind := _OURS.get(type(error)):
        return Cause(str(error.args[0])[:300], kind)  # a KafkaError's str() starts with its class name
    if known := _POSTGRES.get(type(error).__name__):
        return known
    if type(error).__name__ == "InvalidAuthorizationSpecificationError":
        return Cause(
            first, "entry"
        )  # Postgres' own text: pg_hba.conf has no entry for this host and user, with or without encryption
    if right := _RIGHTS.get(type(error)):
        return Cause(f"the user is not authorized for {right} (ACL): {error.args[0] if error.args else ''}".rstrip(": "), "entry")
    if isinstance(error, ssl.SSLError):
        return _of_tls(error)
    if isinstance(error, socket.gaierror):
        return Cause("its host name cannot be resolved")
    if isinstance(error, ConnectionRefusedError) or "[Errno 111]" in text or getattr(error, "errno", 0) == errno.ECONNREFUSED:
        return Cause("connection refused")
    if isinstance(error, SaslAuthenticationFailed):
        return Cause("it refuses the user or the password (SASL)", "user")
    if isinstance(error, UnsupportedSaslMechanismError):
        return Cause("it does not offer this SASL mechanism", "mechanism")
    if isinstance(error, IllegalSaslStateError):
        return Cause("it does not accept SASL on this port", "protocol")
    if isinstance(error, (TimeoutError, KafkaTimeoutError, RequestTimedOutError)):
        return Cause("no answer in time")
    if isinstance(error, KafkaConnectionError):
        return Cause("it closes the connection: it is stopping, or this port uses another protocol (TLS, SASL)")
    if isinstance(error, ConnectionError) and text.endswith("rejected SSL upgrade"):  # asyncpg has no class for it
        return Cause("it does not offer TLS", "tls")
    if isinstance(error, (ConnectionError, EOFError)):
        return Cause("it closes the connection")
    if isinstance(error, OSError):
        return Cause(error.strerror or "it cannot be reached")
    return Cause(first[:200])


def _of_tls(error: ssl.SSLError) -> Cause:
    if not isinstance(error, ssl.SSLCertVerificationError):
        if "ALERT" in (error.reason or ""):  # sent by the server, like TLSV13_ALERT_CERTIFICATE_REQUIRED
            return Cause("it refuses the TLS handshake: it requires a client certificate, or a different one", "certificate")
        return Cause("the TLS handshake failed: this port may not use TLS", "tls")
    if error.verify_code in HOST_NAME:
        return Cause("its TLS certificate is for a different host name", "host name")
    if error.verify_code in EXPIRED:
        return Cause(f"its TLS certificate is not valid: {error.verify_message}", "address")
    return Cause(f"its TLS certificate is not trusted: {error.verify_message}", "authority")
