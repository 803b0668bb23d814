"""What regression tests of the writer run on: the same parts as its integration tests."""

from writer_fixtures import sandbox, sandbox_process

__all__ = ["sandbox", "sandbox_process"]
