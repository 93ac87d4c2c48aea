import pytest


@pytest.fixture(scope="session")
def scale(request: pytest.FixtureRequest) -> int:
    """0 for the short form of `make test`, 1 for the long one of `make faults`."""
    return int(request.config.getoption("--long"))
