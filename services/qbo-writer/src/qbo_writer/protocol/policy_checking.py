"""Whether the policy says what this company needs: looked at when the company is taken over, and where the policy has changed."""

import math
import time
from collections.abc import Callable

from bookrelay import telemetry

from qbo_writer.domain import AccessToken, LookupFailed
from qbo_writer.policy import TAX_NOT_SAID, lacking, not_said
from qbo_writer.protocol.parts import Parts, Tenure

log = telemetry.get_logger(__name__)

FIRST_SECONDS = 5.0  # after the start: the first documents have read what the company is by then
AGAIN_SECONDS = 60.0


class PolicyCheck:
    """Holds the policy of one company against what the company needs."""

    def __init__(self, realm: str, parts: Parts, wake: Callable[[], None]) -> None:
        self._realm, self._parts, self._wake = realm, parts, wake
        self.next_at = time.monotonic() + FIRST_SECONDS

    def due(self) -> bool:
        """Whether it is time."""
        return time.monotonic() >= self.next_at

    def later(self) -> None:
        """One begins: after a failure the next is in a while."""
        self.next_at = time.monotonic() + AGAIN_SECONDS

    async def run(self, tenure: Tenure, token: AccessToken) -> None:
        """Check what the policy of a company outside the US must say; make due the documents held for lack of it."""
        try:
            facts = await self._parts.references.company(self._realm, token)
        except LookupFailed as error:
            log.info("references.failed", realm=self._realm, error=repr(error))
            return
        self.next_at = math.inf
        if facts.names_taxes and (lacks := lacking(self._parts.policy)):
            wanted = not_said(self._parts.policy)
            log.error("policy.tax_missing", realm=self._realm, lacks=list(lacks), reason=wanted.reason, fix=wanted.fix)
        if facts.names_taxes and not self._parts.policy.amounts:
            return
        # Lines may name their codes themselves: what still lacks one is held again, without a call.
        if released := await self._parts.ledger.commands.release_for(self._realm, tenure.fencing_token, TAX_NOT_SAID):
            log.info("policy.tax_set", realm=self._realm, released=released)
            self._wake()
