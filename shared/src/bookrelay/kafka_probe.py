"""Whether Kafka answers, and if not, why: checked on a separate connection, as an operator would check."""

import asyncio
import contextlib
import ssl
import time
from typing import Any

from aiokafka.conn import create_conn
from aiokafka.errors import KafkaConnectionError, KafkaError, UnsupportedSaslMechanismError, for_code
from aiokafka.protocol.admin import ApiVersionRequest, SaslHandShakeRequest

from bookrelay.causes import ClientCertificateError, MechanismError, WrongProtocolError
from bookrelay.oauth_tokens import TokenRefusedError
from bookrelay.servers import Server
from bookrelay.settings import ServiceSettings

STEP_SECONDS = 1.0  # for each step of the diagnosis; all of it ends within a server's ANSWER_SECONDS
FRESH_SECONDS = 60.0  # a diagnosis is reused for the same error
FIXES = {
    "address": "Start it, or correct KAFKA_BOOTSTRAP_SERVERS",
    "authority": "Set KAFKA_SSL_CA_FILE to the certificate (PEM) of the authority that signed it",
    "host name": "Use the host name in the certificate in KAFKA_BOOTSTRAP_SERVERS, or have a certificate issued for this name "
    "(KAFKA_SSL_CHECK_HOSTNAME=false disables the check)",
    "protocol": "Correct KAFKA_SECURITY_PROTOCOL, or the port in KAFKA_BOOTSTRAP_SERVERS",
    "tls": "Correct KAFKA_SECURITY_PROTOCOL, or the port in KAFKA_BOOTSTRAP_SERVERS",
    "user": "Correct KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD",
    "mechanism": "Correct KAFKA_SASL_MECHANISM, or enable it on the broker",
    "token": "Check KAFKA_SASL_OAUTH_TOKEN_URL, _CLIENT_ID, _CLIENT_SECRET and _SCOPE",
    "certificate": "Set KAFKA_SSL_CERTIFICATE_FILE and KAFKA_SSL_KEY_FILE to a certificate that it accepts",
}


def kafka_server(settings: ServiceSettings, client_id: str, security: dict[str, Any]) -> tuple[Server, "Probe"]:
    """Return Kafka as a server to watch, and its probe; close the probe at the end."""
    probe = Probe(settings.kafka_bootstrap_servers, client_id, security)
    return Server("Kafka", settings.kafka_bootstrap_servers, FIXES, probe), probe


class Probe:
    """Asks one of the brokers for its API versions, on a connection that is kept open; raises when none of them answers."""

    def __init__(self, bootstrap_servers: str, client_id: str, security: dict[str, Any] | None = None) -> None:
        self._addresses = [
            (host.strip("[]"), int(port)) for host, _, port in (a.strip().rpartition(":") for a in bootstrap_servers.split(","))
        ]
        self._options: dict[str, Any] = {"client_id": f"{client_id}-probe", "request_timeout_ms": 2_500}
        self._security = security or {"security_protocol": "PLAINTEXT"}
        self._connection: Any = None
        self._found: tuple[str, Exception, float] | None = None

    async def __call__(self) -> None:
        """Ask, on a new connection if the kept one is closed (brokers close it when its token expires or after idling)."""
        if self._connection is not None and self._connection.connected():
            try:
                await self._connection.send(ApiVersionRequest())
                return
            except KafkaError:
                self.close()
            except BaseException:
                self.close()
                raise
        failed: tuple[Exception, str, int] | None = None
        for host, port in self._addresses:
            try:
                self._connection = await self._connect(host, port)
                self._found = None
                return
            except Exception as error:
                failed = (error, host, port)
        raise await self._explained(*failed) if failed else KafkaError("no address")

    async def _connect(self, host: str, port: int) -> Any:
        connection = await create_conn(host, port, **self._options, **self._security)
        try:
            # Answered only after authentication: a SASL port answers ApiVersions to anybody, so a refused token shows only here.
            answer = await connection.send(ApiVersionRequest())
            if answer.error_code:
                raise KafkaConnectionError(for_code(answer.error_code).__name__)
        except BaseException as error:
            connection.close()
            if isinstance(error, KafkaConnectionError) and self._security.get("sasl_mechanism") == "OAUTHBEARER":
                raise TokenRefusedError("it refuses the token (issuer, audience, signature or scope)") from None
            raise
        return connection

    async def _explained(self, error: Exception, host: str, port: int) -> Exception:
        """Diagnose a vague error; returns the error itself if the diagnosis finds nothing."""
        vague = isinstance(error, (KafkaConnectionError, UnsupportedSaslMechanismError, ConnectionResetError, TimeoutError))
        vague = vague or (isinstance(error, ssl.SSLError) and not isinstance(error, ssl.SSLCertVerificationError))
        if not vague or isinstance(error, ConnectionRefusedError) or getattr(error, "errno", 0) == 111:
            return error
        now, known = time.monotonic(), repr(error)
        if self._found and self._found[0] == known and now - self._found[2] < FRESH_SECONDS:
            return self._found[1]
        try:
            found = await self._look_into(error, host, port) or error
        except Exception:  # the original error is the one to report
            found = error
        self._found = (known, found, now)
        return found

    async def _look_into(self, error: Exception, host: str, port: int) -> Exception | None:
        ours = self._security["security_protocol"]
        with_tls = "SSL" in ours.split("_")
        for tls in (not with_tls, with_tls):  # the opposite first: an answer there settles it
            spoken = await self._spoken(host, port, tls)
            if spoken is None:
                continue
            protocol, mechanisms = spoken
            if protocol != ours:
                return WrongProtocolError(f"this port uses {protocol}, but KAFKA_SECURITY_PROTOCOL is {ours}")
            if isinstance(error, UnsupportedSaslMechanismError):
                return MechanismError(f"it does not offer {self._security['sasl_mechanism']}, only {', '.join(mechanisms)}")
            return None
        return await self._refused_certificate(host, port) if with_tls else None

    async def _spoken(self, host: str, port: int, tls: bool) -> tuple[str, list[str]] | None:
        """Return a port's security protocol and SASL mechanisms, as seen with TLS or without; None if it does not answer."""
        context = None
        if tls:  # no secrets are sent on this connection, so the certificate is not verified
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        options = self._options | {"request_timeout_ms": int(STEP_SECONDS * 1000)}
        connection = None
        try:
            async with asyncio.timeout(STEP_SECONDS):
                connection = await create_conn(
                    host, port, **options, security_protocol="SSL" if tls else "PLAINTEXT", ssl_context=context
                )
                answer = await connection.send(SaslHandShakeRequest(self._security.get("sasl_mechanism", "PLAIN")))
        except (KafkaError, OSError, TimeoutError, ValueError):
            return None
        finally:
            if connection is not None:
                connection.close()
        mechanisms = [str(name) for name in answer.enabled_mechanisms]
        return ("SASL_" if mechanisms else "") + ("SSL" if tls else "PLAINTEXT"), mechanisms

    async def _refused_certificate(self, host: str, port: int) -> Exception | None:
        """Return an error if the broker does not accept our client certificate: TLS 1.3 reports that after the handshake."""
        writer = None
        try:
            async with asyncio.timeout(STEP_SECONDS):
                reader, writer = await asyncio.open_connection(host, port, ssl=self._security["ssl_context"])
                await reader.read(1)
        except ssl.SSLError as error:
            if "CERTIFICATE" in (error.reason or "") or "UNKNOWN_CA" in (error.reason or ""):
                shown = (
                    "does not accept our client certificate"
                    if "REQUIRED" not in (error.reason or "")
                    else "requires a client certificate"
                )
                return ClientCertificateError(f"it {shown}")
        except (OSError, TimeoutError):
            return None
        finally:
            if writer is not None:
                writer.close()
                with contextlib.suppress(Exception):
                    await writer.wait_closed()
        return None

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
