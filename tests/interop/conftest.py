"""Fixtures: the shared pool of Python Executors, and launchers that end the processes that they started."""

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
    """A launcher for processes that run during the whole session."""
    with Launcher(tmp_path_factory.mktemp('session')) as launcher:
        yield launcher


@pytest.fixture(scope='module')
def module_launcher(tmp_path_factory):
    """A launcher for processes that the tests of one file share."""
    with Launcher(tmp_path_factory.mktemp('module')) as launcher:
        yield launcher


@pytest.fixture
def launcher(tmp_path):
    """A launcher for the processes of one test."""
    with Launcher(tmp_path) as launcher:
        yield launcher


@pytest.fixture(scope='session')
def pool(session_launcher):
    """The Python Executors by deployment name."""
    return start_pool(session_launcher)


@pytest.fixture(scope='module')
def one_executor(module_launcher, pool) -> Gateway:
    """The Gateway under test in front of one Executor `Multi`."""
    return start_gateway(module_launcher, [external('exec0', pool['exec0'])]).wait_ready()
