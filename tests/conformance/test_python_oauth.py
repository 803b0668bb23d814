"""intuit-oauth from PyPI, Intuit's own client: discovery, consent, exchange, refresh, rotation, revoke, user info."""

import pytest
from conformance_parts import REDIRECT, Qbo
from intuitlib.enums import Scopes
from intuitlib.exceptions import AuthClientError
from quickbooks import QuickBooks
from quickbooks.exceptions import AuthorizationException
from quickbooks.objects import CompanyInfo

EVERYTHING = [Scopes.ACCOUNTING, Scopes.OPENID, Scopes.PROFILE, Scopes.EMAIL, Scopes.PHONE, Scopes.ADDRESS]


def test_discovery_names_this_server_and_intuits_issuer(qbo: Qbo) -> None:
    client, base = qbo.auth(), qbo.facts["base_url"]
    assert client.auth_endpoint == f"{base}/connect/oauth2"
    assert client.token_endpoint == qbo.facts["token_url"] == f"{base}/oauth2/v1/tokens/bearer"
    assert client.revoke_endpoint == qbo.facts["revoke_url"]
    assert client.user_info_url.startswith(base)
    assert client.jwks_uri.startswith(base)
    assert client.issuer_uri == "https://oauth.platform.intuit.com/op/v1"


def test_consent_to_working_api_calls(qbo: Qbo, qb: QuickBooks) -> None:
    client = qbo.auth()
    back = qbo.consent(client.get_authorization_url([Scopes.ACCOUNTING], state_token="sesame/&=?"))
    assert back["state"] == client.state_token == "sesame/&=?"
    assert len(back["code"]) <= 512
    client.get_bearer_token(back["code"], realm_id=back["realmId"])
    assert (client.realm_id, client.expires_in, client.x_refresh_token_expires_in) == (qbo.realm, 3600, 8_640_000)
    assert client.id_token is None
    other = type(qb)(auth_client=client, company_id=client.realm_id, minorversion=75)
    assert other.session.access_token == client.access_token
    assert CompanyInfo.get(client.realm_id, qb=other).CompanyName


def test_denied_consent_comes_back_as_error_with_state(qbo: Qbo) -> None:
    client = qbo.auth()
    back = qbo.consent(client.get_authorization_url([Scopes.ACCOUNTING]), "deny")
    assert back == {"error": "access_denied", "state": client.state_token}


def test_id_token_passes_the_clients_own_check_and_user_info_answers(qbo: Qbo) -> None:
    client = qbo.auth()
    back = qbo.consent(client.get_authorization_url(EVERYTHING))
    client.get_bearer_token(back["code"], realm_id=back["realmId"])
    assert client.id_token, "intuit-oauth keeps an id token only when issuer, audience, expiry and signature hold"
    info = client.get_user_info().json()
    assert info["email"]
    assert info["emailVerified"] is True


def test_user_info_needs_the_openid_scope(qbo: Qbo) -> None:
    client = qbo.auth(access_token=qbo.facts["access_token"])
    with pytest.raises(AuthClientError) as refused:
        client.get_user_info()
    assert refused.value.status_code == 403


def test_code_works_once_and_its_second_use_ends_the_grant(qbo: Qbo) -> None:
    client = qbo.auth()
    code = qbo.consent(client.get_authorization_url([Scopes.ACCOUNTING]))["code"]
    client.get_bearer_token(code)
    with pytest.raises(AuthClientError) as refused:
        qbo.auth().get_bearer_token(code)
    assert refused.value.status_code == 400
    assert b"invalid_grant" in refused.value.content
    assert refused.value.intuit_tid
    with pytest.raises(AuthClientError):
        client.refresh()


@pytest.mark.parametrize("code", ["nonsense", ""])
def test_unknown_code_is_invalid_grant(qbo: Qbo, code: str) -> None:
    with pytest.raises(AuthClientError, match="400"):
        qbo.auth().get_bearer_token(code)


def test_code_is_bound_to_its_redirect(qbo: Qbo) -> None:
    client = qbo.auth()
    code = qbo.consent(client.get_authorization_url([Scopes.ACCOUNTING]))["code"]
    client.redirect_uri = REDIRECT + "/elsewhere"
    with pytest.raises(AuthClientError, match="400"):
        client.get_bearer_token(code)


def test_wrong_secret_is_invalid_client(qbo: Qbo) -> None:
    client = qbo.auth(refresh_token=qbo.facts["refresh_token"])
    client.client_secret = "wrong"
    with pytest.raises(AuthClientError) as refused:
        client.refresh()
    assert (refused.value.status_code, b"invalid_client" in refused.value.content) == (401, True)


def test_refresh_keeps_the_value_within_a_day_and_rotates_after_it(qbo: Qbo) -> None:
    first = qbo.facts["refresh_token"]
    client = qbo.auth(refresh_token=first)
    client.refresh()
    assert client.refresh_token == first
    access = client.access_token
    client.refresh()
    assert client.access_token != access
    qbo.control("POST", "/clock", {"advance": 86_400})
    client.refresh()
    assert client.refresh_token != first
    with pytest.raises(AuthClientError) as dead:
        client.refresh(refresh_token=first)
    assert dead.value.status_code == 400
    assert b'"error":"invalid_grant"' in dead.value.content
    client.refresh()  # by default the reuse of a dead value does not end the living one


def test_expired_access_token_is_401_and_a_refresh_heals_it(qbo: Qbo, qb: QuickBooks) -> None:
    CompanyInfo.get(qbo.realm, qb=qb)
    qbo.control("POST", "/clock", {"advance": 3600})
    with pytest.raises(AuthorizationException) as expired:
        CompanyInfo.get(qbo.realm, qb=qb)
    assert expired.value.error_code == 401
    assert '"code":"3200"' in expired.value.detail
    client = qbo.auth(refresh_token=qb.refresh_token)
    client.refresh()
    healed = type(qb)(auth_client=client, company_id=qbo.realm, minorversion=75)
    assert CompanyInfo.get(qbo.realm, qb=healed).Country == "US"


@pytest.mark.parametrize("which", ["refresh_token", "access_token"])
def test_revoking_either_token_ends_the_grant(qbo: Qbo, qb: QuickBooks, which: str) -> None:
    client = qbo.auth(**{name: qbo.facts[name] for name in ("access_token", "refresh_token")})
    assert client.revoke(token=qbo.facts[which]) is True
    with pytest.raises(AuthorizationException):
        CompanyInfo.get(qbo.realm, qb=qb)
    with pytest.raises(AuthClientError):
        client.refresh()
    with pytest.raises(AuthClientError) as twice:
        client.revoke()
    assert twice.value.status_code == 400


def test_refresh_token_dies_after_a_hundred_days_unused(qbo: Qbo) -> None:
    client = qbo.auth(refresh_token=qbo.facts["refresh_token"])
    qbo.control("POST", "/clock", {"advance": 8_640_000 + 1})
    with pytest.raises(AuthClientError, match="400"):
        client.refresh()


def test_client_starts_by_refreshing_when_it_has_no_access_token(qbo: Qbo, qb: QuickBooks) -> None:
    client = qbo.auth()
    other = type(qb)(auth_client=client, refresh_token=qbo.facts["refresh_token"], company_id=qbo.realm, minorversion=75)
    assert CompanyInfo.get(qbo.realm, qb=other).Id == "1"
    assert client.access_token != qbo.facts["access_token"]
