"""TLS and SASL for Kafka and Postgres: a contradiction is told at the start, with the setting's name; secrets are never shown."""

import ssl
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from bookrelay.errors import SettingsError
from bookrelay.oauth_tokens import Tokens
from bookrelay.settings import ServiceSettings
from secured import KEY_PASSWORD, Authority

URL = "postgresql://u@db.test:5432/b"
SASL = {"KAFKA_SECURITY_PROTOCOL": "SASL_SSL", "KAFKA_SASL_MECHANISM": "SCRAM-SHA-512"}
USER = {"KAFKA_SASL_USERNAME": "relay", "KAFKA_SASL_PASSWORD": "top-secret"}
TOKEN = {
    "KAFKA_SASL_OAUTH_TOKEN_URL": "https://issuer.test/token", "KAFKA_SASL_OAUTH_CLIENT_ID": "id",
    "KAFKA_SASL_OAUTH_CLIENT_SECRET": "top-secret",
}  # fmt: skip
BEARER = {"KAFKA_SECURITY_PROTOCOL": "SASL_SSL", "KAFKA_SASL_MECHANISM": "OAUTHBEARER"}


def load(**given: str) -> ServiceSettings:
    return ServiceSettings.load({"DATABASE_URL": URL, **given})


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"KAFKA_SECURITY_PROTOCOL": "TLS"}, "KAFKA_SECURITY_PROTOCOL is wrong: .*'SASL_SSL'"),
        ({"KAFKA_SASL_MECHANISM": "GSSAPI"}, "KAFKA_SASL_MECHANISM is wrong: .*'OAUTHBEARER'"),
        ({"KAFKA_SECURITY_PROTOCOL": "SASL_SSL"}, "KAFKA_SASL_MECHANISM is missing: SASL_SSL needs PLAIN, "),
        (SASL, "KAFKA_SASL_USERNAME is missing: SCRAM-SHA-512 needs it; KAFKA_SASL_PASSWORD is missing"),
        ({**SASL, "KAFKA_SASL_USERNAME": "relay"}, "KAFKA_SASL_PASSWORD is missing: SCRAM-SHA-512 needs it"),
        (BEARER, "KAFKA_SASL_OAUTH_TOKEN_URL is missing: .*_CLIENT_ID is missing: .*_CLIENT_SECRET is missing: OAUTHBEARER"),
        ({**SASL, **USER, **TOKEN}, "KAFKA_SASL_OAUTH_TOKEN_URL and .* have no effect with .*=SCRAM-SHA-512"),
        ({**BEARER, **TOKEN, **USER}, "KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD have no effect with .*=OAUTHBEARER"),
        (USER, "KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD have no effect with .*=PLAINTEXT; write SASL_SSL, or remove"),
        ({"KAFKA_SECURITY_PROTOCOL": "SSL", "KAFKA_SASL_MECHANISM": "PLAIN"}, "KAFKA_SASL_MECHANISM has no effect with .*=SSL"),
        ({"KAFKA_SSL_CA_FILE": __file__}, "KAFKA_SSL_CA_FILE has no effect with .*=PLAINTEXT, which has no TLS"),
        ({"KAFKA_SSL_CHECK_HOSTNAME": "false"}, "KAFKA_SSL_CHECK_HOSTNAME has no effect with .*=PLAINTEXT, which has no TLS"),
        (
            {"KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT", "KAFKA_SASL_MECHANISM": "PLAIN", **USER, "KAFKA_SSL_CA_FILE": __file__},
            "KAFKA_SSL_CA_FILE has no effect with KAFKA_SECURITY_PROTOCOL=SASL_PLAINTEXT",
        ),
        ({"KAFKA_SECURITY_PROTOCOL": "SSL", "KAFKA_SSL_KEY_FILE": __file__}, "KAFKA_SSL_KEY_FILE has no effect with no"),
        ({"KAFKA_SECURITY_PROTOCOL": "SSL", "KAFKA_SSL_CA_FILE": "/no/ca.pem"}, "KAFKA_SSL_CA_FILE: /no/ca.pem .*: it does not"),
        ({**BEARER, **TOKEN, "KAFKA_SASL_OAUTH_EXTENSIONS": "lkc-1"}, "KAFKA_SASL_OAUTH_EXTENSIONS is wrong: write name=value"),
        ({**BEARER, **TOKEN, "KAFKA_SASL_OAUTH_TOKEN_URL": "issuer"}, "KAFKA_SASL_OAUTH_TOKEN_URL is wrong"),
        ({"DATABASE_SSL_MODE": "verify"}, "DATABASE_SSL_MODE is wrong: .*'verify-full'"),
        ({"DATABASE_SSL_MODE": "verify-full"}, "DATABASE_SSL_CA_FILE is missing: verify-full needs it; write system"),
        ({"DATABASE_SSL_CA_FILE": __file__}, "DATABASE_SSL_CA_FILE has no effect without DATABASE_SSL_MODE; write verify-full"),
        ({"DATABASE_SSL_MODE": "disable", "DATABASE_SSL_CERTIFICATE_FILE": __file__}, "_CERTIFICATE_FILE has no effect"),
        ({"DATABASE_SSL_MODE": "require", "DATABASE_SSL_CA_FILE": __file__}, "_CA_FILE has no effect with .*=require"),
        ({"DATABASE_SSL_MODE": "require", "DATABASE_SSL_KEY_FILE": __file__}, "have no effect without DATABASE_SSL_CERT"),
        ({"DATABASE_SSL_MODE": "verify-ca", "DATABASE_SSL_CA_FILE": "/no/ca.pem"}, "_CA_FILE: /no/ca.pem cannot be used"),
        ({"DATABASE_URL": URL + "?sslmode=require", "DATABASE_SSL_MODE": "require"}, "DATABASE_URL has sslmode and .* keep one"),
        ({"DATABASE_URL": "postgresql://u:p@h/b", "DATABASE_PASSWORD": "x"}, "DATABASE_URL has a password and"),
    ],
)  # fmt: skip
def test_a_contradiction_is_told_with_the_setting(given: dict[str, str], told: str) -> None:
    with pytest.raises(SettingsError, match=told) as caught:
        load(**given)
    assert "top-secret" not in caught.value.sentence()
    assert "\n" not in caught.value.sentence()


def test_several_contradictions_are_one_line() -> None:
    with pytest.raises(SettingsError) as caught:
        load(**SASL, KAFKA_SSL_CA_FILE="/no/ca.pem", DATABASE_SSL_MODE="verify-ca")
    for name in ("KAFKA_SASL_USERNAME", "KAFKA_SASL_PASSWORD", "KAFKA_SSL_CA_FILE"):
        assert name in caught.value.sentence()


def test_a_file_that_holds_no_certificate_is_named(tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    file.write_text("nonsense")
    with pytest.raises(SettingsError, match=f"KAFKA_SSL_CA_FILE: {file} contains no certificate in PEM format"):
        load(KAFKA_SECURITY_PROTOCOL="SSL", KAFKA_SSL_CA_FILE=str(file)).kafka_security()
    with pytest.raises(SettingsError, match=f"DATABASE_SSL_CA_FILE: {file} contains no certificate in PEM format"):
        load(DATABASE_SSL_MODE="verify-full", DATABASE_SSL_CA_FILE=str(file)).postgres_dsn()


@pytest.mark.parametrize(
    ("password", "told"),
    [("", "KAFKA_SSL_KEY_PASSWORD is missing"), ("wrong", "KAFKA_SSL_KEY_PASSWORD is wrong"), (KEY_PASSWORD, "")],
)
def test_an_encrypted_key_wants_its_password(tmp_path: Path, password: str, told: str) -> None:
    certificate, key = Authority(tmp_path, "known").issue("client", password=KEY_PASSWORD)
    given = {"KAFKA_SSL_CERTIFICATE_FILE": str(certificate), "KAFKA_SSL_KEY_FILE": str(key), "KAFKA_SSL_KEY_PASSWORD": password}
    settings = load(KAFKA_SECURITY_PROTOCOL="SSL", **given)
    if told:
        with pytest.raises(SettingsError, match=told):
            settings.kafka_security()
    else:
        assert settings.kafka_security()["ssl_context"].check_hostname


def test_a_key_of_another_certificate_is_named(tmp_path: Path) -> None:
    authority = Authority(tmp_path, "known")
    (certificate, _), (_, key) = authority.issue("one"), authority.issue("two")
    settings = load(KAFKA_SECURITY_PROTOCOL="SSL", KAFKA_SSL_CERTIFICATE_FILE=str(certificate), KAFKA_SSL_KEY_FILE=str(key))
    with pytest.raises(SettingsError, match="KAFKA_SSL_KEY_FILE: the key does not match the certificate"):
        settings.kafka_security()


def test_what_a_client_gets() -> None:
    assert load().kafka_security() == {"security_protocol": "PLAINTEXT"}
    given = load(
        **(SASL | {"KAFKA_SECURITY_PROTOCOL": "sasl_ssl", "KAFKA_SASL_MECHANISM": "scram-sha-512"}), **USER
    ).kafka_security()
    context = given.pop("ssl_context")
    assert (context.check_hostname, context.verify_mode) == (True, ssl.CERT_REQUIRED)
    assert given == {
        "security_protocol": "SASL_SSL", "sasl_mechanism": "SCRAM-SHA-512", "sasl_plain_username": "relay",
        "sasl_plain_password": "top-secret",
    }  # fmt: skip
    unchecked = load(KAFKA_SECURITY_PROTOCOL="SSL", KAFKA_SSL_CHECK_HOSTNAME="false").kafka_security()["ssl_context"]
    assert (unchecked.check_hostname, unchecked.verify_mode) == (False, ssl.CERT_REQUIRED)
    extensions = "logicalCluster=lkc-1, identityPoolId=pool-1"
    tokens = load(**BEARER, **TOKEN, KAFKA_SASL_OAUTH_EXTENSIONS=extensions).kafka_security()["sasl_oauth_token_provider"]
    assert isinstance(tokens, Tokens)
    assert tokens.extensions() == {"logicalCluster": "lkc-1", "identityPoolId": "pool-1"}


def test_the_database_s_address_carries_password_and_tls(tmp_path: Path) -> None:
    authority = Authority(tmp_path, "known")
    certificate, key = authority.issue("client", password=KEY_PASSWORD)
    settings = load(
        DATABASE_PASSWORD="p@ss/word", DATABASE_SSL_MODE="verify-full", DATABASE_SSL_CA_FILE=str(authority.file),
        DATABASE_SSL_CERTIFICATE_FILE=str(certificate), DATABASE_SSL_KEY_FILE=str(key), DATABASE_SSL_KEY_PASSWORD=KEY_PASSWORD,
    )  # fmt: skip
    url = urlsplit(settings.postgres_dsn())
    assert url.netloc == "u:p%40ss%2Fword@db.test:5432"
    assert parse_qs(url.query) == {
        "sslmode": ["verify-full"], "sslrootcert": [str(authority.file)], "sslcert": [str(certificate)], "sslkey": [str(key)],
        "sslpassword": [KEY_PASSWORD],
    }  # fmt: skip
    assert "p@ss" not in str(settings.summary())
    assert KEY_PASSWORD not in str(settings.summary())
    assert load(DATABASE_URL=URL + "?sslmode=require").postgres_dsn() == URL + "?sslmode=require"
