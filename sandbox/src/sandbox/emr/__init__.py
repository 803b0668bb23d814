"""A stand-in for the 4D EMR public API, over real HTTP: quotes, patients, appointments, charges and look-ups."""

from sandbox.emr.generating import Expected, LabelledQuote, generate
from sandbox.emr.server import CREDENTIALS, build, serve

__all__ = ["CREDENTIALS", "Expected", "LabelledQuote", "build", "generate", "serve"]
