"""Tokens as they are stored: a pair of Intuit's, sealed."""

from datetime import timedelta

from qbo_writer.ledger.tokens import SealedPair
from qbo_writer.quickbooks.oauth_client import TokenPair
from qbo_writer.quickbooks.vault import Vault


def sealed(vault: Vault, pair: TokenPair) -> SealedPair:
    """Return a pair as it is stored."""
    return SealedPair(
        vault.seal(pair.access_token),
        timedelta(seconds=pair.expires_in),
        vault.seal(pair.refresh_token),
        timedelta(seconds=pair.refresh_expires_in),
        timedelta(seconds=pair.hard_expires_in) if pair.hard_expires_in is not None else None,
    )
