"""Tokens on real Postgres and the stand-in's OAuth: one refresh, stored before it is used, fenced, survivable."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from bookrelay.db import TRANSIENT_POSTGRES, Pool
from bookrelay.errors import HaltError, SettingsError, TransientError
from cryptography.fernet import Fernet
from qbo_parts import KEY, Company, settings_for
from qbo_writer.domain import AccessToken
from qbo_writer.ledger.lease import LeaseLost
from qbo_writer.quickbooks.client import QboClient
from qbo_writer.quickbooks.oauth_client import OAuthClient
from qbo_writer.quickbooks.tokens import TokenStore


async def take_lease(pool: Pool, realm: str, fencing_token: int = 1) -> None:
    await pool.execute(
        "INSERT INTO qbo_writer.leases VALUES ($1, 'me', $2, now() + interval '1 hour') "
        "ON CONFLICT (realm) DO UPDATE SET fencing_token = excluded.fencing_token",
        realm,
        fencing_token,
    )


def store_for(company: Company, pool: Pool, **more: Any) -> TokenStore:
    settings = settings_for(company, qbo_initial_refresh_token=company.told["refresh_token"], **more)
    return TokenStore(pool, settings, OAuthClient(settings))


def refreshes(company: Company) -> int:
    return int(company.sandbox.control("GET", "counters")["token_refreshes"])


def token_calls(company: Company) -> list[dict[str, Any]]:
    """Every call of the token endpoint, refused ones, too."""
    rows: list[dict[str, Any]] = company.sandbox.control("GET", "requests", operation="token")["requests"]
    return rows


async def works(company: Company, token: AccessToken) -> bool:
    client = QboClient(settings_for(company))
    try:
        await client.get(company.realm, f"/companyinfo/{company.realm}", {}, token)
    finally:
        await client.close()
    return True


async def test_first_pair_comes_from_the_setting_and_is_encrypted(company: Company, pool: Pool) -> None:
    await take_lease(pool, company.realm)
    token = await store_for(company, pool).current(company.realm, 1)
    assert await works(company, token)
    row = await pool.fetchrow("SELECT * FROM qbo_writer.tokens")
    assert token.value not in str(dict(row))
    assert Fernet(KEY).decrypt(row["access_token"].encode()).decode() == token.value
    life = row["access_expires_at"] - datetime.now(UTC)
    assert timedelta(minutes=59) < life <= timedelta(hours=1, seconds=5)
    assert row["hard_expires_at"] - datetime.now(UTC) > timedelta(days=4 * 365)
    assert row["refresh_expires_at"] - datetime.now(UTC) > timedelta(days=90)


async def test_many_ask_one_refresh(company: Company, pool: Pool) -> None:
    await take_lease(pool, company.realm)
    before, store = refreshes(company), store_for(company, pool)
    tokens = await asyncio.gather(*(store.current(company.realm, 1) for _ in range(50)))
    assert len({token.value for token in tokens}) == 1
    assert refreshes(company) == before + 1


async def test_a_restart_uses_the_stored_token(company: Company, pool: Pool) -> None:
    await take_lease(pool, company.realm)
    first, before = await store_for(company, pool).current(company.realm, 1), refreshes(company)
    assert (await store_for(company, pool).current(company.realm, 1)).value == first.value
    assert refreshes(company) == before


async def test_little_life_left_is_refreshed_before_use(company: Company, pool: Pool) -> None:
    await take_lease(pool, company.realm)
    first = await store_for(company, pool).current(company.realm, 1)
    await pool.execute(
        "UPDATE qbo_writer.tokens SET access_expires_at = now() + interval '4 minutes', "
        "refreshed_at = now() - interval '56 minutes'"
    )
    second = await store_for(company, pool).current(company.realm, 1)
    assert second.value != first.value
    assert await works(company, second)


async def test_renew_refreshes_once_for_all_who_were_rejected(company: Company, pool: Pool) -> None:
    await take_lease(pool, company.realm)
    store = store_for(company, pool)
    rejected = await store.current(company.realm, 1)
    company.sandbox.control("POST", "tokens", {"expire_access": True, "realm": company.realm})
    before = refreshes(company)
    tokens = await asyncio.gather(*(store.renew(company.realm, 1, rejected) for _ in range(10)))
    assert refreshes(company) == before + 1
    assert {token.value for token in tokens} == {(await store.current(company.realm, 1)).value}
    assert await works(company, tokens[0])


async def test_a_read_that_was_refused_gives_another_token_next_time(company: Company, pool: Pool) -> None:
    await take_lease(pool, company.realm)
    store = store_for(company, pool)
    first = await store.current(company.realm, 1)
    store.reject(company.realm, first)
    second, third = await store.current(company.realm, 1), await store.current(company.realm, 1)
    assert first.value != second.value == third.value
    store.reject(company.realm, first)  # told late: another one is in use already
    assert (await store.current(company.realm, 1)).value == second.value


async def test_without_the_lease_nothing_is_given_or_stored(company: Company, pool: Pool) -> None:
    await take_lease(pool, company.realm, fencing_token=2)
    with pytest.raises(LeaseLost):
        await store_for(company, pool).current(company.realm, 1)
    assert await pool.fetchval("SELECT count(*) FROM qbo_writer.tokens") == 0


async def test_a_new_lease_is_checked_although_the_token_is_in_memory(company: Company, pool: Pool) -> None:
    await take_lease(pool, company.realm)
    store = store_for(company, pool)
    await store.current(company.realm, 1)
    with pytest.raises(LeaseLost):
        await store.current(company.realm, 7)


@pytest.mark.parametrize("connected", [False, True], ids=["the first", "a later one"])
async def test_lease_lost_while_intuit_answers_keeps_the_pair_in_history(company: Company, pool: Pool, connected: bool) -> None:
    """The paused writer rotated the grant: its successor's token (or the setting's) is dead, and history saves it."""
    await take_lease(pool, company.realm)
    settings = settings_for(company, qbo_initial_refresh_token=company.told["refresh_token"])
    if connected:
        await store_for(company, pool).current(company.realm, 1)
        await pool.execute("UPDATE qbo_writer.tokens SET access_expires_at = now()")
    company.sandbox.control("POST", "clock", {"advance": 90_000})  # the next refresh rotates

    class TakenOver(OAuthClient):
        async def refresh(self, refresh_token: str) -> Any:
            pair = await super().refresh(refresh_token)
            await take_lease(pool, company.realm, 2)
            return pair

    with pytest.raises(LeaseLost):
        await TokenStore(pool, settings, TakenOver(settings)).current(company.realm, 1)
    assert await pool.fetchval("SELECT count(*) FROM qbo_writer.tokens") == int(connected)
    assert await works(company, await store_for(company, pool).current(company.realm, 2))


@pytest.mark.parametrize("connected", [False, True], ids=["the first", "a later one"])
async def test_an_answer_lost_without_rotation_is_survived(company: Company, pool: Pool, connected: bool) -> None:
    await take_lease(pool, company.realm)
    if connected:
        await store_for(company, pool).current(company.realm, 1)
        await pool.execute("UPDATE qbo_writer.tokens SET access_expires_at = now()")
    company.fault("token_answer_lost")
    store = store_for(company, pool)
    with pytest.raises(TransientError):
        await store.current(company.realm, 1)
    assert await works(company, await store.current(company.realm, 1))


async def test_first_answer_lost_after_rotation_is_told_once_and_another_token_heals(company: Company, pool: Pool) -> None:
    """A dead first token is not sent again and again; a new one in the setting is taken, as is a login."""
    await take_lease(pool, company.realm)
    company.sandbox.control("POST", "clock", {"advance": 90_000})
    company.fault("token_answer_lost")
    store = store_for(company, pool)
    with pytest.raises(TransientError):
        await store.current(company.realm, 1)
    with pytest.raises(HaltError, match="refused"):
        await store.current(company.realm, 1)
    asked = len(token_calls(company))
    assert asked >= 2
    for _ in range(3):
        with pytest.raises(HaltError, match="not connected"):
            await store_for(company, pool).current(company.realm, 1)
    assert len(token_calls(company)) == asked
    status = await store.status(company.realm)
    assert status
    assert status.state == "needs_reconnect"
    told = company.sandbox.control("POST", "tokens", {"new": True, "realm": company.realm})
    settings = settings_for(company, qbo_initial_refresh_token=told["refresh_token"])
    healed = await TokenStore(pool, settings, OAuthClient(settings)).current(company.realm, 1)
    assert await works(company, healed)


@pytest.mark.parametrize("holds_on", [True, False])
async def test_a_pair_that_postgres_does_not_take_is_kept_until_it_does(company: Company, pool: Pool, holds_on: bool) -> None:
    """The grant was rotated, Postgres is away for longer than the retries: not a person's work, whoever holds the lease then."""
    await take_lease(pool, company.realm)
    store = store_for(company, pool)
    await store.current(company.realm, 1)
    company.sandbox.control("POST", "clock", {"advance": 90_000})
    await pool.execute("UPDATE qbo_writer.tokens SET access_expires_at = now()")
    settings = settings_for(company)

    class Away(OAuthClient):
        async def refresh(self, refresh_token: str) -> Any:
            pair = await super().refresh(refresh_token)
            await pool.execute("ALTER TABLE qbo_writer.token_history RENAME TO away")
            return pair

    store = TokenStore(pool, settings, Away(settings))
    with pytest.raises(TRANSIENT_POSTGRES):
        await store.current(company.realm, 1)
    await pool.execute("ALTER TABLE qbo_writer.away RENAME TO token_history")
    if holds_on:
        before = refreshes(company)
        assert await works(company, await store.current(company.realm, 1))
        assert refreshes(company) == before
    else:
        await take_lease(pool, company.realm, 2)
        await store.rescue(company.realm)
        assert await works(company, await store_for(company, pool).current(company.realm, 2))


async def test_lost_answer_after_rotation_is_told(company: Company, pool: Pool) -> None:
    """Nobody has the new value: only a person can connect again, and is told so."""
    await take_lease(pool, company.realm)
    store = store_for(company, pool)
    await store.current(company.realm, 1)
    company.sandbox.control("POST", "clock", {"advance": 90_000})
    await pool.execute("UPDATE qbo_writer.tokens SET access_expires_at = now()")
    company.fault("token_answer_lost")
    store = store_for(company, pool)
    with pytest.raises(TransientError):
        await store.current(company.realm, 1)
    with pytest.raises(HaltError, match="refused"):
        await store.current(company.realm, 1)
    status = await store.status(company.realm)
    assert status
    assert status.state == "needs_reconnect"
    with pytest.raises(HaltError, match="not connected"):
        await store.current(company.realm, 1)


async def test_revoked_grant_halts_and_reconnecting_heals(company: Company, pool: Pool) -> None:
    await take_lease(pool, company.realm)
    store = store_for(company, pool)
    await store.current(company.realm, 1)
    company.sandbox.control("POST", "tokens", {"revoke": True, "realm": company.realm})
    with pytest.raises(HaltError) as halted:
        await store.renew(company.realm, 1, await store.current(company.realm, 1))
    assert "qbo-writer auth login" in halted.value.fix
    told = company.sandbox.control("POST", "tokens", {"new": True, "realm": company.realm})
    settings = settings_for(company)
    await store.connect(company.realm, await OAuthClient(settings).refresh(told["refresh_token"]))
    assert await works(company, await store.current(company.realm, 1))


async def test_intuit_away_is_transient_and_the_grant_lives_on(company: Company, pool: Pool) -> None:
    await take_lease(pool, company.realm)
    company.fault("token_server_error", status=503)
    store = store_for(company, pool)
    with pytest.raises(TransientError):
        await store.current(company.realm, 1)
    assert await works(company, await store.current(company.realm, 1))


async def test_wrong_client_secret_halts_but_does_not_end_the_grant(company: Company, pool: Pool) -> None:
    await take_lease(pool, company.realm)
    await store_for(company, pool).current(company.realm, 1)
    await pool.execute("UPDATE qbo_writer.tokens SET access_expires_at = now()")
    with pytest.raises(HaltError, match="client id or secret"):
        await store_for(company, pool, qbo_client_secret="wrong").current(company.realm, 1)
    assert await works(company, await store_for(company, pool).current(company.realm, 1))


async def test_key_rotation_encrypts_anew_lazily(company: Company, pool: Pool) -> None:
    await take_lease(pool, company.realm)
    first = await store_for(company, pool).current(company.realm, 1)
    new = Fernet.generate_key().decode()
    with pytest.raises(HaltError, match="decrypted"):
        await store_for(company, pool, qbo_token_encryption_keys=new).current(company.realm, 1)
    both = await store_for(company, pool, qbo_token_encryption_keys=f"{new}, {KEY}").current(company.realm, 1)
    alone = await store_for(company, pool, qbo_token_encryption_keys=new).current(company.realm, 1)
    assert first.value == both.value == alone.value


async def test_never_connected_company_halts_with_the_remedy(company: Company, pool: Pool) -> None:
    await take_lease(pool, company.realm)
    settings = settings_for(company)
    with pytest.raises(HaltError) as halted:
        await TokenStore(pool, settings, OAuthClient(settings)).current(company.realm, 1)
    assert "auth login" in halted.value.fix


def test_a_missing_key_is_told_at_start(company: Company) -> None:
    settings = settings_for(company, qbo_token_encryption_keys="")
    with pytest.raises(SettingsError, match="QBO_TOKEN_ENCRYPTION_KEYS"):
        TokenStore(None, settings, OAuthClient(settings))
