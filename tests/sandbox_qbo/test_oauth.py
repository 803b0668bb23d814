"""OAuth: authorize, token, rotation, reuse, expiry, revoke, discovery; the gates of the API."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from intuitlib.client import AuthClient
from intuitlib.enums import Scopes
from intuitlib.exceptions import AuthClientError

from .bodies import invoice
from .conftest import Books, StandIn, code_of

REDIRECT = "http://localhost:9/callback"


@pytest.fixture
def own() -> Iterator[StandIn]:
    running = StandIn(limits=False)
    yield running
    assert running.app.world.internal_errors == 0
    running.stop()


def token(own: StandIn, headers: dict[str, str] | None = None, **form: str) -> httpx.Response:
    auth = (own.greeting["client_id"], own.greeting["client_secret"])
    return own.http.post(own.greeting["token_url"], data=form, auth=auth, headers=headers or {})


def refresh(own: StandIn, value: str) -> httpx.Response:
    return token(own, grant_type="refresh_token", refresh_token=value)


def authorize(own: StandIn, **more: str) -> dict[str, list[str]]:
    params = {
        "client_id": own.greeting["client_id"],
        "response_type": "code",
        "scope": "com.intuit.quickbooks.accounting",
        "redirect_uri": REDIRECT,
        "state": "s1",
        "decision": "approve",
        **more,
    }
    answer = own.http.post("/connect/oauth2", data=params)
    assert answer.status_code == 302, answer.text
    return parse_qs(urlsplit(answer.headers["location"]).query)


def test_code_flow_state_and_one_shot_code(own: StandIn) -> None:
    page = own.http.get(
        "/connect/oauth2",
        params={
            "client_id": own.greeting["client_id"],
            "response_type": "code",
            "redirect_uri": REDIRECT,
            "scope": "com.intuit.quickbooks.accounting",
            "state": "s1",
        },
    )
    assert "Connect" in page.text
    back = authorize(own)
    assert (back["state"], back["realmId"]) == (["s1"], [own.greeting["realm_id"]])
    code = back["code"][0]
    wrong = token(own, grant_type="authorization_code", code=code, redirect_uri="http://localhost:9/other")
    assert wrong.json()["error"] == "invalid_grant"
    good = token(own, grant_type="authorization_code", code=code, redirect_uri=REDIRECT)
    assert {"token_type", "access_token", "expires_in", "refresh_token", "x_refresh_token_expires_in"} == set(good.json())
    assert (good.json()["expires_in"], good.json()["x_refresh_token_expires_in"]) == (3600, 8640000)
    again = token(own, grant_type="authorization_code", code=code, redirect_uri=REDIRECT)
    assert (again.status_code, again.json()["error"], "intuit_tid" in again.headers) == (400, "invalid_grant", True)
    assert refresh(own, good.json()["refresh_token"]).status_code == 400
    assert authorize(own, decision="deny")["error"] == ["access_denied"]
    assert authorize(own, scope="everything")["error"] == ["invalid_scope"]
    late = authorize(own)["code"][0]
    own.control("POST", "clock", {"advance": 700})
    assert token(own, grant_type="authorization_code", code=late, redirect_uri=REDIRECT).status_code == 400


def test_refresh_rotates_after_a_day_and_the_old_value_is_dead(own: StandIn) -> None:
    first = own.greeting["refresh_token"]
    same = refresh(own, first).json()
    assert same["refresh_token"] == first
    own.control("POST", "clock", {"advance": 86_401})
    new = refresh(own, first).json()["refresh_token"]
    assert new != first
    dead = refresh(own, first)
    assert (dead.status_code, dead.json()["error_description"]) == (400, "Incorrect or invalid refresh token")
    assert refresh(own, new).status_code == 200
    own.control("POST", "tokens", {"reuse_revokes": True})
    refresh(own, first)
    assert refresh(own, new).status_code == 400


def test_refresh_lives_a_hundred_days_from_last_use_and_five_years_in_all(own: StandIn) -> None:
    value = own.greeting["refresh_token"]
    for _ in range(20):
        own.control("POST", "clock", {"advance": 95 * 86_400})
        answer = token(own, {"x-include-refresh-token-hard-expires-in": "true"}, grant_type="refresh_token", refresh_token=value)
        if answer.status_code != 200:
            break
        value = answer.json()["refresh_token"]
        assert answer.json()["x_refresh_token_hard_expires_in"] < 157_680_000
    assert answer.json()["error"] == "invalid_grant", "the grant outlived five years"
    fresh = own.control("POST", "tokens", {"new": True})["refresh_token"]
    own.control("POST", "clock", {"advance": 101 * 86_400})
    assert refresh(own, fresh).status_code == 400


def test_client_credentials_by_header_or_form(own: StandIn) -> None:
    g = own.greeting
    form = {"grant_type": "refresh_token", "refresh_token": g["refresh_token"]}
    by_form = own.http.post(g["token_url"], data={**form, "client_id": g["client_id"], "client_secret": g["client_secret"]})
    assert by_form.status_code == 200
    assert by_form.headers["content-type"].startswith("application/json")
    wrong = own.http.post(g["token_url"], data=form, auth=(g["client_id"], "wrong"))
    assert (wrong.status_code, wrong.json()) == (401, {"error": "invalid_client"})
    assert token(own, grant_type="client_credentials").json()["error"] == "unsupported_grant_type"


def test_revoke_with_either_token_ends_the_grant(own: StandIn) -> None:
    g = own.greeting
    auth = (g["client_id"], g["client_secret"])
    assert own.http.post(g["revoke_url"], json={"token": "nonsense"}, auth=auth).status_code == 400
    assert own.http.post(g["revoke_url"], json={"token": g["access_token"]}, auth=auth).status_code == 200
    assert refresh(own, g["refresh_token"]).status_code == 400
    answer = own.http.get(f"/v3/company/{g['realm_id']}/companyinfo/1", headers={"authorization": f"Bearer {g['access_token']}"})
    assert answer.status_code == 401


def test_gates_token_first_then_realm_then_scope(own: StandIn) -> None:
    g = own.greeting
    path = f"/v3/company/{g['realm_id']}/companyinfo/{g['realm_id']}"

    def get(value: str | None, url: str = path) -> httpx.Response:
        return own.http.get(url, headers={"authorization": value} if value is not None else {})

    for value, detail in (
        (None, "3202"),
        ("Bearer short", "too short or too long"),
        ("Bearer " + "x" * 5000, "too short or too long"),
    ):
        answer = get(value)
        assert answer.status_code == 401
        body = answer.json()
        assert (body["fault"]["type"], body["cdcresponse"], body["warnings"]) == ("AUTHENTICATION", [], None)
        assert detail in answer.text
        assert answer.headers["www-authenticate"] == 'Bearer realm="Intuit", error="invalid_token"'
    assert isinstance(body["time"], int)
    assert get(f"Bearer {g['access_token']}").status_code == 200
    wrong = get(f"Bearer {g['access_token']}", "/v3/company/123/companyinfo/123")
    assert (wrong.status_code, wrong.json()["fault"]["error"][0]["code"], wrong.json()["fault"]["type"]) == (
        403,
        "3100",
        "SERVICE",
    )
    assert get("Bearer " + "x" * 50, "/v3/company/123/companyinfo/123").status_code == 401
    code = authorize(own, scope="openid profile")["code"][0]
    limited = token(own, grant_type="authorization_code", code=code, redirect_uri=REDIRECT).json()
    assert limited["id_token"].count(".") == 2
    assert get(f"Bearer {limited['access_token']}").status_code == 403
    assert own.http.get("/v1/openid_connect/userinfo", headers={"authorization": f"Bearer {limited['access_token']}"}).json()[
        "sub"
    ]
    own.control("POST", "clock", {"advance": 3601})
    expired = get(f"Bearer {g['access_token']}")
    assert expired.json()["fault"]["error"][0]["detail"].startswith("Token expired:")


def test_token_faults_on_demand(own: StandIn) -> None:
    own.control("POST", "tokens", {"access_seconds": 5})
    value = own.greeting["refresh_token"]
    assert refresh(own, value).json()["expires_in"] == 5
    own.control("POST", "faults", {"fault": "token_server_error", "count": 1})
    assert refresh(own, value).status_code == 503
    own.control("POST", "clock", {"advance": 90_000})
    own.control("POST", "faults", {"fault": "token_answer_lost", "count": 1})
    with pytest.raises(httpx.TransportError):
        refresh(own, value)
    assert refresh(own, value).json()["error"] == "invalid_grant"
    own.control("POST", "tokens", {"old_value_grace": 86_400})
    assert refresh(own, value).status_code == 200


def test_discovery_with_and_without_the_final_slash(own: StandIn) -> None:
    for name in ("openid_configuration", "openid_sandbox_configuration"):
        for end in ("", "/"):
            found = own.http.get(f"/.well-known/{name}{end}").json()
            assert found["token_endpoint"] == own.greeting["token_url"]
    assert own.http.get("/op/v1/jwks").json()["keys"][0]["kty"] == "RSA"


def test_intuit_oauth_runs_the_whole_flow(own: StandIn) -> None:
    g = own.greeting
    client = AuthClient(g["client_id"], g["client_secret"], REDIRECT, g["discovery_url"])
    url = client.get_authorization_url([Scopes.ACCOUNTING])
    answer = own.http.get(url, params={**{k: v[0] for k, v in parse_qs(urlsplit(url).query).items()}, "decision": "approve"})
    back = parse_qs(urlsplit(answer.headers["location"]).query)
    client.get_bearer_token(back["code"][0], realm_id=back["realmId"][0])
    assert client.access_token
    client.refresh()
    assert client.revoke() is True
    with pytest.raises(AuthClientError):
        client.refresh()


def test_python_quickbooks_creates_reads_queries_voids(own: StandIn, monkeypatch: Any) -> None:
    from quickbooks import QuickBooks
    from quickbooks.batch import batch_create
    from quickbooks.cdc import change_data_capture
    from quickbooks.objects import Customer, Invoice, Item, Payment, SalesItemLine, SalesItemLineDetail

    g = own.greeting
    client = AuthClient(
        g["client_id"],
        g["client_secret"],
        REDIRECT,
        g["discovery_url"],
        access_token=g["access_token"],
        refresh_token=g["refresh_token"],
    )
    qb = QuickBooks(auth_client=client, refresh_token=g["refresh_token"], company_id=g["realm_id"])
    monkeypatch.setattr(type(qb), "api_url", property(lambda self: f"{g['base_url']}/v3"))  # it knows Intuit's hosts only
    monkeypatch.setenv("OAUTHLIB_INSECURE_TRANSPORT", "1")
    customer = Customer()
    customer.DisplayName = "Made by python-quickbooks"
    customer.save(qb=qb)
    assert Customer.filter(DisplayName="Made by python-quickbooks", qb=qb)[0].Id == customer.Id
    made = Invoice()
    line = SalesItemLine()
    line.Amount = 12.5
    line.SalesItemLineDetail = SalesItemLineDetail()
    line.SalesItemLineDetail.ItemRef = Item.all(qb=qb)[0].to_ref()
    made.Line.append(line)
    made.CustomerRef = customer.to_ref()
    made.save(qb=qb)
    made = Invoice.get(made.Id, qb=qb)
    assert made.Balance == 12.5
    made.PrivateNote = "note"
    made.save(qb=qb)
    made = Invoice.get(made.Id, qb=qb)
    assert (made.PrivateNote, made.SyncToken) == ("note", "1")
    paid = Payment()
    paid.TotalAmt = 5
    paid.CustomerRef = customer.to_ref()
    paid.save(qb=qb)
    assert paid.void(qb=qb)
    assert Invoice.count(qb=qb) == 1
    batch = batch_create([_named(Customer, f"batch {i}") for i in range(35)], qb=qb)
    assert len(batch.successes) == 35
    assert len(Customer.query("select * from Customer startposition 1 maxresults 20", qb=qb)) == 20
    changed = change_data_capture([Invoice, Customer], _recent(own), qb=qb)
    assert len(changed.Invoice) == 1
    made.delete(qb=qb)
    assert Invoice.count(qb=qb) == 0


def _named(kind: Any, name: str) -> Any:
    made = kind()
    made.DisplayName = name
    return made


def _recent(own: StandIn) -> str:
    from sandbox.qbo.company.clock import pacific

    return pacific(own.app.world.clock.now() - 3600)


def test_a_second_company_is_closed_to_the_first_ones_token(own: StandIn) -> None:
    other = Books(own)
    mine = {"authorization": f"Bearer {own.greeting['access_token']}"}
    answer = own.http.post(f"/v3/company/{other.realm}/invoice", json=invoice(), headers=mine)
    assert (answer.status_code, code_of(answer)) == (403, "3100")
