"""Fixtures for the adapters' tests; what they are made of stands in qbo_parts.py."""

from qbo_parts import client, company, limited_sandbox, pool, sandbox

__all__ = ["client", "company", "limited_sandbox", "pool", "sandbox"]
