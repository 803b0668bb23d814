"""Assembles the parts of a writer: the service and the commands build the same."""

import asyncio
from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta

from bookrelay import metrics
from bookrelay.db import Pool
from bookrelay.kafka import Publisher

from qbo_writer import kinds
from qbo_writer.crashpoints import Place, reach
from qbo_writer.domain import LedgerKind
from qbo_writer.ledger.lease import Leases
from qbo_writer.ledger.ledger import Ledger
from qbo_writer.policy import Policy
from qbo_writer.policy_watching import PolicyFile
from qbo_writer.protocol.deciding import Rules
from qbo_writer.protocol.parts import Parts, Wakes
from qbo_writer.protocol.posting import Poster
from qbo_writer.protocol.settling import Links
from qbo_writer.protocol.transitions import Waits
from qbo_writer.protocol.turns import Turns
from qbo_writer.quickbooks import mapping
from qbo_writer.quickbooks.client import QboClient
from qbo_writer.quickbooks.forms import QboForms
from qbo_writer.quickbooks.oauth_client import OAuthClient
from qbo_writer.quickbooks.pacing import Pacer
from qbo_writer.quickbooks.references import Lists, References
from qbo_writer.quickbooks.tokens import TokenStore
from qbo_writer.settings import Settings


def rules_of(policy: Policy, settings: Settings) -> Rules:
    """Return what the decision table needs from policy and settings."""
    skipped: dict[LedgerKind, str] = {}
    for kind in kinds.OPTIONAL:
        if kind not in policy.kinds:
            skipped[kind] = f"The company policy skips {kinds.of(kind).words}."
    if settings.qb_sync_mode == "invoice_only":
        for kind in kinds.PURCHASES:
            skipped[kind] = f"QB_SYNC_MODE is invoice_only: {kinds.of(kind).words} are skipped."
    return Rules(
        policy.retract,
        policy.changed_by_person,
        policy.update_paid,
        policy.update_emailed,
        policy.closed_period,
        skipped,
        policy.paid_by_us,
    )


def waits_of(settings: Settings) -> Waits:
    """Return the protocol's waits."""
    return Waits(
        timedelta(seconds=settings.protocol_transit_seconds),
        timedelta(seconds=settings.protocol_staleness_seconds),
        timedelta(seconds=settings.protocol_resend_window_seconds),
        timedelta(seconds=settings.protocol_resend_window_proven_seconds),
    )


def links_of(settings: Settings) -> Links:
    """Return how events link to documents."""
    return Links(
        lambda kind, qbo_id, realm: mapping.url(settings, kind, qbo_id, realm), pay_bills=settings.qb_auto_mark_bill_paid
    )


class NoRelay:
    """Used where this process does not publish (run-once): the service's relay finds the events."""

    def wake(self) -> None:
        """Do nothing."""


class Announcer:
    """The relay's publisher, with the crash point between publishing and marking."""

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher

    async def publish_encoded(self, topic: str, records: Iterable[tuple[bytes | None, bytes | None, dict[str, str]]]) -> None:
        """Publish, as the producer does."""
        await self._publisher.publish_encoded(topic, records)
        reach(Place.PUBLISHED)


class Writer:
    """The parts of a writer over one pool; the service and `run-once` build the same."""

    def __init__(self, settings: Settings, pool: Pool, relay: Wakes | None = None, *, lists: Lists | None = None) -> None:
        metrics.COMPANIES.choose(settings.qbo_realm_ids[: settings.metrics_per_company])
        self.policy_file = PolicyFile(settings.company_policy_file, settings.qbo_realm_ids, settings.policy_check_seconds)
        policy = self.policy
        self.pacer = Pacer(settings)
        self.client = QboClient(settings, self.pacer)
        self.oauth = OAuthClient(settings)
        self.tokens = TokenStore(pool, settings, self.oauth)
        self.client.transport.on_unauthorized = self.tokens.reject
        self.client.transport.on_accepted = self.tokens.accepted
        self.client.transport.kept_back = lambda realm: self.posters[realm].halts.stopped
        self.references = References(pool, lists or self.client, policy, settings)
        self.ledger = Ledger(pool, self.references)
        self.leases = Leases(
            pool, settings.qbo_realm_ids, seconds=settings.lease_seconds, renew_seconds=settings.lease_renew_seconds
        )
        self.parts = Parts(
            settings, policy, rules_of(policy, settings), waits_of(settings), links_of(settings), self.ledger, self.leases,
            self.tokens, self.pacer, self.client, QboForms(), self.references, relay or NoRelay(),
        )  # fmt: skip
        self.posters = {realm: Poster(realm, self._parts_of(realm)) for realm in settings.qbo_realm_ids}
        self.turns = Turns(self.posters, self.leases, self.ledger, self.parts.watched)
        self.leases.on_change = self.turns.lease_changed
        self.pacer.keep = self._keep_pause
        self.policy_file.on_change = self._take_policy

    @property
    def policy(self) -> Policy:
        """The policy in force."""
        return self.policy_file.current

    def _take_policy(self, policy: Policy) -> None:
        for realm, poster in self.posters.items():
            own = policy.for_realm(realm)
            poster.take_policy(own, rules_of(own, self.parts.settings))
            if not poster.rest.resting:
                poster.wake()

    async def _keep_pause(self, realm: str) -> None:
        if poster := self.posters.get(realm):
            await poster.pace.pause()

    def _parts_of(self, realm: str) -> Parts:
        policy = self.policy.for_realm(realm)
        return replace(self.parts, policy=policy, rules=rules_of(policy, self.parts.settings))

    def feed_soon(self, realms: Iterable[str]) -> None:
        """Read the change feed of these companies soon."""
        for realm in realms:
            if poster := self.posters.get(realm):
                poster.feeder.soon()

    def wake(self, realms: Iterable[str]) -> None:
        """Wake the posting loops of these companies."""
        for realm in realms:
            if poster := self.posters.get(realm):
                poster.wake()

    def stop_resting(self) -> None:
        """Let the loops of companies that rest come to their end."""
        for poster in self.posters.values():
            poster.rest.nudge()

    async def close(self, seconds: float = 4) -> None:
        """Wait up to `seconds` for requests in flight, release the leases, close the connections."""
        try:
            await asyncio.gather(*(poster.drain(seconds) for poster in self.posters.values()))
            await asyncio.gather(*(self.tokens.rescue(realm) for realm in self.posters), return_exceptions=True)
        finally:
            await self.leases.release()
        await self.client.close()
        await self.oauth.close()
