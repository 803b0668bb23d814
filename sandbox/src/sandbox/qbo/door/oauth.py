"""Intuit's OAuth 2 over HTTP: authorize page, discovery, token, revoke, user info. The tokens are in `rules/tokens.py`."""

from __future__ import annotations

import base64
import html
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import orjson

from sandbox.qbo.rules.tokens import ACCOUNTING, Grant, InvalidGrantError, Tokens

ISSUER = "https://oauth.platform.intuit.com/op/v1"  # intuit-oauth for Node has it in its code, that for Python takes discovery's
KNOWN_SCOPES = frozenset(
    {
        ACCOUNTING,
        "com.intuit.quickbooks.payment",
        "openid",
        "profile",
        "email",
        "phone",
        "address",
        "com.intuit.quickbooks.payroll",
        "com.intuit.quickbooks.payroll.timetracking",
        "com.intuit.quickbooks.payroll.benefits",
        "intuit_name",
    }
)
Answer = tuple[int, str, bytes, dict[str, str]]


def authorize(tokens: Tokens, params: dict[str, str], companies: list[tuple[str, str]], decision: str | None) -> Answer:
    """The consent page, or the redirect once decided (`decision` is "approve" or "deny")."""
    redirect = params.get("redirect_uri", "")
    problem = _authorize_problem(tokens, params, redirect)
    if problem:
        return (
            400,
            "text/html; charset=utf-8",
            f"<h1>Sorry, the connection failed</h1><p>{html.escape(problem)}</p>".encode(),
            {},
        )
    state = params.get("state")
    scopes = frozenset(params.get("scope", "").split())
    if not scopes or not scopes <= KNOWN_SCOPES:
        return _redirect(redirect, {"error": "invalid_scope", "state": state})
    if decision is None:
        return 200, "text/html; charset=utf-8", _consent_page(params, companies), {}
    if decision != "approve":
        return _redirect(redirect, {"error": "access_denied", "state": state})
    realm_id = params.get("realm_id") or companies[0][0]
    if realm_id not in {r for r, _ in companies}:
        return _redirect(redirect, {"error": "access_denied", "state": state})
    code = tokens.new_code(params["client_id"], redirect, realm_id, scopes)
    return _redirect(redirect, {"code": code, "state": state, "realmId": realm_id})


def _authorize_problem(tokens: Tokens, params: dict[str, str], redirect: str) -> str:
    if params.get("client_id") not in tokens.clients:
        return "invalid client_id"
    if params.get("response_type") != "code":
        return "response_type must be code"
    if urlsplit(redirect).scheme not in ("http", "https"):
        return "redirect_uri is missing or invalid"
    if tokens.redirects and redirect not in tokens.redirects:
        return "The redirect_uri query parameter value is invalid"
    return ""


def _redirect(to: str, params: dict[str, str | None]) -> Answer:
    query = urlencode({k: v for k, v in params.items() if v is not None})
    return 302, "text/plain", b"", {"location": f"{to}{'&' if '?' in to else '?'}{query}"}


def token(tokens: Tokens, headers: dict[str, str], body: bytes) -> Answer:
    """POST to the token endpoint."""
    form = {key: values[0] for key, values in parse_qs(body.decode("utf-8", "replace"), keep_blank_values=True).items()}
    client_id, secret = _credentials(headers, form)
    if not client_id or tokens.clients.get(client_id) != secret:
        return _json(401, {"error": "invalid_client"})
    grant_type = form.get("grant_type")
    try:
        if grant_type == "authorization_code":
            return _success(tokens, tokens.exchange(client_id, form.get("code", ""), form.get("redirect_uri")), headers)
        if grant_type == "refresh_token":
            return _success(tokens, tokens.renew(client_id, form.get("refresh_token", "")), headers)
    except InvalidGrantError as invalid:
        return _json(400, {"error": "invalid_grant", "error_description": str(invalid)})
    if not grant_type:
        return _json(400, {"error": "invalid_request", "error_description": "grant_type is missing"})
    return _json(400, {"error": "unsupported_grant_type"})


def _success(tokens: Tokens, grant: Grant, headers: dict[str, str]) -> Answer:
    now = tokens.clock.now()
    hard = grant.consented + tokens.settings.hard_seconds
    body: dict[str, Any] = {
        "token_type": "bearer",
        "access_token": tokens.new_access(grant),
        "expires_in": int(tokens.settings.access_seconds),
        "refresh_token": grant.refresh_token,
        "x_refresh_token_expires_in": max(0, round(min(grant.refresh_expires, hard) - now)),
    }
    if headers.get("x-include-refresh-token-hard-expires-in", "").lower() == "true":
        body["x_refresh_token_hard_expires_in"] = max(0, round(hard - now))
    if "openid" in grant.scopes:
        body["id_token"] = _id_token(grant, now)
    return _json(200, body)


def revoke(tokens: Tokens, headers: dict[str, str], body: bytes) -> Answer:
    """POST to the revoke endpoint: either token ends the grant."""
    value, form = "", {}
    try:
        parsed = orjson.loads(body)
        value = str(parsed.get("token", "")) if isinstance(parsed, dict) else ""
    except ValueError:
        form = {key: values[0] for key, values in parse_qs(body.decode("utf-8", "replace")).items()}
        value = form.get("token", "")
    client_id, secret = _credentials(headers, form)
    if not client_id or tokens.clients.get(client_id) != secret:
        return _json(401, {"error": "invalid_client"})
    if not tokens.revoke(client_id, value):
        return _json(400, {"error": "invalid_request", "error_description": "Invalid token"})
    return 200, "application/json", b"", {}


def user_info(tokens: Tokens, headers: dict[str, str]) -> Answer:
    """GET on the user-info endpoint."""
    grant, problem = tokens.check(headers.get("authorization", "").removeprefix("Bearer ").strip())
    if grant is None:
        return _json(401, {"error": "invalid_token", "error_description": problem})
    if "openid" not in grant.scopes:
        return _json(403, {"error": "insufficient_scope"})
    return _json(
        200,
        {
            "sub": "1182d6ec-2a1f-4aa3-af3f-bb3b95db45af",
            "email": "pat@example.com",
            "emailVerified": True,
            "givenName": "Pat",
            "familyName": "Bookkeeper",
            "phoneNumber": "+1 4081234567",
            "phoneNumberVerified": False,
        },
    )


def discovery(base: str) -> dict[str, Any]:
    """The discovery document; every endpoint points at this server."""
    return {
        "issuer": ISSUER,
        "authorization_endpoint": f"{base}/connect/oauth2",
        "token_endpoint": f"{base}/oauth2/v1/tokens/bearer",
        "userinfo_endpoint": f"{base}/v1/openid_connect/userinfo",
        "revocation_endpoint": f"{base}/v2/oauth2/tokens/revoke",
        "jwks_uri": f"{base}/op/v1/jwks",
        "response_types_supported": ["code"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "scopes_supported": ["openid", "email", "profile", "address", "phone"],
        "token_endpoint_auth_methods_supported": ["client_secret_post", "client_secret_basic"],
        "claims_supported": ["aud", "exp", "iat", "iss", "realmid", "sub"],
    }


def _credentials(headers: dict[str, str], form: dict[str, str]) -> tuple[str, str]:
    scheme, _, value = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "basic":
        try:
            client_id, _, secret = base64.b64decode(value, validate=False).decode().partition(":")
            return client_id, secret
        except ValueError:
            return "", ""
    return form.get("client_id", ""), form.get("client_secret", "")


def _json(status: int, body: dict[str, Any]) -> Answer:
    headers = {"cache-control": "no-store", "pragma": "no-cache"}
    return status, "application/json;charset=UTF-8", orjson.dumps(body), headers


_KEY: list[Any] = []


def signing_key() -> Any:
    """RSA key of the id tokens, made on first use."""
    if not _KEY:
        from cryptography.hazmat.primitives.asymmetric import rsa

        _KEY.append(rsa.generate_private_key(public_exponent=65537, key_size=2048))
    return _KEY[0]


def jwks() -> dict[str, Any]:
    """Public half of the signing key."""
    numbers = signing_key().public_key().public_numbers()

    def number(value: int) -> str:
        return base64.urlsafe_b64encode(value.to_bytes((value.bit_length() + 7) // 8, "big")).rstrip(b"=").decode()

    return {
        "keys": [{"kty": "RSA", "use": "sig", "alg": "RS256", "kid": "sandbox", "n": number(numbers.n), "e": number(numbers.e)}]
    }


def _id_token(grant: Grant, now: float) -> str:
    import jwt

    claims = {
        "sub": "1182d6ec-2a1f-4aa3-af3f-bb3b95db45af",
        "aud": [grant.client_id],
        "realmid": grant.realm_id,
        "auth_time": int(now),
        "iss": ISSUER,
        "exp": int(now) + 3600,
        "iat": int(now),
    }
    return str(jwt.encode(claims, signing_key(), algorithm="RS256", headers={"kid": "sandbox"}))


def _consent_page(params: dict[str, str], companies: list[tuple[str, str]]) -> bytes:
    hidden = "".join(f'<input type="hidden" name="{html.escape(k)}" value="{html.escape(v)}">' for k, v in params.items())
    options = "".join(
        f'<option value="{html.escape(r)}">{html.escape(name)} ({html.escape(r)})</option>' for r, name in companies
    )
    return (
        "<!doctype html><html lang=en><meta charset=utf-8><title>Authorize</title>"
        "<body style='font-family:sans-serif;max-width:32em;margin:4em auto'><h1>Connect a company</h1>"
        f"<p>The app <b>{html.escape(params.get('client_id', ''))}</b> asks for: {html.escape(params.get('scope', ''))}.</p>"
        f"<form method=post action='/connect/oauth2'>{hidden}"
        f"<p><label>Company <select name=realm_id>{options}</select></label></p>"
        "<button name=decision value=approve>Connect</button> <button name=decision value=deny>Cancel</button>"
        "</form></body></html>"
    ).encode()
