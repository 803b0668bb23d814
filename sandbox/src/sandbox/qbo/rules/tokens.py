"""Who may reach which company: grants, access tokens, refresh tokens and codes of the workspace. Their lives are on the clock.

It issues, checks, rotates and revokes; the endpoints in front of it are `door/oauth.py`.
"""

from __future__ import annotations

import random
import string
from dataclasses import dataclass, field
from typing import Any

from sandbox.qbo.company.clock import Clock

ACCOUNTING = "com.intuit.quickbooks.accounting"
DAY = 86_400


class InvalidGrantError(Exception):
    """A code or refresh token gives nothing; the message is the error_description."""


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


class Tokens:
    """All grants and tokens of the workspace."""

    def __init__(self, clock: Clock, rng: random.Random, *, client_id: str, client_secret: str) -> None:
        self.clock = clock
        self.rng = rng
        self.clients = {client_id: client_secret}
        self.redirects: set[str] = set()  # empty: any redirect_uri is accepted
        self.settings = TokenSettings()
        self.grants: list[Grant] = []
        self.access: dict[str, Access] = {}
        self.refresh: dict[str, Grant] = {}
        self.codes: dict[str, dict[str, Any]] = {}
        self.refreshes = 0
        self.rotations = 0

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

    def new_code(self, client_id: str, redirect_uri: str, realm_id: str, scopes: frozenset[str]) -> str:
        """The code that a consent sends to the app."""
        code = self._token("AB", 48)
        self.codes[code] = {
            "client_id": client_id,
            "redirect_uri": redirect_uri,
            "realm_id": realm_id,
            "scopes": scopes,
            "expires": self.clock.now() + self.settings.code_seconds,
            "grant": None,
        }
        return code

    def exchange(self, client_id: str, code: str, redirect_uri: str | None) -> Grant:
        """A code for a grant; raises InvalidGrantError."""
        known = self.codes.get(code)
        if known is None or known["client_id"] != client_id or known["expires"] <= self.clock.now():
            raise InvalidGrantError("Incorrect or invalid authorization code")
        if known["grant"] is not None:
            known["grant"].revoked = True  # a code used twice ends what it gave
            raise InvalidGrantError("Authorization code already used")
        if redirect_uri != known["redirect_uri"]:
            raise InvalidGrantError("Invalid redirect_uri")
        grant = self.new_grant(known["realm_id"], client_id, known["scopes"])
        known["grant"] = grant
        return grant

    def renew(self, client_id: str, value: str) -> Grant:
        """The grant behind a refresh token, rotated when it is time; raises InvalidGrantError."""
        now = self.clock.now()
        grant = self.refresh.get(value)
        if grant is None or grant.client_id != client_id or grant.revoked:
            raise InvalidGrantError("Incorrect or invalid refresh token")
        if value != grant.refresh_token:
            replaced = grant.previous.get(value, 0.0)
            if now > replaced + self.settings.old_value_grace:
                if self.settings.reuse_revokes:
                    grant.revoked = True
                raise InvalidGrantError("Incorrect or invalid refresh token")
        elif now >= min(grant.refresh_expires, grant.consented + self.settings.hard_seconds):
            raise InvalidGrantError("Token expired")
        self.refreshes += 1
        if now - grant.rotated >= self.settings.rotate_after:
            grant.previous[grant.refresh_token] = now
            grant.refresh_token = self._token("RT1-", 46)
            self.refresh[grant.refresh_token] = grant
            grant.rotated = now
            self.rotations += 1
        grant.refresh_expires = now + self.settings.refresh_seconds
        return grant

    def revoke(self, client_id: str, token: str) -> bool:
        """End the grant of either token; False where there is nothing to end."""
        grant = self.refresh.get(token)
        if grant is None and token in self.access:
            grant = self.access[token].grant
        if grant is None or grant.client_id != client_id or grant.revoked:
            return False
        grant.revoked = True
        return True
