"""What a managed Kafka or Postgres has and ours on this machine have not: an authority, certificates, users, a token endpoint."""

import base64
import ipaddress
import json
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from sandbox.stack.apache_kafka import Secured

USER, PASSWORD = "relay", "right-horse-7"
CLIENT, CLIENT_SECRET, AUDIENCE, ISSUER = "relay-client", "client-secret-7", "kafka-test", "https://issuer.test"
KEY_PASSWORD = "key-pass-7"


class Authority:
    """A certificate authority that keeps what it signs as PEM files in `directory`."""

    def __init__(self, directory: Path, name: str) -> None:
        self.directory = directory
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        certificate = self._signed(self._name, self._key.public_key(), None)
        self.file = directory / f"{name}-ca.pem"
        self.file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def _signed(self, subject: x509.Name, key: Any, address: str | None) -> x509.Certificate:
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject).issuer_name(self._name).public_key(key).serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1)).not_valid_after(now + timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=address is None, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )  # fmt: skip
        if address is not None:
            names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))])
            uses = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
            builder = builder.add_extension(names, critical=False).add_extension(uses, critical=False)
        return builder.sign(self._key, hashes.SHA256())

    def issue(self, name: str, address: str = "127.0.0.1", password: str = "") -> tuple[Path, Path]:
        """Return the files of a certificate and its key; they stand together in <name>.both.pem, too."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._signed(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]), key.public_key(), address)
        locked = serialization.BestAvailableEncryption(password.encode()) if password else serialization.NoEncryption()
        key_pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, locked)
        pem = certificate.public_bytes(serialization.Encoding.PEM)
        files = self.directory / f"{name}.pem", self.directory / f"{name}.key"
        files[0].write_bytes(pem)
        files[1].write_bytes(key_pem)
        (self.directory / f"{name}.both.pem").write_bytes(key_pem + pem)
        return files


class TokenEndpoint:
    """Hands out signed tokens for client credentials, and shows its key to the broker. `life` is a token's, in seconds."""

    def __init__(self) -> None:
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.life, self.asked, self.broken = 300, 0, False
        self.audience = AUDIENCE
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                key = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(outer._key.public_key())) | {"kid": "1", "use": "sig"}
                self._answer(200, {"keys": [key | {"alg": "RS256"}]})

            def do_POST(self) -> None:
                outer.asked += 1
                form = parse_qs(self.rfile.read(int(self.headers["content-length"])).decode())
                right = base64.b64encode(f"{CLIENT}:{CLIENT_SECRET}".encode()).decode()
                if outer.broken:
                    self._answer(503, {})
                elif self.headers["authorization"] != f"Basic {right}" or form["grant_type"] != ["client_credentials"]:
                    self._answer(401, {"error": "invalid_client", "error_description": "Client authentication failed"})
                else:
                    self._answer(200, {"access_token": outer.token(), "token_type": "Bearer", "expires_in": outer.life})

            def _answer(self, status: int, body: Mapping[str, Any]) -> None:
                content = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/token"
        self.keys_url = f"http://127.0.0.1:{self._server.server_port}/keys"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def token(self) -> str:
        now = int(time.time())
        claims = {"sub": CLIENT, "aud": self.audience, "iss": ISSUER, "iat": now, "exp": now + self.life, "scope": "kafka"}
        return jwt.encode(claims, self._key, algorithm="RS256", headers={"kid": "1"})

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@dataclass
class Managed:
    """The parts of a managed service: what a client needs, and what the server is told."""

    authority: Authority
    tokens: TokenEndpoint

    def kafka(self) -> Secured:
        """Listeners: SASL (TLS, every mechanism), MUTUAL (TLS, client certificates), INSIDE (SASL without TLS, SCRAM only)."""
        self.authority.issue("server")
        store = {"type": "PEM", "location": self.authority.directory / "server.both.pem"}
        trust = {"type": "PEM", "location": self.authority.file}
        tls = {f"ssl.keystore.{k}": v for k, v in store.items()} | {f"ssl.truststore.{k}": v for k, v in trust.items()}
        bearer = "org.apache.kafka.common.security.oauthbearer"
        scram = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
        plain = f'org.apache.kafka.common.security.plain.PlainLoginModule required user_{USER}="{PASSWORD}";'
        sasl = "listener.name.sasl."
        properties: dict[str, object] = {
            **tls,
            f"{sasl}sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER",
            f"{sasl}plain.sasl.jaas.config": plain,
            f"{sasl}scram-sha-256.sasl.jaas.config": scram,
            f"{sasl}scram-sha-512.sasl.jaas.config": scram,
            f"{sasl}oauthbearer.sasl.jaas.config": f"{bearer}.OAuthBearerLoginModule required;",
            f"{sasl}oauthbearer.sasl.server.callback.handler.class": f"{bearer}.OAuthBearerValidatorCallbackHandler",
            f"{sasl}oauthbearer.connections.max.reauth.ms": 3_600_000,  # a connection ends with its token, at the latest then
            "sasl.oauthbearer.jwks.endpoint.url": self.tokens.keys_url,
            "sasl.oauthbearer.expected.audience": AUDIENCE,
            "sasl.oauthbearer.expected.issuer": ISSUER,
            "listener.name.mutual.ssl.client.auth": "required",
            "listener.name.inside.sasl.enabled.mechanisms": "SCRAM-SHA-512",
            "listener.name.inside.scram-sha-512.sasl.jaas.config": scram,
        }
        users = [f"SCRAM-SHA-{bits}=[name={USER},password={PASSWORD}]" for bits in (256, 512)]
        listeners = {"SASL": "SASL_SSL", "MUTUAL": "SSL", "INSIDE": "SASL_PLAINTEXT"}
        java = [f"-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls={self.tokens.keys_url}"]
        return Secured(listeners, properties, users, java)

    def environment(self, mechanism: str) -> dict[str, str]:
        """The settings of a client: a mechanism over SASL_SSL, or "mutual"."""
        given = {"KAFKA_SSL_CA_FILE": str(self.authority.file)}
        if mechanism == "mutual":
            certificate, key = self.authority.issue("client", password=KEY_PASSWORD)
            return given | {
                "KAFKA_SECURITY_PROTOCOL": "SSL", "KAFKA_SSL_CERTIFICATE_FILE": str(certificate), "KAFKA_SSL_KEY_FILE": str(key),
                "KAFKA_SSL_KEY_PASSWORD": KEY_PASSWORD,
            }  # fmt: skip
        given |= {"KAFKA_SECURITY_PROTOCOL": "SASL_SSL", "KAFKA_SASL_MECHANISM": mechanism}
        if mechanism == "OAUTHBEARER":
            return given | {
                "KAFKA_SASL_OAUTH_TOKEN_URL": self.tokens.url, "KAFKA_SASL_OAUTH_CLIENT_ID": CLIENT,
                "KAFKA_SASL_OAUTH_CLIENT_SECRET": CLIENT_SECRET,
            }  # fmt: skip
        return given | {"KAFKA_SASL_USERNAME": USER, "KAFKA_SASL_PASSWORD": PASSWORD}


def managed(directory: Path) -> Managed:
    """Make an authority and a token endpoint; close `tokens` at the end."""
    directory.mkdir(parents=True, exist_ok=True)
    return Managed(Authority(directory, "known"), TokenEndpoint())
