"""One stand-in for all tests of this directory, emptied before each."""

from collections.abc import Iterator

import pytest
from google_standin import Google


@pytest.fixture(scope="session")
def standin() -> Iterator[Google]:
    google = Google("--no-limits")
    yield google
    google.close()


@pytest.fixture
def google(standin: Google) -> Google:
    standin.control("POST", "/reset")
    standin.control("POST", "/settings", {"limits": False})
    return standin
