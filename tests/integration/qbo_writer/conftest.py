"""The QuickBooks stand-in for the writer's tests."""

from writer_fixtures import sandbox, sandbox_process

__all__ = ["sandbox", "sandbox_process"]
