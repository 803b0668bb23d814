"""The list of services; a service with a `tables` module owns the Postgres schema of the same name."""

import re
from collections.abc import Iterable
from importlib import import_module
from importlib.metadata import requires
from importlib.util import find_spec

from sqlalchemy import MetaData
from sqlmodel import SQLModel

# The dependencies of this package (deploy/pyproject.toml) are the only place where services are registered for the deployment.
_SERVICE = re.compile(r"bookrelay-([a-z-]+)")
SERVICES = tuple(found[1].replace("-", "_") for line in requires("bookrelay-deploy") or () if (found := _SERVICE.match(line)))


def owners() -> tuple[str, ...]:
    """Return the services that have tables."""
    return tuple(name for name in SERVICES if find_spec(f"{name}.tables"))


def metadata_of(service: str) -> MetaData:
    """Return the tables that `service` declares, alone."""
    schema = import_module(f"{service}.tables").SCHEMA
    own = MetaData(schema=schema)
    for table in SQLModel.metadata.sorted_tables:
        if table.schema == schema:
            table.to_metadata(own)
    return own


def choose(names: Iterable[str]) -> tuple[str, ...]:
    """Return the owners called `names` ("qbo-writer" or "qbo_writer"), or all of them; raise KeyError for an unknown name."""
    chosen = tuple(name.replace("-", "_") for name in names)
    if unknown := set(chosen) - set(owners()):
        raise KeyError(", ".join(sorted(unknown)))
    return chosen or owners()
