"""`qbo-writer auth`: a person connects a company in a browser (here: an HTTP client), and what must not work does not."""

import argparse
import asyncio
import io
import json
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
import pytest_asyncio
from bookrelay.db import Pool
from bookrelay.errors import BookrelayError, HaltError, SettingsError
from qbo_parts import Company, settings_for
from qbo_writer.operations import auth_cli
from qbo_writer.quickbooks.client import QboClient
from qbo_writer.quickbooks.oauth_client import OAuthClient
from qbo_writer.quickbooks.tokens import TokenStore
from qbo_writer.settings import Settings
from sandbox.stack.processes import free_port


def arguments(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    auth_cli.register(parser.add_subparsers())
    return parser.parse_args(["auth", *words])


async def run(settings: Settings, pool: Pool, *words: str) -> int:
    parsed = arguments(*words)
    return int(await parsed.action(parsed, settings, pool))


class Person:
    """A login that waits, and the address that the person was shown."""

    def __init__(self, task: "asyncio.Task[int]", capsys: pytest.CaptureFixture[str]) -> None:
        self.task, self._capsys, self.said = task, capsys, ""

    async def address(self) -> str:
        async with asyncio.timeout(60):
            while True:
                self.said += self._capsys.readouterr().out
                found = [line for line in self.said.splitlines() if line.startswith("http")]
                if found:
                    return found[0]
                await asyncio.sleep(0.01)

    async def consent(self, company: Company, decision: str = "approve", **more: str) -> httpx.Response:
        """Decide on Intuit's page; returns the redirect, not yet followed."""
        parts = urlsplit(await self.address())
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        params = {**query, "decision": decision, "realm_id": company.realm, **more}
        async with httpx.AsyncClient() as browser:
            answer = await browser.get(parts._replace(query="").geturl(), params=params)
        if answer.status_code != 302:
            async with httpx.AsyncClient() as browser:
                answer = await browser.post(parts._replace(query="").geturl(), params=query, data=params)
        assert answer.status_code == 302, answer.text
        return answer


Start = Callable[..., Person]


@pytest_asyncio.fixture
async def login(company: Company, pool: Pool, capsys: pytest.CaptureFixture[str]) -> AsyncIterator[Start]:
    """Start a login."""
    started: list[Person] = []

    def start(*words: str, **more: Any) -> Person:
        more.setdefault("qbo_redirect_uri", f"http://localhost:{free_port()}/callback")
        settings = settings_for(company, str(pool._connect_args[0]), **more)
        started.append(Person(asyncio.create_task(run(settings, pool, "login", *words)), capsys))
        return started[-1]

    yield start
    for person in started:
        person.task.cancel()


async def follow(answer: httpx.Response) -> httpx.Response:
    async with httpx.AsyncClient() as browser:
        return await browser.get(answer.headers["location"])


async def test_login_connects_the_company(company: Company, pool: Pool, login: Start) -> None:
    person = login()
    page = await follow(await person.consent(company))
    assert page.status_code == 200
    assert await asyncio.wait_for(person.task, 60) == 0
    settings = settings_for(company)
    store = TokenStore(pool, settings, OAuthClient(settings))
    await pool.execute("INSERT INTO qbo_writer.leases VALUES ($1, 'me', 1, now() + interval '1 hour')", company.realm)
    token = await store.current(company.realm, 1)
    client = QboClient(settings)
    assert await client.get(company.realm, f"/companyinfo/{company.realm}", {}, token)
    await client.close()


async def test_foreign_state_is_refused_and_the_login_goes_on(company: Company, pool: Pool, login: Start) -> None:
    person = login()
    forged = await person.consent(company, state="forged")
    assert (await follow(forged)).status_code == 400
    assert not person.task.done()
    assert (await follow(await person.consent(company))).status_code == 200
    assert await asyncio.wait_for(person.task, 60) == 0


async def test_another_company_is_refused_and_nothing_is_stored(company: Company, pool: Pool, login: Start) -> None:
    other, person = company.sandbox.company(), login()
    page = await follow(await person.consent(other))
    assert page.status_code == 400
    assert company.realm in page.text
    assert await pool.fetchval("SELECT count(*) FROM qbo_writer.tokens") == 0
    assert not person.task.done()


async def test_a_denial_is_told(company: Company, login: Start) -> None:
    person = login()
    page = await follow(await person.consent(company, decision="deny"))
    assert "access_denied" in page.text
    assert not person.task.done()


async def test_the_page_is_http_and_no_connection_holds_it_up(company: Company, pool: Pool, login: Start) -> None:
    """Browsers ask for an icon, open connections that they never use, and take either address of localhost."""
    person = login()
    redirect = urlsplit((await person.consent(company)).headers["location"])
    assert redirect.port
    silent, _ = await asyncio.open_connection("127.0.0.1", redirect.port)
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{redirect.port}") as browser:
        assert (await browser.get("/favicon.ico")).status_code == 404
        assert (await browser.post(f"{redirect.path}?{redirect.query}")).status_code == 405
        assert not person.task.done()
        page = await browser.get(f"{redirect.path}?{redirect.query}")
    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    async with asyncio.timeout(8):
        assert await person.task == 0
        assert await silent.read() == b""


async def test_a_login_that_nobody_answers_ends(company: Company, login: Start) -> None:
    person = login("--timeout", "0.3")
    with pytest.raises(BookrelayError, match="in time"):
        await asyncio.wait_for(person.task, 60)


async def test_pasted_address_connects(company: Company, pool: Pool, login: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = socket.socketpair()
    monkeypatch.setattr("sys.stdin", reading.makefile("r"))
    person = login("--paste", qbo_redirect_uri="https://bookrelay.example/callback")
    answer = await person.consent(company)
    writing.sendall((answer.headers["location"] + "\n").encode())
    assert await asyncio.wait_for(person.task, 60) == 0
    assert await pool.fetchval("SELECT state FROM qbo_writer.tokens") == "connected"


async def test_taken_port_names_it(company: Company, login: Start) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(SettingsError, match=str(port)):
            await login(qbo_redirect_uri=f"http://127.0.0.1:{port}/callback").task


@pytest.mark.parametrize("query", ["", "state=right", "state=right&code=x", "state=wrong&code=x&realmId=1", "code=x&realmId=1"])
def test_callback_takes_only_the_whole_answer(query: str) -> None:
    with pytest.raises(BookrelayError):
        auth_cli.callback(query, "right", ("1",))
    assert auth_cli.callback("state=right&code=x&realmId=1", "right", ("1",)) == ("x", "1")


async def test_status_shows_ends_and_no_secrets(company: Company, pool: Pool, capsys: pytest.CaptureFixture[str]) -> None:
    settings = settings_for(company, qbo_realm_ids=f"{company.realm},777")
    store = TokenStore(pool, settings, OAuthClient(settings))
    pair = await OAuthClient(settings).refresh(str(company.told["refresh_token"]))
    await store.connect(company.realm, pair)
    assert await run(settings, pool, "status", "--json") == 1
    out = capsys.readouterr().out
    rows = [json.loads(line) for line in out.splitlines()]
    assert [row["state"] for row in rows] == ["connected", "never_connected"]
    assert rows[0]["hard_expires_at"] > rows[0]["refresh_expires_at"] > rows[0]["access_expires_at"]
    assert pair.access_token not in out
    assert pair.refresh_token not in out
    assert await run(settings_for(company), pool, "status") == 0
    assert "refresh token expires" in capsys.readouterr().out
    await pool.execute("UPDATE qbo_writer.tokens SET refresh_expires_at = now() + interval '3 days'")
    await run(settings_for(company), pool, "status")
    assert "connect again soon" in capsys.readouterr().out


async def test_revoke_ends_the_grant(company: Company, pool: Pool) -> None:
    settings = settings_for(company)
    store = TokenStore(pool, settings, OAuthClient(settings))
    await store.connect(company.realm, await OAuthClient(settings).refresh(str(company.told["refresh_token"])))
    assert await run(settings, pool, "revoke") == 0
    await pool.execute("INSERT INTO qbo_writer.leases VALUES ($1, 'me', 1, now() + interval '1 hour')", company.realm)
    with pytest.raises(HaltError, match="revoked"):
        await TokenStore(pool, settings, OAuthClient(settings)).current(company.realm, 1)
    grants = company.sandbox.control("GET", "tokens")["grants"]
    assert [grant["revoked"] for grant in grants if grant["realm_id"] == company.realm] == [True]


async def test_realm_must_be_configured_and_clear(company: Company, pool: Pool) -> None:
    for realms, words in (("", ["login"]), ("1,2", ["revoke"]), ("1", ["login", "--realm", "9"])):
        settings = settings_for(company, qbo_realm_ids=realms)
        with pytest.raises(SettingsError):
            await run(settings, pool, *words)


def test_auth_alone_is_auth_login() -> None:
    for words in (
        ["--open-browser", "--realm", "7"],
        ["login", "--open-browser", "--realm", "7"],
        ["--realm", "7", "--open-browser", "login"],
    ):
        given = arguments(*words)
        assert (given.action, given.open_browser, given.realm, given.paste, given.timeout) == (
            auth_cli._login,
            True,
            "7",
            False,
            600,
        )
    assert arguments("status").action is auth_cli._status
    assert arguments("revoke", "--realm", "7").realm == "7"
    assert arguments("revoke").realm is None


def test_open_browser_opens_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    monkeypatch.setattr("sys.stdin", io.StringIO())
    auth_cli._open(arguments("login", "--open-browser"), "https://x")
    auth_cli._open(arguments("login"), "https://y")
    assert opened == ["https://x"]
