"""A managed Kafka that does not let us in: each cause is one plain sentence with the setting to correct, and no traceback."""

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from bookrelay.kafka_probe import kafka_server
from bookrelay.settings import ServiceSettings
from running import Running, eventually
from sandbox.stack.apache_kafka import ApacheKafka
from secured import AUDIENCE, CLIENT_SECRET, PASSWORD, Authority, Managed

pytestmark = [pytest.mark.kafka, pytest.mark.skipif(os.environ.get("BROKER") != "kafka", reason="a real Kafka: BROKER=kafka")]
Given = Callable[[Managed], Mapping[str, str]]


def over(mechanism: str, **more: str) -> Given:
    return lambda managed: {**managed.environment(mechanism), **more}


def stranger(managed: Managed) -> dict[str, str]:
    return {**managed.environment("PLAIN"), "KAFKA_SSL_CA_FILE": str(Authority(managed.authority.directory, "stranger").file)}


def stranger_s_certificate(managed: Managed) -> dict[str, str]:
    certificate, _ = Authority(managed.authority.directory, "other").issue("unknown-client")
    both = str(certificate.with_suffix(".both.pem"))
    trusted = {"KAFKA_SECURITY_PROTOCOL": "SSL", "KAFKA_SSL_CA_FILE": str(managed.authority.file)}
    return trusted | {"KAFKA_SSL_CERTIFICATE_FILE": both}


def without_certificate(managed: Managed) -> dict[str, str]:
    return {"KAFKA_SECURITY_PROTOCOL": "SSL", "KAFKA_SSL_CA_FILE": str(managed.authority.file)}


INSIDE = {"KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT", "KAFKA_SASL_USERNAME": "relay", "KAFKA_SASL_PASSWORD": PASSWORD}
USER = "it refuses the user or the password (SASL). Correct KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD."
CASES: dict[str, tuple[str, Given, str]] = {
    "wrong password, PLAIN": ("SASL", over("PLAIN", KAFKA_SASL_PASSWORD="wrong"), USER),
    "wrong password, SCRAM-SHA-256": ("SASL", over("SCRAM-SHA-256", KAFKA_SASL_PASSWORD="wrong"), USER),
    "wrong password, SCRAM-SHA-512": ("SASL", over("SCRAM-SHA-512", KAFKA_SASL_PASSWORD="wrong"), USER),
    "unknown user, SCRAM-SHA-512": ("SASL", over("SCRAM-SHA-512", KAFKA_SASL_USERNAME="nobody"), USER),
    "unknown authority": (
        "SASL", stranger,
        "its TLS certificate is not trusted: unable to get local issuer certificate. Set KAFKA_SSL_CA_FILE to ",
    ),
    "wrong host name": (
        "SASL at localhost", over("PLAIN"),
        "its TLS certificate is for a different host name. Use the host name in the certificate in KAFKA_BOOTSTRAP",
    ),
    "plaintext against a TLS port": (
        "SASL", lambda _: {},
        "this port uses SASL_SSL, but KAFKA_SECURITY_PROTOCOL is PLAINTEXT. Correct KAFKA_SECURITY_PROTOCOL, or",
    ),
    "TLS against a plaintext port": (
        "PLAINTEXT", over("PLAIN"), "this port uses PLAINTEXT, but KAFKA_SECURITY_PROTOCOL is SASL_SSL. Correct KAFKA_SECURITY",
    ),
    "TLS without SASL": (
        "SASL", without_certificate, "this port uses SASL_SSL, but KAFKA_SECURITY_PROTOCOL is SSL. Correct KAFKA_SECURITY",
    ),
    "no SASL against a port with SASL": (
        "INSIDE", lambda _: {}, "this port uses SASL_PLAINTEXT, but KAFKA_SECURITY_PROTOCOL is PLAINTEXT. Correct KAFKA_SECUR",
    ),
    "SASL against a port without": (
        "PLAINTEXT", lambda _: INSIDE | {"KAFKA_SASL_MECHANISM": "PLAIN"},
        "it does not accept SASL on this port. Correct KAFKA_SECURITY_PROTOCOL",
    ),
    "mechanism not enabled": (
        "INSIDE", lambda _: INSIDE | {"KAFKA_SASL_MECHANISM": "PLAIN"},
        "it does not offer PLAIN, only SCRAM-SHA-512. Correct KAFKA_SASL_MECHANISM, or enable it on the broker.",
    ),
    "no client certificate": (
        "MUTUAL", without_certificate, "it requires a client certificate. Set KAFKA_SSL_CERTIFICATE_FILE and KAFKA_SSL_KEY_FILE",
    ),
    "a stranger's client certificate": (
        "MUTUAL", stranger_s_certificate, "it does not accept our client certificate. Set KAFKA_SSL_CERTIFICATE_FILE",
    ),
    "wrong client secret": (
        "SASL", over("OAUTHBEARER", KAFKA_SASL_OAUTH_CLIENT_SECRET="wrong"),
        "answers 401 invalid_client: Client authentication failed. Check KAFKA_SASL_OAUTH_TOKEN_URL, _CLIENT_ID, _CLIENT_SECRET",
    ),
    "token endpoint away": (
        "SASL", over("OAUTHBEARER", KAFKA_SASL_OAUTH_TOKEN_URL="http://127.0.0.1:1/token"),
        "the token endpoint http://127.0.0.1:1/token does not answer (All connection attempts failed). Check",
    ),
}  # fmt: skip


def address_of(kafka: ApacheKafka, listener: str) -> str:
    name, _, host = listener.partition(" at ")
    return f"{host or '127.0.0.1'}:{kafka.port if name == 'PLAINTEXT' else kafka.port_of(name)}"


def settings_for(kafka: ApacheKafka, listener: str, given: Mapping[str, str]) -> dict[str, str]:
    unused = "postgresql://u:p@127.0.0.1:1/unused"
    return {"DATABASE_URL": unused, "KAFKA_BOOTSTRAP_SERVERS": address_of(kafka, listener), **given}


@pytest.fixture
def managed(managed_parts: Managed) -> Iterator[Managed]:
    yield managed_parts
    managed_parts.tokens.audience, managed_parts.tokens.life = AUDIENCE, 300


async def why_not(environment: dict[str, str]) -> str | None:
    settings = ServiceSettings.load(environment)
    server, probe = kafka_server(settings, "test", settings.kafka_security())
    try:
        why = await server.why_not()
        return why.sentence() if why else None
    finally:
        probe.close()


@pytest.mark.parametrize("case", CASES)
async def test_each_cause_is_one_sentence_with_the_setting(apache_kafka: ApacheKafka, managed: Managed, case: str) -> None:
    listener, given, said = CASES[case]
    sentence = await why_not(settings_for(apache_kafka, listener, given(managed)))
    assert sentence is not None
    assert sentence.startswith(f"QB008: Kafka at {address_of(apache_kafka, listener)} cannot be used: ")
    assert said in sentence
    assert "Error" not in sentence
    assert PASSWORD not in sentence
    assert CLIENT_SECRET not in sentence


async def test_a_token_that_the_broker_does_not_accept_is_named(apache_kafka: ApacheKafka, managed: Managed) -> None:
    managed.tokens.audience = "another"
    sentence = await why_not(settings_for(apache_kafka, "SASL", managed.environment("OAUTHBEARER")))
    assert sentence is not None
    assert "it refuses the token (issuer, audience, signature or scope). Check KAFKA_SASL_OAUTH_TOKEN_URL" in sentence


async def test_without_the_check_of_the_host_name_it_lets_us_in(apache_kafka: ApacheKafka, managed: Managed) -> None:
    given = managed.environment("PLAIN") | {"KAFKA_SSL_CHECK_HOSTNAME": "false"}
    assert await why_not(settings_for(apache_kafka, "SASL at localhost", given)) is None


WEBHOOKS = {"QBO_WEBHOOK_VERIFIER_TOKENS": "verifier-1"}


@pytest.mark.parametrize("case", ["wrong password, SCRAM-SHA-512", "unknown authority", "plaintext against a TLS port"])
def test_a_service_says_it_in_readiness_and_in_one_line(apache_kafka: ApacheKafka, managed: Managed, case: str) -> None:
    listener, given, said = CASES[case]
    with Running("webhook_gateway.main", settings_for(apache_kafka, listener, {**given(managed), **WEBHOOKS})) as gateway:
        line = gateway.wait_until(lambda line: line["event"] == "service.waiting" and said.split(". ")[0] in line["reason"])
        assert line["level"] == "warning"
        assert said.split(". ")[1].rstrip(".") in line["reason"]
        eventually(lambda: said.split(". ")[0] in str(gateway.get("/health/ready").json()["reasons"]))
        assert gateway.get("/health/ready").status_code == 503
        assert gateway.terminate() == 0
        lines = [one for one in gateway.lines if one.get("level") in ("warning", "error", "critical")]
        assert {one["event"] for one in lines} == {"service.waiting"}, lines
        assert "Traceback" not in str(gateway.lines)


def test_a_refused_token_that_is_accepted_later_ends_the_wait(apache_kafka: ApacheKafka, managed: Managed) -> None:
    """aiokafka takes a refused token for an accepted one; its producer then hung for ever, also once tokens were accepted."""
    managed.tokens.audience, managed.tokens.life = "another", 3
    given = settings_for(apache_kafka, "SASL", {**managed.environment("OAUTHBEARER"), **WEBHOOKS})
    with Running("webhook_gateway.main", given) as gateway:
        gateway.wait_until(lambda line: "it refuses the token" in line.get("reason", ""))
        managed.tokens.audience = AUDIENCE
        gateway.wait_for("service.ready")
        eventually(lambda: gateway.get("/health/ready").status_code == 200)


def test_the_deployment_s_command_says_it_too(apache_kafka: ApacheKafka, managed: Managed, tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("wrong\n")
    given = settings_for(apache_kafka, "SASL", managed.environment("PLAIN"))
    del given["KAFKA_SASL_PASSWORD"]
    more = {"KAFKA_SASL_PASSWORD_FILE": str(file), "DEPLOY_WAIT_SECONDS": "0.3"}
    with Running("bookrelay_deploy.main", given | more, "topics") as command:
        status, stderr = command.ended()
    assert status == 1
    assert stderr.count("\n") == 1
    cause, fix = USER.split(". ")
    assert f"{cause}. Gave up after 0.3 s. {fix}" in stderr
