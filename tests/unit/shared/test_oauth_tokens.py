"""Tokens for SASL/OAUTHBEARER come from a real HTTP endpoint: fetched once, renewed in time, and not asked for in a storm."""

import asyncio
import time
from collections.abc import Callable, Iterator

import pytest
from bookrelay import oauth_tokens
from bookrelay.oauth_tokens import ClientCredentials, TokenError, Tokens
from secured import CLIENT, CLIENT_SECRET, TokenEndpoint


@pytest.fixture
def endpoint() -> Iterator[TokenEndpoint]:
    made = TokenEndpoint()
    yield made
    made.close()


def tokens_of(endpoint: TokenEndpoint, secret: str = CLIENT_SECRET, clock: Callable[[], float] = time.monotonic) -> Tokens:
    return Tokens(ClientCredentials(endpoint.url, CLIENT, secret), clock)


async def test_clients_of_a_process_share_one_token(endpoint: TokenEndpoint) -> None:
    tokens = tokens_of(endpoint)
    assert len(set(await asyncio.gather(*(tokens.token() for _ in range(20))))) == 1
    assert endpoint.asked == 1


async def test_a_token_is_renewed_before_it_ends(endpoint: TokenEndpoint) -> None:
    clock = [1000.0]
    endpoint.life, tokens = 100, tokens_of(endpoint, clock=lambda: clock[0])
    await tokens.token()
    clock[0] += 79
    await tokens.token()
    assert endpoint.asked == 1
    clock[0] += 2
    await tokens.token()
    assert endpoint.asked == 2


async def test_while_a_renewal_fails_the_living_token_serves(endpoint: TokenEndpoint) -> None:
    clock = [1000.0]
    endpoint.life, tokens = 100, tokens_of(endpoint, clock=lambda: clock[0])
    first = await tokens.token()
    endpoint.broken = True
    clock[0] += 90
    assert [await tokens.token() for _ in range(50)] == [first] * 50
    assert endpoint.asked == 2  # clients reconnect many times a second; the endpoint is not asked at each of them
    clock[0] += 11
    with pytest.raises(TokenError, match="answers 503 without a token"):
        await tokens.token()
    endpoint.broken = False
    clock[0] += oauth_tokens.AGAIN_SECONDS
    assert await tokens.token()


async def test_a_refusal_has_the_endpoint_s_words_and_not_the_secret(endpoint: TokenEndpoint) -> None:
    with pytest.raises(TokenError, match="answers 401 invalid_client: Client authentication failed") as caught:
        await tokens_of(endpoint, "wrong-secret").token()
    assert "wrong-secret" not in str(caught.value)
    assert "wrong-secret" not in repr(ClientCredentials(endpoint.url, CLIENT, "wrong-secret"))


async def test_an_endpoint_that_is_away_is_named() -> None:
    with pytest.raises(TokenError, match=r"the token endpoint http://127\.0\.0\.1:1/token does not answer"):
        await Tokens(ClientCredentials("http://127.0.0.1:1/token", CLIENT, CLIENT_SECRET)).token()
