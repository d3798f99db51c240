"""Starts processes on free ports, waits until they are ready, and ends them."""

import os
import signal
import socket
import subprocess
import time
from pathlib import Path

STARTUP_SECONDS = 60
POLL_SECONDS = 0.02

_given_ports = set()


def free_port() -> int:
    """Returns a free port that no earlier call has returned."""
    while True:
        with socket.socket() as listener:
            listener.bind(('127.0.0.1', 0))
            port = listener.getsockname()[1]
        if port not in _given_ports:
            _given_ports.add(port)
            return port


def wait_until(condition, what: str, seconds: float = STARTUP_SECONDS):
    """Waits for `condition()` to be true and returns its value; fails after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise TimeoutError(f'{what}: not within {seconds} s')
        time.sleep(POLL_SECONDS)


def listens(port: int) -> bool:
    """Returns whether a process accepts connections on the port."""
    try:
        socket.create_connection(('127.0.0.1', port), timeout=1).close()
    except OSError:
        return False
    return True


def interrupt_on_sigterm():
    """Handles SIGTERM like Ctrl-C, so that an aborted run ends its processes."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


class Process:
    """A child process in its own process group, with its output in a file."""

    def __init__(self, name: str, command, ports, log: Path, environment=None):
        self.name = name
        self.ports = list(ports)
        self.log = log
        with open(log, 'wb') as output:
            self.child = subprocess.Popen(
                [str(part) for part in command],
                stdout=output,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                env={**os.environ, **(environment or {})},
            )

    @property
    def pid(self) -> int:
        return self.child.pid

    def wait_ready(self):
        """Waits until all ports accept connections. Fails at once when the process has ended."""

        def ready():
            if self.child.poll() is not None:
                raise RuntimeError(f'{self.name} ended with {self.child.returncode}:\n{self.tail()}')
            return all(listens(port) for port in self.ports)

        try:
            wait_until(ready, f'{self.name} listening on {self.ports}')
        except TimeoutError as error:
            raise TimeoutError(f'{error}\n{self.tail()}') from None

    def tail(self) -> str:
        """Returns the end of the output."""
        return self.log.read_text(errors='replace')[-4000:]

    def terminate(self, seconds: float = 20) -> int:
        """Sends SIGTERM, as an orchestrator does, and returns the exit status."""
        self.child.send_signal(signal.SIGTERM)
        return self.child.wait(seconds)

    def kill(self):
        """Kills the whole process group."""
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.child.wait()


class Launcher:
    """Starts processes, and kills all of them at the end of its `with` block."""

    def __init__(self, directory: Path):
        self.directory = directory
        self.processes = []

    def start(self, name: str, command, ports, environment=None) -> Process:
        """Starts a process without waiting for it, so that several can start concurrently."""
        log = self.directory / f'{len(self.processes)}-{name}.log'
        process = Process(name, command, ports, log, environment)
        self.processes.append(process)
        return process

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in self.processes:
            process.kill()
