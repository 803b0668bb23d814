"""A quote without version was refused with 400, yet half of it stayed, and every list after it was answered 500."""

import pytest
from sandbox.emr.store import Store
from sandbox.standin import Clock


def test_a_quote_that_is_refused_leaves_nothing_behind() -> None:
    store = Store(Clock())
    with pytest.raises(TypeError):
        store.load([{"PriceQuoteNo": 13008, "Version": None}])
    assert store.versions == {}
