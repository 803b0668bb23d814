"""Service accounts and the token endpoint: a JWT signed with the account's real key becomes an access token."""

import json
import os
import secrets
import tempfile
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from sandbox.standin import Clock

GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
GOOGLE_TOKEN_URI = "https://oauth2.googleapis.com/token"  # the audience that google-auth names, wherever it sends the assertion
SPREADSHEETS = "https://www.googleapis.com/auth/spreadsheets"
DRIVE = "https://www.googleapis.com/auth/drive"
WRITES_SHEETS = {SPREADSHEETS, DRIVE, f"{DRIVE}.file"}
READS_SHEETS = WRITES_SHEETS | {f"{SPREADSHEETS}.readonly", f"{DRIVE}.readonly"}
READS_DRIVE = {DRIVE, f"{DRIVE}.file", f"{DRIVE}.readonly", f"{DRIVE}.metadata", f"{DRIVE}.metadata.readonly"}


class TokenRefusedError(Exception):
    """The token endpoint's refusal: its error word and description."""

    def __init__(self, error: str, description: str) -> None:
        super().__init__(description)
        self.error, self.description = error, description


@dataclass(frozen=True)
class Token:
    """An access token: whose, for what, until when."""

    email: str
    scopes: frozenset[str]
    expires: float


@dataclass
class Accounts:
    """The project's service accounts and the tokens given out."""

    clock: Clock
    token_seconds: int = 3600
    keys: dict[str, Any] = field(default_factory=dict)  # email -> public key
    key_ids: dict[str, str] = field(default_factory=dict)  # email -> key id
    tokens: dict[str, Token] = field(default_factory=dict)

    def create(self, name: str, token_uri: str) -> dict[str, Any]:
        """Make a service account. Returns the JSON that Google hands out once."""
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        project = "bookrelay-sandbox"
        email, key_id = f"{name}@{project}.iam.gserviceaccount.com", uuid.uuid4().hex + uuid.uuid4().hex[:8]
        self.keys[email], self.key_ids[email] = key.public_key(), key_id
        encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
        return {
            "type": "service_account",
            "project_id": project,
            "private_key_id": key_id,
            "private_key": key.private_bytes(encoding, form, serialization.NoEncryption()).decode(),
            "client_email": email,
            "client_id": "1" + str(secrets.randbelow(10**20)).zfill(20),
            "auth_uri": "https://accounts.google.com/o/oauth2/auth",
            "token_uri": token_uri,
            "universe_domain": "googleapis.com",
        }

    def grant(self, form: dict[str, str], token_uri: str) -> dict[str, Any]:
        """Check the signed assertion and give a token. Raises TokenRefusedError."""
        if form.get("grant_type") != GRANT:
            raise TokenRefusedError("unsupported_grant_type", f"Invalid grant_type: {form.get('grant_type', '')}")
        claims = self._claims(form.get("assertion", ""), token_uri)
        now = self.clock.now().timestamp()
        issued, expires = claims["iat"], claims["exp"]
        if not isinstance(issued, int | float) or not isinstance(expires, int | float) or expires - issued > 3600 + 60:
            raise TokenRefusedError("invalid_grant", "Invalid JWT: Token must be a short-lived token (60 minutes)")
        if not now - 3600 < issued < now + 300 or expires < now:
            raise TokenRefusedError(
                "invalid_grant", "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe."
            )
        scopes = frozenset(str(claims.get("scope", "")).split())
        if not scopes:
            raise TokenRefusedError("invalid_scope", "Invalid OAuth scope or ID token audience provided.")
        token = "ya29." + secrets.token_urlsafe(40)
        self.tokens[token] = Token(claims["iss"], scopes, now + self.token_seconds)
        return {"access_token": token, "expires_in": self.token_seconds - 1, "token_type": "Bearer"}

    def _claims(self, assertion: str, token_uri: str) -> dict[str, Any]:
        try:
            email = jwt.decode(assertion, options={"verify_signature": False}).get("iss")
        except jwt.PyJWTError as error:
            raise TokenRefusedError("invalid_grant", "Invalid JWT: it could not be decoded.") from error
        if email not in self.keys:
            raise TokenRefusedError("invalid_grant", "Invalid grant: account not found")
        options: Any = {"require": ["iat", "exp", "aud"], "verify_exp": False, "verify_iat": False, "verify_nbf": False}
        try:
            claims: dict[str, Any] = jwt.decode(
                assertion, self.keys[email], ["RS256"], audience=[token_uri, GOOGLE_TOKEN_URI], options=options
            )
        except jwt.InvalidAudienceError as error:
            raise TokenRefusedError("invalid_grant", "Invalid JWT: Failed audience check.") from error
        except jwt.PyJWTError as error:
            raise TokenRefusedError("invalid_grant", "Invalid JWT Signature.") from error
        return claims

    def holder(self, authorization: str | None) -> Token | None:
        """Whose token this is, while it lives."""
        kind, _, text = (authorization or "").partition(" ")
        token = self.tokens.get(text.strip()) if kind.lower() == "bearer" else None
        return token if token and token.expires > self.clock.now().timestamp() else None


def write_credentials(account: dict[str, Any], path: str | None) -> str:
    """Write a service account's JSON, readable by its owner only. Returns the path."""
    if path is None:
        handle, path = tempfile.mkstemp(prefix="bookrelay-service-account-", suffix=".json")
        os.close(handle)
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.touch(mode=0o600)
    target.chmod(0o600)
    target.write_text(json.dumps(account, indent=2))
    return str(target)
