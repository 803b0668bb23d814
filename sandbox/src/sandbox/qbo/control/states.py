"""State files: everything that a stand-in needs to continue later, written atomically."""

from __future__ import annotations

import pickle  # state files are written and read by this program alone
from pathlib import Path
from typing import Any

from sandbox.qbo.company import store
from sandbox.qbo.control.world import Remembered, World
from sandbox.qbo.rules.tokens import Access, Grant, TokenSettings

# Where files of before the folders say that these classes are.
MOVED = {
    ("sandbox.qbo.world", "Remembered"): Remembered,
    ("sandbox.qbo.oauth", "Access"): Access,
    ("sandbox.qbo.oauth", "Grant"): Grant,
    ("sandbox.qbo.oauth", "TokenSettings"): TokenSettings,
}


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        return MOVED.get((module, name)) or super().find_class(module, name)


def save_state(world: World, path: Path) -> None:
    """Companies, requestids, tokens and clock into one file, written beside and moved over."""
    state = {
        "version": 1,
        "companies": {realm: store.snapshot(company) for realm, company in world.companies.items()},
        "remembered": world.remembered,
        "oauth": (
            world.oauth.grants,
            world.oauth.access,
            world.oauth.refresh,
            world.oauth.codes,
            world.oauth.settings,
            world.oauth.clients,
        ),
        "first": (
            world.first_realm,
            world.first_grant,
            world.first_access,
            world.client_id,
            world.client_secret,
            world.verifier_token,
        ),
        "random": world.random.getstate(),
        "offset": world.clock.offset,
        "frozen_at": world.clock.frozen_at,
        "redirects": world.oauth.redirects,
        "metered_by_month": world.limits.metered_by_month,
    }
    temporary = path.with_name(path.name + ".new")
    with temporary.open("wb") as file:
        pickle.dump(state, file, protocol=pickle.HIGHEST_PROTOCOL)
    temporary.replace(path)


def load_state(world: World, path: Path) -> None:
    """The state of a file; raises ValueError for a file of another version."""
    with path.open("rb") as file:
        state = _Reader(file).load()
    if state.get("version") != 1:
        raise ValueError("the state file has another version")
    world.clock.offset = state["offset"]
    world.clock.frozen_at = state.get("frozen_at")
    world.oauth.redirects = state.get("redirects", set())
    world.limits.metered_by_month = dict(state.get("metered_by_month", {}))
    world.companies = {}
    for realm, kept in state["companies"].items():
        company = world.new_company(realm, kept["plan"])
        company.event_sinks = []
        store.restore(company, kept)
        company.event_sinks = [world.webhooks.on_event]
        world.companies[realm] = company
    world.remembered = state["remembered"]
    oauth = world.oauth
    oauth.grants, oauth.access, oauth.refresh, oauth.codes, oauth.settings, oauth.clients = state["oauth"]
    (world.first_realm, world.first_grant, world.first_access, world.client_id, world.client_secret, world.verifier_token) = (
        state["first"]
    )
    world.random.setstate(state["random"])
