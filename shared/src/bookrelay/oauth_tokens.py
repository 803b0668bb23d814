"""Access tokens for Kafka's SASL/OAUTHBEARER: fetched with client credentials, cached, renewed before they expire."""

import asyncio
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import httpx
from aiokafka.abc import AbstractTokenProvider
from aiokafka.errors import KafkaError

USED_SHARE = 0.8  # of a token's lifetime, after which it is renewed, as Kafka's own clients do
AGAIN_SECONDS = 3.0  # between requests to a failing token endpoint: clients reconnect many times a second
TIMEOUT_SECONDS = 10.0


# aiokafka retries after a KafkaError or an OSError; any other error would end its client.
class TokenError(KafkaError):  # type: ignore[misc]
    """No token could be obtained; the text says why, without the client secret."""


class TokenRefusedError(KafkaError):  # type: ignore[misc]
    """The broker does not accept the token."""


@dataclass(frozen=True)
class ClientCredentials:
    """Client credentials for the token endpoint (RFC 6749, 4.4). `extensions` go to the broker with the token (RFC 7628)."""

    url: str
    client_id: str
    client_secret: str = field(repr=False)
    scope: str = ""
    extensions: Mapping[str, str] = field(default_factory=dict)


class Tokens(AbstractTokenProvider):  # type: ignore[misc]
    """Provides a valid token, shared by the clients of a process. Concurrent callers cause one request to the endpoint."""

    def __init__(self, credentials: ClientCredentials, clock: Callable[[], float] = time.monotonic) -> None:
        self._credentials, self._clock = credentials, clock
        self._ssl = httpx.create_ssl_context()  # reads the CA file once, not at each renewal
        self._token = ""
        self._renew_at = self._ends_at = 0.0  # by the clock
        self._failure: TokenError | None = None
        self._failed_at = 0.0
        self._lock = asyncio.Lock()

    async def token(self) -> str:
        """Return a token; raises TokenError. While renewal fails, the current token is returned until it expires."""
        async with self._lock:
            now = self._clock()
            if now < self._renew_at:
                return self._token
            if self._failure is None or now - self._failed_at >= AGAIN_SECONDS:
                self._failure = None
                try:
                    await self._fetch()
                except TokenError as error:
                    self._failure, self._failed_at = error, self._clock()
            if self._failure and self._clock() >= self._ends_at:
                raise TokenError(*self._failure.args)
            return self._token

    def extensions(self) -> dict[str, str]:
        """Return the SASL extensions sent with the token, like Confluent Cloud's logicalCluster."""
        return dict(self._credentials.extensions)

    async def _fetch(self) -> None:
        asked = self._credentials
        form = {"grant_type": "client_credentials"} | ({"scope": asked.scope} if asked.scope else {})
        began = self._clock()
        try:
            async with httpx.AsyncClient(verify=self._ssl, timeout=TIMEOUT_SECONDS) as http:
                answer = await http.post(asked.url, data=form, auth=(asked.client_id, asked.client_secret))
        except httpx.HTTPError as error:
            raise TokenError(f"the token endpoint {asked.url} does not answer ({_brief(error)})") from None
        try:
            told = json.loads(answer.content, parse_float=str)
        except ValueError:
            told = {}
        told = told if isinstance(told, dict) else {}
        token = told.get("access_token")
        if answer.status_code != 200 or not isinstance(token, str) or not token:
            reason = ": ".join(str(told[name])[:200] for name in ("error", "error_description") if told.get(name))
            raise TokenError(
                f"the token endpoint {asked.url} answers {answer.status_code} {reason or 'without a token'}".rstrip()
            )
        life = _seconds(told.get("expires_in"))
        self._token, self._renew_at, self._ends_at = token, began + USED_SHARE * life, began + life


def _seconds(told: object) -> float:
    """Return a token's lifetime; 0 if the endpoint does not state it, so that each connection requests a new one."""
    try:
        return max(0.0, float(str(told)))
    except ValueError:
        return 0.0


def _brief(error: httpx.HTTPError) -> str:
    if isinstance(error, httpx.TimeoutException):
        return "no answer in time"
    return (str(error).splitlines() or [""])[0][:200] or type(error).__name__
