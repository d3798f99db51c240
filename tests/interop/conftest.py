"""Fixtures: the pool of Python Executors that all scenarios share, and launchers that end what they started."""

import pytest

from parties import UNDER_TEST, Gateway, external, start_gateway
from pool import start_pool
from processes import Launcher, interrupt_on_sigterm


def pytest_configure():
    interrupt_on_sigterm()


def pytest_report_header():
    return f'gateway under test: {UNDER_TEST}'


@pytest.fixture(scope='session')
def session_launcher(tmp_path_factory):
    """For what runs through the whole session."""
    with Launcher(tmp_path_factory.mktemp('session')) as launcher:
        yield launcher


@pytest.fixture(scope='module')
def module_launcher(tmp_path_factory):
    """For what all tests of one file share."""
    with Launcher(tmp_path_factory.mktemp('module')) as launcher:
        yield launcher


@pytest.fixture
def launcher(tmp_path):
    """For what a single test starts."""
    with Launcher(tmp_path) as launcher:
        yield launcher


@pytest.fixture(scope='session')
def pool(session_launcher):
    """The Python Executors by deployment name."""
    return start_pool(session_launcher)


@pytest.fixture(scope='module')
def single(module_launcher, pool) -> Gateway:
    """The Gateway under test in front of one Multi."""
    return start_gateway(module_launcher, [external('exec0', pool['exec0'])]).wait_ready()
