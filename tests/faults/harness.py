"""The stage of the fault tests: lanes (broker, database, QuickBooks stand-in) with writers as processes of their own.

Waits are shrunk by the writer's settings and, by the same factor, by what the stand-in may do: no clock is patched.
"""

import asyncio
import base64
import contextlib
import itertools
import json
import os
import secrets
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import asyncpg
import httpx
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError
from bookrelay import topics
from bookrelay.messages import UPSERTS, BillContent, Command, Kind
from document_kinds import ENTITY
from sandbox.stack.postgres import Postgres
from sandbox.stack.processes import ManagedProcess, free_port
from sandbox.stack.stack import Stack

from .oracle import Verdict, expected, judge
from .workload import Key

ROOT = Path(__file__).resolve().parents[2]
TOPICS = [(topic.name, topic.partitions, topic.config()) for topic in topics.all_topics()]

# B, X, S, W in seconds, and the lease. The stand-in keeps them: tokens of B, late deliveries and staleness within X and S.
# FAULTS_SCALE stretches all of them, for a machine that is busy with other things.
SCALE = float(os.environ.get("FAULTS_SCALE", "1"))
B, X, S, W, LEASE = 5.0 * SCALE, 2.0 * SCALE, 1.0 * SCALE, 12.0 * SCALE, 1.5 * SCALE
LATE = 0.8 * SCALE  # when a late delivery takes effect; with what a busy machine adds it stays within X
READY = 120.0  # seconds until a writer must be ready: a busy machine takes long to start a process
TIGHT = {
    "PROTOCOL_TOKEN_LIFE_SECONDS": str(B), "PROTOCOL_TRANSIT_SECONDS": str(X), "PROTOCOL_STALENESS_SECONDS": str(S),
    "PROTOCOL_RESEND_WINDOW_SECONDS": str(W), "PROTOCOL_RESEND_WINDOW_PROVEN_SECONDS": str(4 * SCALE),
    "LEASE_SECONDS": str(LEASE), "LEASE_RENEW_SECONDS": str(0.4 * SCALE), "QBO_REQUEST_TIMEOUT_SECONDS": str(1.2 * SCALE),
    "PACE_REQUESTS_PER_MINUTE": "100000", "PACE_REQUESTS_PER_SECOND": "1000", "PACE_BATCHES_PER_MINUTE": "0",
    "PACE_MARGIN_SECONDS": "0", "PACE_THROTTLE_WAIT_SECONDS": "0.3", "FEED_SECONDS": "3", "PROBE_SECONDS": "86400",
    "TOKEN_REFRESH_BEFORE_SECONDS": "1", "DATABASE_POOL_SIZE": "4", "LOG_LEVEL": "INFO", "SHUTDOWN_SECONDS": "5",
}  # fmt: skip
BATCHES = {"BATCH_THRESHOLD": "3", "PACE_BATCH_ITEMS": "4", "PACE_BATCHES_PER_MINUTE": "60000"}
POLICY = """
unusable_number = "derive"
paid_by_us = "unpay"
[defaults]
item = { id = "1" }
account = { name = "Uncategorized Expense" }
bank_account = { name = "Checking" }
[items]
procedure = { id = "1010000021" }
supply = { id = "66" }
facility = { id = "65" }
"""
ENDS = {
    **{upsert.TYPE.replace("upsert", "posted"): "posted" for upsert in UPSERTS},
    "bookrelay.bill-payment.posted.v1": "posted", "bookrelay.document.unchanged.v1": "unchanged",
    "bookrelay.document.retracted.v1": "retracted", "bookrelay.document.rejected.v1": "rejected",
    "bookrelay.document.skipped.v1": "skipped", "bookrelay.document.held.v1": "held",
    "bookrelay.document.superseded.v1": "superseded", "bookrelay.command.dead-lettered.v1": "dead-lettered",
}  # fmt: skip

BUGS = (
    "TypeError",
    "AttributeError",
    "KeyError",
    "IndexError",
    "NameError",
    "AssertionError",
    "NoSuchTransition",
    "UndefinedColumn",
)


class TookTooLong(AssertionError):  # noqa: N818
    """A condition did not come true before its deadline."""


async def until(condition: Callable[[], Awaitable[Any]], what: str, seconds: float, every: float = 0.1) -> Any:
    """Wait until `condition` returns something true; raise TookTooLong that names it otherwise."""
    deadline = time.monotonic() + seconds
    while True:
        if result := await condition():
            return result
        if time.monotonic() > deadline:
            raise TookTooLong(f"{what}: not within {seconds:.0f} s")
        await asyncio.sleep(every)


@dataclass
class Company:
    """A company of the stand-in."""

    realm: str
    refresh_token: str = field(repr=False)
    pays: bool = False  # its bills are paid as soon as they are posted; a payment is removed before its bill changes


@dataclass
class Events:
    """What the events topic told so far."""

    ends: dict[str, dict[str, tuple[str, dict[str, Any]]]] = field(default_factory=lambda: defaultdict(dict))
    # (realm, source key) -> event id -> end: a payment's command is the writer's own
    payments: dict[tuple[str, str], dict[str, str]] = field(default_factory=lambda: defaultdict(dict))

    realms: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))  # "halted", "resumed", in order
    _heard: set[str] = field(default_factory=set)  # events of companies: what is told twice is one

    def hear(self, value: bytes) -> None:
        """Take one record."""
        message = json.loads(value)
        if str(message.get("type", "")).startswith("bookrelay.realm.") and message["id"] not in self._heard:
            self._heard.add(message["id"])
            self.realms[message["data"]["realm"]].append(message["type"].split(".")[2])
        if (end := ENDS.get(message["type"])) and (command := message["data"].get("command_id")):
            data = message["data"]
            self.ends[command][message["id"]] = (end, data)
            if data.get("kind") == Kind.BILL_PAYMENT.value:
                self.payments[data["realm"], data["source_key"]][message["id"]] = end

    def ended(self, commands: Iterable[Command]) -> bool:
        """Whether every command has an end."""
        return all(str(c.id) in self.ends for c in commands)

    def names(self, command: Command) -> list[str]:
        """Return the ends of a command, one for each event."""
        return [end for end, _ in self.ends.get(str(command.id), {}).values()]


class Writer:
    """One writer process."""

    def __init__(self, lane: "Lane", process: ManagedProcess, port: int) -> None:
        self.lane, self.process, self.port = lane, process, port

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self.process.running

    async def answers(self, seconds: float = 0.7) -> bool:
        """Whether its event loop is alive. Another status than 200 counts: it answers."""
        with contextlib.suppress(httpx.HTTPError):
            await self.lane.http.get(f"http://127.0.0.1:{self.port}/health/live", timeout=seconds)
            return True
        return False

    async def ready(self) -> bool:
        """Whether it has everything that it waits for."""
        with contextlib.suppress(httpx.HTTPError):
            return (await self.lane.http.get(f"http://127.0.0.1:{self.port}/health/ready", timeout=2)).status_code == 200
        return False

    def log(self) -> str:
        """What it wrote."""
        try:
            return self.process.log_path.read_text(errors="replace")
        except OSError:
            return ""

    def defects(self) -> list[str]:
        """Return log lines of errors that are bugs: none of them may come of a crash or of what QuickBooks does."""
        return [line for line in self.log().splitlines() if '"level": "error"' in line and any(bug in line for bug in BUGS)]

    async def stop(self) -> None:
        """End it gracefully."""
        await self.process.stop(within=8)


HONEST = {
    "ignore_requestid": False, "requestid_seconds": None, "remember_errors": False, "requestid_race": 0.0,
    "requestid_busy": False, "requestid_other_body": "replay", "stale_seconds": 0.0,
}  # fmt: skip


class Lane:
    """A broker, a database and a QuickBooks stand-in; cases run in it one after another, each with companies of its own."""

    def __init__(self, number: int, directory: Path, database_url: str, *, seed: int, limits: bool = False) -> None:
        self.number, self.directory, self.seed, self.limits = number, directory, seed, limits
        self.stack = Stack(directory=directory, database_url=database_url, topics=TOPICS)
        self.http = httpx.AsyncClient(timeout=30, trust_env=False, limits=httpx.Limits(max_keepalive_connections=20))
        self.events = Events()
        self.qbo: dict[str, Any] = {}
        self._names, self._realms = itertools.count(1), itertools.count(1)
        self._key = base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()
        self._listener: asyncio.Task[None] | None = None
        self.base: dict[str, str] = dict(TIGHT)

    # -------------------------------------------------------------------------------------------------------------- life

    async def start(self) -> None:
        """Start what the writers need."""
        await self.stack.__aenter__()
        (self.directory / "policy.toml").write_text(POLICY)
        options = [] if self.limits else ["--no-limits"]
        standin = await self.stack.supervisor.start(
            "qbo", [sys.executable, "-m", "sandbox.qbo", "--port", "0", "--seed", str(self.seed), *options],
            first_line=True, restart=False,
        )  # fmt: skip
        self.qbo = standin.first
        await self.control("POST", "tokens", {"access_seconds": B})
        self.producer = AIOKafkaProducer(bootstrap_servers=self.stack.bootstrap_servers, acks="all")
        await self.producer.start()
        self.pool = await asyncpg.create_pool(self.stack.database_url, min_size=1, max_size=4)
        self._listener = asyncio.create_task(self._listen())

    async def stop(self) -> None:
        """Stop everything of this lane."""
        if self._listener:
            self._listener.cancel()
            await asyncio.wait([self._listener])
        with contextlib.suppress(Exception):
            await self.producer.stop()
        with contextlib.suppress(Exception):
            await asyncio.wait_for(self.pool.close(), 5)
        await self.http.aclose()
        await self.stack.stop()

    async def listen_again(self) -> None:
        """Read the events topic from its beginning: the broker has lost it."""
        if self._listener:
            self._listener.cancel()
            await asyncio.wait([self._listener])
        self._listener = asyncio.create_task(self._listen())

    async def _listen(self) -> None:
        """Read the events topic from its beginning, for ever."""
        while True:
            consumer = AIOKafkaConsumer(bootstrap_servers=self.stack.bootstrap_servers, enable_auto_commit=False)
            try:
                await consumer.start()
                partitions = [TopicPartition(topics.EVENTS.name, p) for p in range(topics.EVENTS.partitions)]
                consumer.assign(partitions)
                await consumer.seek_to_beginning(*partitions)
                async for record in consumer:
                    self.events.hear(record.value or b"{}")
            except KafkaError:
                await asyncio.sleep(0.2)
            finally:
                with contextlib.suppress(Exception):
                    await consumer.stop()

    # -------------------------------------------------------------------------------------------------------- QuickBooks

    async def control(self, method: str, path: str, body: Any = None) -> Any:
        """Call the stand-in's control API."""
        response = await self.http.request(method, f"{self.qbo['control_url']}/{path}", json=body)
        if response.is_error:
            raise AssertionError(f"{method} {path} answered {response.status_code}: {response.text[:500]}")
        return json.loads(response.text, parse_float=Decimal) if response.content else None

    async def company(self, *, numbers_checked: bool = False, pays: bool = False) -> Company:
        """Make a company. Its check of document numbers is off: it would hide a double."""
        realm = f"93414{self.number % 100:02d}{next(self._realms):09d}"
        made = await self.control("POST", "companies", {"realm_id": realm})
        warn = {"WarnDuplicateInvoiceNumber": numbers_checked, "WarnDuplicateBillNumber": numbers_checked}
        await self.control("POST", "preferences", {"realm": realm, "warnings": warn})
        company = Company(realm, made["refresh_token"], pays)
        await self._connect(company)
        return company

    async def _connect(self, company: Company) -> None:
        """Store the refresh token as `auth login` would; the access token has ended, so that the writer refreshes at once."""
        from qbo_writer.quickbooks.oauth_client import OAuthClient, TokenPair
        from qbo_writer.quickbooks.tokens import TokenStore
        from qbo_writer.settings import Settings

        settings = Settings.load({**self.environment(), "QBO_REALM_IDS": company.realm})
        pair = TokenPair("ended", 0, company.refresh_token, 8_640_000)
        await TokenStore(self.pool, settings, OAuthClient(settings)).connect(company.realm, pair)

    async def faults(self, company: Company | None, *rules: Mapping[str, Any]) -> None:
        """Add fault rules, for one company's calls (None: for all, token calls included)."""
        mine = {"realm": company.realm} if company else {}
        specs = [{**rule, "match": {**mine, **rule.get("match", {})}} for rule in rules]
        await self.control("POST", "faults", {"rules": specs})

    async def honest(self) -> None:
        """Let the stand-in behave again: what a run before has left (fault rules, modes) must not judge the next one."""
        await self.control("DELETE", "faults")
        await self.control("POST", "modes", HONEST)

    async def books(self, company: Company) -> dict[str, Any]:
        """Return all documents of a company."""
        return dict(await self.control("GET", f"books?realm={company.realm}"))

    async def find(self, company: Company, name: str, entity: str = "Invoice") -> dict[str, Any] | None:
        """Return the document in force whose lines carry this key's name."""
        from .oracle import live

        kinds = {called: kind.value for kind, called in ENTITY.items()}
        rows = live(await self.books(company))
        found = [d for (kind, n), documents in rows.items() if n == name and kind.value == kinds[entity] for d in documents]
        return dict(found[0]) if found else None

    async def person(self, company: Company, operation: str, entity: str, id_: str, changes: Any = None) -> Any:
        """A person works in QuickBooks."""
        body = {"realm": company.realm, "operation": operation, "entity": entity, "Id": id_, "changes": changes or {}}
        return await self.control("POST", "person", body)

    async def requests(self, company: Company) -> list[dict[str, Any]]:
        """Return the stand-in's request log of a company."""
        answer = await self.control("GET", f"requests?realm={company.realm}")
        return list(answer["requests"])

    # ------------------------------------------------------------------------------------------------------------ writers

    def environment(self) -> dict[str, str]:
        """Return the settings of a writer of this lane, without its companies."""
        return {
            "DATABASE_URL": self.stack.database_url, "KAFKA_BOOTSTRAP_SERVERS": self.stack.bootstrap_servers,
            "QBO_BASE_URL": self.qbo["base_url"], "QBO_TOKEN_URL": self.qbo["token_url"],
            "QBO_REVOKE_URL": self.qbo["revoke_url"], "QBO_AUTHORIZE_URL": self.qbo["authorize_url"],
            "QBO_CLIENT_ID": self.qbo["client_id"], "QBO_CLIENT_SECRET": self.qbo["client_secret"],
            "QBO_TOKEN_ENCRYPTION_KEYS": self._key, "COMPANY_POLICY_FILE": str(self.directory / "policy.toml"), **self.base,
        }  # fmt: skip

    async def writer(
        self, companies: Sequence[Company], environment: Mapping[str, str] | None = None, *, name: str = "",
        restart: bool = False, wait: bool = True, defect: str | None = None,
    ) -> Writer:  # fmt: skip
        """Start a writer. `defect`: the deliberately broken one. `restart`: started again whenever it goes."""
        port, name = free_port(), name or f"writer-{next(self._names)}"
        command = [sys.executable, "-m", "tests.faults.writer_process", defect or "none"]
        own = {
            **self.environment(), "QBO_REALM_IDS": ",".join(c.realm for c in companies), "HTTP_PORT": str(port),
            "QB_AUTO_MARK_BILL_PAID": str(any(c.pays for c in companies)).lower(),
            "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH")))), **(environment or {}),
        }  # fmt: skip
        process = await self.stack.supervisor.start(
            name, command, env=own, ready_url=f"http://127.0.0.1:{port}/health/ready", restart=restart,
            ready_within=READY if wait else None,
        )  # fmt: skip
        return Writer(self, process, port)

    # ------------------------------------------------------------------------------------------------------------ commands

    async def publish(self, commands: Iterable[Command]) -> None:
        """Publish as a source does: keyed by document, acknowledged."""
        sent = [await self.producer.send(topics.COMMANDS.name, c.encode(), key=c.key()) for c in commands]
        if sent:
            await asyncio.gather(*sent)

    async def recorded(self, commands: Iterable[Command]) -> bool:
        """Whether the ledger has all of them."""
        ids = {c.id for c in commands}
        count = await self.pool.fetchval("SELECT count(*) FROM qbo_writer.commands WHERE id = ANY($1::uuid[])", list(ids))
        return bool(count == len(ids))

    async def settled(self, commands: Sequence[Command], seconds: float = 60, also: Callable[[], None] | None = None) -> None:
        """Wait until every command has been told an end and no attempt is open."""
        realms = list({c.data.realm for c in commands})

        async def done() -> bool:
            if also:
                also()
            if not self.events.ended(commands):
                return False
            open_ = await self.pool.fetchval(
                # Commands are also those of names and payments, which only the writer knows; their ends are told, too.
                "SELECT (SELECT count(*) FROM qbo_writer.attempts WHERE realm = ANY($1::text[]) AND state <> 'resolved' "
                "AND NOT stuck) + (SELECT count(*) FROM qbo_writer.commands WHERE realm = ANY($1::text[]) "
                "AND state IN ('received', 'due')) + (SELECT count(*) FROM qbo_writer.outbox WHERE published_at IS NULL)",
                realms,
            )
            return bool(open_ == 0)

        try:
            await until(done, "every command told, every attempt resolved", seconds, every=0.15)
        except TookTooLong as error:
            raise TookTooLong(f"{error}; {await self.open_ones(commands)}") from None

    async def open_ones(self, commands: Sequence[Command]) -> str:
        """Say what has not ended, for a failure's message."""
        missing = [c for c in commands if str(c.id) not in self.events.ends]
        rows = await self.pool.fetch(
            "SELECT c.id, c.state, c.due_at, c.failures, a.state AS attempt, a.operation, a.ambiguous, a.lost, a.due_at AS look "
            "FROM qbo_writer.commands c LEFT JOIN qbo_writer.attempts a "
            "ON a.document_id = c.document_id AND a.state <> 'resolved' WHERE c.id = ANY($1::uuid[]) LIMIT 5",
            [c.id for c in missing],
        )
        companies = await self.pool.fetch(
            "SELECT r.realm, r.halted_code, r.halted_reason, r.halted_since, l.holder, l.expires_at - clock_timestamp() AS lease "
            "FROM qbo_writer.realms r LEFT JOIN qbo_writer.leases l USING (realm) WHERE r.realm = ANY($1::text[])",
            list({c.data.realm for c in missing}),
        )
        return f"{len(missing)} without an end, of {[dict(r) for r in companies]}, e.g. {[dict(r) for r in rows]}"

    async def judge(
        self, company: Company, commands: Sequence[Command], *, frozen: Mapping[Any, Any] | None = None,
        reheld: bool = False,
    ) -> Verdict:  # fmt: skip
        """Compare books and ends with what must be."""
        mine = {c.id: c for c in commands if c.data.realm == company.realm}
        books = await self.books(company)
        verdict = judge(company.realm, [c for c in commands if c.data.realm == company.realm], books, frozen, pays=company.pays)
        verdict += self._payments_told(company, commands)
        for command in mine.values():
            ends = self.events.names(command)
            verdict.held += "held" in ends
            if not ends:
                verdict.lost += 1
                verdict.problems.append(f"{company.realm} {command.data.source_key} v{command.data.version}: no end was told")
            elif len(ends) > 1 and not reheld:
                verdict.wrong_ends += 1
                verdict.problems.append(f"{company.realm} {command.data.source_key} v{command.data.version}: told {ends}")
            elif _key(command) not in (frozen or {}) and set(ends) & {"held", "rejected", "dead-lettered", "skipped"}:
                verdict.wrong_ends += 1
                why = [d.get("reason") for _, d in self.events.ends[str(command.id)].values()]
                verdict.problems.append(f"{company.realm} {command.data.source_key} v{command.data.version}: {ends}: {why}")
        return verdict

    async def at_rest(self, company: Company) -> bool:
        """Whether nothing is due for it and no attempt is open: payments of bills included."""
        return bool(
            await self.pool.fetchval(
                "SELECT NOT EXISTS (SELECT 1 FROM qbo_writer.commands WHERE realm = $1 AND state IN ('due', 'received')) "
                "AND NOT EXISTS (SELECT 1 FROM qbo_writer.attempts WHERE realm = $1 AND state <> 'resolved')",
                company.realm,
            )
        )

    def _payments_told(self, company: Company, commands: Sequence[Command]) -> Verdict:
        """Of each bill's payment was told: posted, retracted, posted, ...; at last posted where the bill is in force."""
        verdict = Verdict()
        told = {key: list(ends.values()) for (realm, key), ends in self.events.payments.items() if realm == company.realm}
        mine = expected(c for c in commands if c.data.realm == company.realm) if company.pays else {}
        wanted = {key.name for key, content in mine.items() if isinstance(content, BillContent)}
        for key in sorted(wanted | set(told)):
            found = [end for end in told.get(key, []) if end not in ("superseded", "unchanged")]
            right = ["posted", "retracted"] * len(found)
            if found != right[: len(found)] or (len(found) % 2 == 1) != (key in wanted):
                verdict.wrong_ends += 1
                paid = "paid" if key in wanted else "not paid"
                verdict.problems.append(f"{company.realm} {key}: must be {paid}, of its payment was told {told.get(key)}")
        return verdict


def _key(command: Command) -> Key:
    data = command.data
    return Key(data.realm, data.source_key, data.kind)  # type: ignore[arg-type]


class Stage:
    """One Postgres with a migrated template, and lanes on it."""

    def __init__(self, directory: Path, *, postgres_settings: tuple[str, ...] = ()) -> None:
        self.directory = directory
        self.postgres = Postgres(directory / "postgres", ephemeral=True, settings=postgres_settings)
        self.lanes: list[Lane] = []
        self._opening = asyncio.Lock()

    async def start(self) -> None:
        """Start Postgres and migrate the template."""
        from bookrelay_deploy.migrating import migrate

        await asyncio.to_thread(self.postgres.initialise)
        self.postgres.spawn()
        await asyncio.to_thread(self.postgres.wait_ready)
        await self._execute("CREATE DATABASE template_bookrelay STRATEGY FILE_COPY")
        await migrate(self.postgres.url_of("template_bookrelay"), ["qbo_writer"])

    async def _execute(self, statement: str) -> None:
        connection = await asyncpg.connect(self.postgres.url)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    async def lane(self, *, seed: int = 1, limits: bool = False) -> Lane:
        """Start another lane."""
        async with self._opening:  # a template can be copied by one at a time
            return await self._open(len(self.lanes) + 1, seed, limits)

    async def _open(self, number: int, seed: int, limits: bool) -> Lane:
        await self._execute(f"CREATE DATABASE lane_{number} TEMPLATE template_bookrelay STRATEGY FILE_COPY")
        directory = self.directory / f"lane-{number}"
        directory.mkdir()
        directory.chmod(0o755)
        lane = Lane(number, directory, self.postgres.url_of(f"lane_{number}"), seed=seed, limits=limits)
        self.lanes.append(lane)
        await lane.start()
        return lane

    async def stop(self) -> None:
        """Stop the lanes, then Postgres."""
        await asyncio.gather(*(lane.stop() for lane in self.lanes), return_exceptions=True)
        await asyncio.to_thread(self.postgres.stop)


def _directory(keep: Path | None) -> Path:
    """Return a directory of this run that Postgres's own user may enter."""
    if keep:
        keep.mkdir(parents=True, exist_ok=True)
        keep.chmod(0o755)
    directory = Path(tempfile.mkdtemp(prefix="bookrelay-faults-", dir=keep))
    directory.chmod(0o755)
    return directory


@asynccontextmanager
async def stage(keep: Path | None = None, *, postgres_settings: tuple[str, ...] = ()) -> AsyncIterator[Stage]:
    """Open a stage in a temporary directory (`keep`: there, for its logs)."""
    import shutil

    directory = _directory(keep)
    one = Stage(directory, postgres_settings=postgres_settings)
    try:
        await one.start()
        yield one
    finally:
        await one.stop()
        if keep is None:
            shutil.rmtree(directory, ignore_errors=True)
