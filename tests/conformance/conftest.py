"""The stand-ins for this directory: started once, emptied before each test, their books checked after it."""

from collections.abc import Iterator

import pytest
from conformance_parts import Qbo, StandIn
from quickbooks import QuickBooks


@pytest.fixture(scope="session")
def qbo_process() -> Iterator[Qbo]:
    standin = Qbo()
    yield standin
    standin.close()


@pytest.fixture
def qbo(qbo_process: Qbo) -> Iterator[Qbo]:
    """The QuickBooks stand-in as at its start."""
    qbo_process.control("POST", "/reset", {})
    yield qbo_process
    qbo_process.check()


@pytest.fixture
def qb(qbo: Qbo, monkeypatch: pytest.MonkeyPatch) -> QuickBooks:
    """python-quickbooks, connected. oauthlib wants to be told that plain HTTP is meant."""
    monkeypatch.setenv("OAUTHLIB_INSECURE_TRANSPORT", "1")
    return qbo.client()


@pytest.fixture(scope="session")
def emr_process() -> Iterator[StandIn]:
    standin = StandIn("sandbox.main", "emr", "--quotes", "0")
    yield standin
    standin.close()


@pytest.fixture
def emr(emr_process: StandIn) -> StandIn:
    """The EMR stand-in, empty."""
    emr_process.control("POST", "/reset")
    return emr_process
