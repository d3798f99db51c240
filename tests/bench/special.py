"""Figures that are not rates: the start of a process, its memory at rest, and the memory of an idle WebSocket."""

import json
import os
import signal
import subprocess
import tempfile
from contextlib import contextmanager
from statistics import median

import usage
from load import bench_client

IDLE_SOCKETS = 1000


def first_answer_microseconds(recipe, message: bytes) -> int:
    """Starts a party and returns the time until it has answered its first request, which goes through to the Executor."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(message)
        file.flush()
        command = [bench_client(), 'start', '--port', recipe.ports['grpc'], '--message', file.name, '--', *recipe.command]
        environment = {**os.environ, **recipe.environment}
        client = subprocess.Popen(
            [str(part) for part in command], stdout=subprocess.PIPE, text=True, env=environment, start_new_session=True
        )
        try:
            output, _ = client.communicate()
        finally:
            _kill_group(client.pid)
    if client.returncode:
        raise RuntimeError(f'{recipe.name} does not answer')
    return json.loads(output)['microseconds']


def _kill_group(pid: int):
    """Ends what a party leaves behind: Jina's Gateway outlives a parent that is ended while it starts."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def idle_socket_bytes(party) -> float:
    """Opens idle WebSockets and returns the memory that the party needs for each."""
    before = usage.memory(party.pids()).resident
    with idle_sockets(party, IDLE_SOCKETS):
        return (usage.memory(party.pids()).resident - before) / IDLE_SOCKETS


@contextmanager
def idle_sockets(party, count: int):
    """Keeps idle WebSockets open during its `with` block."""
    command = [bench_client(), 'idle', '--port', party.ports['websocket'], '--connections', count]
    client = subprocess.Popen(
        [str(part) for part in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        if client.stdout.readline() != 'open\n':
            raise RuntimeError(f'{party.name} does not take {count} WebSockets')
        yield
    finally:
        client.stdin.close()
        client.wait()


def table(title: str, unit: str, figures: dict) -> str:
    """Returns a line for each party: the median, and the spread of several measurements."""
    lines = [title]
    for name, values in figures.items():
        lines.append(f'{name:>10} {median(values):12,.1f} {unit}  ({min(values):,.1f}-{max(values):,.1f})')
    return '\n'.join([*lines, ''])
