"""Intuit's OAuth 2: authorize page, discovery, token, revoke, user info. Tokens live on the controllable clock."""

from __future__ import annotations

import base64
import html
import random
import string
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import orjson

from sandbox.qbo.company.clock import Clock

ACCOUNTING = "com.intuit.quickbooks.accounting"
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
DAY = 86_400
Answer = tuple[int, str, bytes, dict[str, str]]


@dataclass(slots=True)
class TokenSettings:
    """Lives of tokens in seconds and what happens on reuse."""

    access_seconds: float = 3600
    refresh_seconds: float = 8_640_000  # 100 days, rolling
    hard_seconds: float = 157_680_000  # 5 years from the consent
    rotate_after: float = DAY
    code_seconds: float = 600
    old_value_grace: float = 0  # 0: the old value is dead at once
    reuse_revokes: bool = False
    slow_seconds: float = 0
    lose_answers: int = 0  # that many token answers are lost, after rotation


@dataclass(slots=True)
class Grant:
    """One consent: a person connected one app to one company."""

    realm_id: str
    client_id: str
    scopes: frozenset[str]
    consented: float
    refresh_token: str
    rotated: float
    refresh_expires: float
    previous: dict[str, float] = field(default_factory=dict)  # old values and when each was replaced
    revoked: bool = False


@dataclass(slots=True)
class Access:
    """One access token."""

    grant: Grant
    expires: float


class OAuth:
    """All grants and tokens of the workspace."""

    def __init__(self, clock: Clock, rng: random.Random, *, client_id: str, client_secret: str) -> None:
        self.clock = clock
        self.rng = rng
        self.clients = {client_id: client_secret}
        self.redirects: set[str] = set()  # empty: any redirect_uri is taken
        self.settings = TokenSettings()
        self.grants: list[Grant] = []
        self.access: dict[str, Access] = {}
        self.refresh: dict[str, Grant] = {}
        self.codes: dict[str, dict[str, Any]] = {}
        self.refreshes = 0
        self.rotations = 0

    # -- issuing ---------------------------------------------------------------------------------------------------

    def _token(self, prefix: str, length: int) -> str:
        return prefix + "".join(self.rng.choices(string.ascii_letters + string.digits, k=length))

    def new_grant(self, realm_id: str, client_id: str, scopes: frozenset[str] = frozenset({ACCOUNTING})) -> Grant:
        """A consent with its first refresh token. Earlier grants of the same app and company stay as they are."""
        now = self.clock.now()
        grant = Grant(realm_id, client_id, scopes, now, self._token("RT1-", 46), now, now + self.settings.refresh_seconds)
        self.grants.append(grant)
        self.refresh[grant.refresh_token] = grant
        return grant

    def new_access(self, grant: Grant, seconds: float | None = None) -> str:
        """An access token for a grant."""
        token = self._token("eyJlbmMiOiJBMTI4Q0JDLUhTMjU2IiwiYWxnIjoiZGlyIn0..", 600)
        life = self.settings.access_seconds if seconds is None else seconds
        self.access[token] = Access(grant, self.clock.now() + life)
        return token

    def check(self, token: str) -> tuple[Grant | None, str]:
        """The grant of a valid access token, or None and the Detail of the 401."""
        if not 20 <= len(token) <= 4096:
            return None, "Malformed bearer token: too short or too long"
        access = self.access.get(token)
        if access is None:
            return None, f"Token invalid: {token[:4]}..."
        if access.grant.revoked:
            return None, f"Token revoked: {token[:4]}..."
        if access.expires <= self.clock.now():
            return None, f"Token expired: {token[:4]}..."
        return access.grant, ""

    def expire_access(self, realm_id: str | None = None) -> int:
        """End the life of all access tokens (of a realm) now."""
        hit = [a for a in self.access.values() if realm_id in (None, a.grant.realm_id)]
        for access in hit:
            access.expires = self.clock.now()
        return len(hit)

    def revoke_grants(self, realm_id: str | None = None) -> int:
        """Revoke all grants (of a realm), as when a person disconnects the app."""
        hit = [g for g in self.grants if realm_id in (None, g.realm_id) and not g.revoked]
        for grant in hit:
            grant.revoked = True
        return len(hit)

    # -- endpoints -------------------------------------------------------------------------------------------------

    def authorize(self, params: dict[str, str], companies: list[tuple[str, str]], decision: str | None) -> Answer:
        """The consent page, or the redirect once decided (`decision` is "approve" or "deny")."""
        redirect = params.get("redirect_uri", "")
        problem = self._authorize_problem(params, redirect)
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
            return self._redirect(redirect, {"error": "invalid_scope", "state": state})
        if decision is None:
            return 200, "text/html; charset=utf-8", _consent_page(params, companies), {}
        if decision != "approve":
            return self._redirect(redirect, {"error": "access_denied", "state": state})
        realm_id = params.get("realm_id") or companies[0][0]
        if realm_id not in {r for r, _ in companies}:
            return self._redirect(redirect, {"error": "access_denied", "state": state})
        code = self._token("AB", 48)
        self.codes[code] = {
            "client_id": params["client_id"],
            "redirect_uri": redirect,
            "realm_id": realm_id,
            "scopes": scopes,
            "expires": self.clock.now() + self.settings.code_seconds,
            "grant": None,
        }
        return self._redirect(redirect, {"code": code, "state": state, "realmId": realm_id})

    def _authorize_problem(self, params: dict[str, str], redirect: str) -> str:
        if params.get("client_id") not in self.clients:
            return "invalid client_id"
        if params.get("response_type") != "code":
            return "response_type must be code"
        if urlsplit(redirect).scheme not in ("http", "https"):
            return "redirect_uri is missing or invalid"
        if self.redirects and redirect not in self.redirects:
            return "The redirect_uri query parameter value is invalid"
        return ""

    def _redirect(self, to: str, params: dict[str, str | None]) -> Answer:
        query = urlencode({k: v for k, v in params.items() if v is not None})
        return 302, "text/plain", b"", {"location": f"{to}{'&' if '?' in to else '?'}{query}"}

    def token(self, headers: dict[str, str], body: bytes) -> Answer:
        """POST to the token endpoint."""
        form = {key: values[0] for key, values in parse_qs(body.decode("utf-8", "replace"), keep_blank_values=True).items()}
        client_id, secret = _credentials(headers, form)
        if not client_id or self.clients.get(client_id) != secret:
            return _json(401, {"error": "invalid_client"})
        grant_type = form.get("grant_type")
        if grant_type == "authorization_code":
            return self._exchange(client_id, form, headers)
        if grant_type == "refresh_token":
            return self._refresh(client_id, form, headers)
        if not grant_type:
            return _json(400, {"error": "invalid_request", "error_description": "grant_type is missing"})
        return _json(400, {"error": "unsupported_grant_type"})

    def _exchange(self, client_id: str, form: dict[str, str], headers: dict[str, str]) -> Answer:
        known = self.codes.get(form.get("code", ""))
        if known is None or known["client_id"] != client_id or known["expires"] <= self.clock.now():
            return _invalid_grant("Incorrect or invalid authorization code")
        if known["grant"] is not None:
            known["grant"].revoked = True  # a code used twice ends what it gave
            return _invalid_grant("Authorization code already used")
        if form.get("redirect_uri") != known["redirect_uri"]:
            return _invalid_grant("Invalid redirect_uri")
        grant = self.new_grant(known["realm_id"], client_id, known["scopes"])
        known["grant"] = grant
        return self._success(grant, headers)

    def _refresh(self, client_id: str, form: dict[str, str], headers: dict[str, str]) -> Answer:
        value, now = form.get("refresh_token", ""), self.clock.now()
        grant = self.refresh.get(value)
        if grant is None or grant.client_id != client_id or grant.revoked:
            return _invalid_grant("Incorrect or invalid refresh token")
        if value != grant.refresh_token:
            replaced = grant.previous.get(value, 0.0)
            if now > replaced + self.settings.old_value_grace:
                if self.settings.reuse_revokes:
                    grant.revoked = True
                return _invalid_grant("Incorrect or invalid refresh token")
        elif now >= min(grant.refresh_expires, grant.consented + self.settings.hard_seconds):
            return _invalid_grant("Token expired")
        self.refreshes += 1
        if now - grant.rotated >= self.settings.rotate_after:
            grant.previous[grant.refresh_token] = now
            grant.refresh_token = self._token("RT1-", 46)
            self.refresh[grant.refresh_token] = grant
            grant.rotated = now
            self.rotations += 1
        grant.refresh_expires = now + self.settings.refresh_seconds
        return self._success(grant, headers)

    def _success(self, grant: Grant, headers: dict[str, str]) -> Answer:
        now = self.clock.now()
        hard = grant.consented + self.settings.hard_seconds
        body: dict[str, Any] = {
            "token_type": "bearer",
            "access_token": self.new_access(grant),
            "expires_in": int(self.settings.access_seconds),
            "refresh_token": grant.refresh_token,
            "x_refresh_token_expires_in": max(0, round(min(grant.refresh_expires, hard) - now)),
        }
        if headers.get("x-include-refresh-token-hard-expires-in", "").lower() == "true":
            body["x_refresh_token_hard_expires_in"] = max(0, round(hard - now))
        if "openid" in grant.scopes:
            body["id_token"] = _id_token(grant, now)
        return _json(200, body)

    def revoke(self, headers: dict[str, str], body: bytes) -> Answer:
        """POST to the revoke endpoint: either token ends the grant."""
        token, form = "", {}
        try:
            parsed = orjson.loads(body)
            token = str(parsed.get("token", "")) if isinstance(parsed, dict) else ""
        except ValueError:
            form = {key: values[0] for key, values in parse_qs(body.decode("utf-8", "replace")).items()}
            token = form.get("token", "")
        client_id, secret = _credentials(headers, form)
        if not client_id or self.clients.get(client_id) != secret:
            return _json(401, {"error": "invalid_client"})
        grant = self.refresh.get(token)
        if grant is None and token in self.access:
            grant = self.access[token].grant
        if grant is None or grant.client_id != client_id or grant.revoked:
            return _json(400, {"error": "invalid_request", "error_description": "Invalid token"})
        grant.revoked = True
        return 200, "application/json", b"", {}

    def user_info(self, headers: dict[str, str]) -> Answer:
        """GET on the user-info endpoint."""
        grant, problem = self.check(headers.get("authorization", "").removeprefix("Bearer ").strip())
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


def _invalid_grant(description: str) -> Answer:
    return _json(400, {"error": "invalid_grant", "error_description": description})


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
