"""`qbo-writer auth login | status | revoke`: connecting a company in a browser. The state is checked, the company is pinned."""

import argparse
import asyncio
import contextlib
import hmac
import json
import secrets
import sys
import threading
import webbrowser
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

from bookrelay.db import Pool
from bookrelay.errors import BookrelayError, Code, SettingsError

from qbo_writer.ledger.tokens import CONNECTED, TokenStatus
from qbo_writer.operations.cli_support import seconds
from qbo_writer.operations.redirect_page import listening
from qbo_writer.quickbooks.oauth_client import OAuthClient
from qbo_writer.quickbooks.tokens import TokenStore
from qbo_writer.settings import Settings

_LOCAL = ("localhost", "127.0.0.1", "::1")


def register(subparsers: Any) -> None:
    """Add `auth` to the command line. Each sub-command sets `action`: async (arguments, settings, pool) -> exit status."""
    parser = subparsers.add_parser("auth", help="connect a company to QuickBooks; `auth` alone is `auth login`")
    _login_arguments(parser, given=True)
    auth = parser.add_subparsers(dest="auth")
    _login_arguments(auth.add_parser("login", help="connect the company in a browser"), given=False)
    status = auth.add_parser("status", help="show which companies are connected and until when; exit status 1 if one is not")
    status.add_argument("--json", action="store_true", help="one JSON object for each line")
    status.set_defaults(action=_status)
    revoke = auth.add_parser("revoke", help="revoke the grant at Intuit")
    revoke.add_argument("--realm", default=argparse.SUPPRESS, help="the company; required if several are configured")
    revoke.set_defaults(action=_revoke)


def _login_arguments(parser: argparse.ArgumentParser, *, given: bool) -> None:
    """`auth` and `auth login` take the same options; one given before `login` is not overwritten by a default after it."""

    def default(value: Any) -> Any:
        return value if given else argparse.SUPPRESS

    parser.add_argument("--realm", default=default(None), help="the company to connect (default: as chosen in the browser)")
    parser.add_argument(
        "--open-browser", action="store_true", default=default(False), help="open the consent page in the browser"
    )
    parser.add_argument(
        "--paste",
        action="store_true",
        default=default(False),
        help="paste the address you are redirected to, instead of listening",
    )
    parser.add_argument("--timeout", type=seconds, default=default(600.0), help="seconds to wait for the login")
    parser.set_defaults(action=_login)


def callback(query: str, state: str, allowed: tuple[str, ...]) -> tuple[str, str]:
    """Check the query of a redirect; return code and company. Raises for a wrong state, a denial or another company."""
    given = {name: values[0] for name, values in parse_qs(query).items()}
    if not hmac.compare_digest(given.get("state", "").encode(), state.encode()):
        raise BookrelayError("The redirect does not belong to this login (its state differs).", "Start again.", Code.OAUTH_FAILED)
    if "error" in given:
        raise BookrelayError(f"Access was denied at Intuit: {given['error'][:80]}.", "Start again.", Code.OAUTH_FAILED)
    code, realm = given.get("code", ""), given.get("realmId", "")
    if not code or not realm:
        raise BookrelayError("The redirect has no code or no realmId.", "Paste the whole address.", Code.OAUTH_FAILED)
    if realm not in allowed:
        raise BookrelayError(
            f"Company {realm[:32]} was chosen in the browser, but {' or '.join(allowed)} is configured.",
            "Choose the configured company on Intuit's page, or change QBO_REALM_ID. Nothing was stored.",
            Code.OAUTH_FAILED,
        )
    return code, realm


async def _login(arguments: argparse.Namespace, settings: Settings, pool: Pool) -> int:
    allowed = _realms(settings, arguments.realm)
    oauth, state = OAuthClient(settings), secrets.token_urlsafe(32)
    address = oauth.authorize_url(state)
    try:
        redirect = urlsplit(settings.qbo_redirect_uri)
        if arguments.paste or redirect.hostname not in _LOCAL:
            _say(f"Open this address, connect the company, then paste the address that you are redirected to:\n\n{address}\n")
            _open(arguments, address)
            async with asyncio.timeout(arguments.timeout):
                pasted = await _pasted()
            code, realm = callback(urlsplit(pasted.strip()).query, state, allowed)
        else:
            async with listening(redirect, lambda query: callback(query, state, allowed), _say) as granted:
                where = f"{redirect.hostname}:{redirect.port or 80}"
                _say(f"Waiting at {where}. Open this address and connect the company:\n\n{address}\n")
                _open(arguments, address)
                async with asyncio.timeout(arguments.timeout):
                    code, realm = await granted
        await TokenStore(pool, settings, oauth).connect(realm, await oauth.exchange(code))
    except TimeoutError:
        raise BookrelayError("The company was not connected in time.", "Start again.", Code.OAUTH_FAILED) from None
    finally:
        await oauth.close()
    _say(f"Company {realm} is connected.")
    return 0


async def _pasted() -> str:
    """Read a line from stdin, in a thread that is abandoned when time is up."""
    loop = asyncio.get_running_loop()
    line: asyncio.Future[str] = loop.create_future()

    def tell(text: str) -> None:
        if not line.done():
            line.set_result(text)

    def read() -> None:
        text = sys.stdin.readline()
        with contextlib.suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(tell, text)

    threading.Thread(target=read, daemon=True).start()
    return await line


async def _status(arguments: argparse.Namespace, settings: Settings, pool: Pool) -> int:
    oauth = OAuthClient(settings)
    try:
        store = TokenStore(pool, settings, oauth)
        found = [(realm, await store.status(realm)) for realm in settings.qbo_realm_ids]
    finally:
        await oauth.close()
    for realm, status in found:
        _say(json.dumps(shown(realm, status)) if arguments.json else sentence(realm, status, settings.token_warn_days))
    return 0 if found and all(status and status.state == CONNECTED for _, status in found) else 1


def shown(realm: str, status: TokenStatus | None) -> dict[str, Any]:
    """Return the status without any token."""
    if status is None:
        return {"realm": realm, "state": "never_connected"}
    times = ("access_expires_at", "refresh_expires_at", "hard_expires_at", "refreshed_at")
    return {
        "realm": realm,
        "state": status.state,
        "reason": status.reason,
        **{name: at.isoformat() if (at := getattr(status, name)) else None for name in times},
    }


def sentence(realm: str, status: TokenStatus | None, warn_days: float) -> str:
    """Return the status as text."""
    if status is None:
        return f"{realm}: never connected. Run: qbo-writer auth login"
    if status.state != CONNECTED:
        return f"{realm}: {status.state}" + (f" ({status.reason})" if status.reason else "") + ". Run: qbo-writer auth login"
    lines = [f"{realm}: {status.state}"]
    ends = (
        ("access token", status.access_expires_at, "refreshed automatically"),
        ("refresh token", status.refresh_expires_at, "100 days without use"),
        ("grant", status.hard_expires_at, "five years after the consent"),
    )
    for name, at, why in ends:
        if at is None:
            continue
        days = (at - datetime.now(UTC)).total_seconds() / 86400
        warning = "  <- connect again soon: qbo-writer auth login" if name != "access token" and days < warn_days else ""
        lines.append(f"  {name} expires {at:%Y-%m-%d %H:%M} UTC ({why}){warning}")
    return "\n".join(lines)


async def _revoke(arguments: argparse.Namespace, settings: Settings, pool: Pool) -> int:
    (realm,) = _realms(settings, arguments.realm, one=True)
    oauth = OAuthClient(settings)
    try:
        store = TokenStore(pool, settings, oauth)
        status = await store.status(realm)
        if status is None or status.state != CONNECTED:
            _say(f"Company {realm} is not connected: nothing to revoke.")
            return 0
        await store.revoke(realm)
    finally:
        await oauth.close()
    _say(f"The grant of company {realm} is revoked. Posting stops for it; its commands are kept.")
    return 0


def _realms(settings: Settings, realm: str | None, *, one: bool = False) -> tuple[str, ...]:
    """Return the companies that can be chosen."""
    if realm:
        if settings.qbo_realm_ids and realm not in settings.qbo_realm_ids:
            raise SettingsError(f"company {realm} is not among QBO_REALM_IDS.", "Add it there first.")
        return (realm,)
    if not settings.qbo_realm_ids:
        raise SettingsError("QBO_REALM_ID is missing.", "Set it to the company to connect: no other company is accepted.")
    if one and len(settings.qbo_realm_ids) > 1:
        raise SettingsError("several companies are configured.", "Choose one with --realm <id>.")
    return settings.qbo_realm_ids


def _open(arguments: argparse.Namespace, address: str) -> None:
    if arguments.open_browser:
        webbrowser.open(address)


def _say(text: str) -> None:
    print(text, flush=True)
