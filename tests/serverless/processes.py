"""Starts the programs of the tests on free ports, waits until they are ready, and stops them with their child processes."""

import os
import signal
import socket
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Program:
    """A running program and its log."""

    def __init__(self, process: subprocess.Popen, log: Path):
        self.process, self._log = process, log

    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def wait_for_port(self, port: int, seconds: float = 60, host: str = "127.0.0.1"):
        deadline = time.monotonic() + seconds
        while True:
            try:
                return socket.create_connection((host, port), timeout=1).close()
            except OSError:
                self._check_running(deadline, f"nothing listens on {port}")

    def wait_for_log(self, text: str, seconds: float = 60):
        deadline = time.monotonic() + seconds
        while text not in self.log():
            self._check_running(deadline, f"{text!r} is not in the log")

    def _check_running(self, deadline: float, what: str):
        if self.process.poll() is not None or time.monotonic() > deadline:
            raise AssertionError(f"{what}; the log of the program:\n{self.log()}")
        time.sleep(0.02)


@contextmanager
def running(words, log: Path, cwd=None, **variables):
    """Runs a program with these variables in addition to this process's own."""
    with open(log, "wb") as output:
        process = subprocess.Popen(
            [str(word) for word in words],
            cwd=cwd,
            env={**os.environ, **{name: str(value) for name, value in variables.items()}},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield Program(process, log)
    finally:
        stop(process)


def stop(process: subprocess.Popen):
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            return
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            continue
