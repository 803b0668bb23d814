"""Metrics with a company as their first label: some companies have series of their own, all others share one, "other".

A thousand companies with thirty series each would be a burden to whoever scrapes them, and to the process itself.
"""

from collections.abc import Callable, Iterable
from typing import Any, Protocol

from prometheus_client import Counter, Gauge, Metric

OTHER = "other"
Together = Callable[[Iterable[float]], float]
"""How one value is made of those of the companies that share a series: their sum, the worst of them."""


class Sets(Protocol):
    """Where a gauge's value is set."""

    def set(self, value: float) -> None:
        """Set it."""


class Companies:
    """Which companies have series of their own; all of them until `choose` was called."""

    def __init__(self) -> None:
        self._own: frozenset[str] | None = None

    def choose(self, realms: Iterable[str]) -> None:
        """Give these, and no others, series of their own: once, before any metric is set."""
        self._own = frozenset(realms)

    def label(self, realm: str) -> str:
        """Return the label that stands for a company."""
        return realm if self._own is None or realm in self._own else OTHER


class CompanyCounter:
    """A counter of each company; what the others count is summed."""

    def __init__(self, counter: Counter, companies: Companies) -> None:
        self._counter, self._companies = counter, companies

    def labels(self, realm: str, *more: str) -> Any:
        """Return the counter of a company."""
        return self._counter.labels(self._companies.label(realm), *more)

    def collect(self) -> Iterable[Metric]:
        """Return its samples, as they are scraped."""
        return self._counter.collect()


class CompanyGauge:
    """A gauge of each company; what the others set is kept, and made one when somebody scrapes."""

    def __init__(self, gauge: Gauge, companies: Companies, together: Together) -> None:
        self._gauge, self._companies, self._together = gauge, companies, together
        self._others: dict[tuple[str, ...], dict[str, float]] = {}

    def labels(self, realm: str, *more: str) -> Sets:
        """Return where the value of a company is set."""
        if self._companies.label(realm) != OTHER:
            return self._gauge.labels(realm, *more)
        if more not in self._others:
            values = self._others[more] = {}
            self._gauge.labels(OTHER, *more).set_function(lambda: self._together(values.values()) if values else 0.0)
        return _Of(self._others[more], realm)

    def remove(self, realm: str, *more: str) -> None:
        """Forget the value of a company; a series without any ends."""
        if self._companies.label(realm) != OTHER:
            self._gauge.remove(realm, *more)
            return
        values = self._others.get(more, {})
        values.pop(realm, None)
        if not values and self._others.pop(more, None) is not None:
            self._gauge.remove(OTHER, *more)

    def collect(self) -> Iterable[Metric]:
        """Return its samples, as they are scraped."""
        return self._gauge.collect()


class _Of:
    def __init__(self, values: dict[str, float], realm: str) -> None:
        self._values, self._realm = values, realm

    def set(self, value: float) -> None:
        self._values[self._realm] = value
