"""The chart, rendered once for each set of values."""

import os

import pytest

import deployed


def pytest_sessionstart(session):
    for name in ("DEPLOY_HELM", "DEPLOY_COMPOSE", "ROPEWALK_BIN"):
        if not os.access(os.environ.get(name, ""), os.X_OK):
            raise pytest.UsageError(f"{name} names no program; ./test deploy sets it")


@pytest.fixture(scope="session", params=list(deployed.PROFILES))
def chart(request):
    """The chart with the values of each profile in turn."""
    return deployed.Chart(request.param)


@pytest.fixture(scope="session")
def default():
    """The chart as it comes."""
    return deployed.Chart()
