"""Starts the processes of a test: Jina Executors, the Gateway under test (Flowgate's or Jina's), and Flowgate's Executors
or their replacements in Python."""

import json
import os
import sys
from pathlib import Path
from typing import NamedTuple

import yaml
from jina import Client

from processes import Launcher, Process, free_port

HERE = Path(__file__).resolve().parent
PROTOCOLS = ['grpc', 'http', 'websocket']
JINA = Path(sys.executable).with_name('jina')
BIN_DIR = Path(os.environ.get('FLOWGATE_BIN_DIR', HERE.parent.parent / 'target' / 'release'))
FLOWGATE = Path(os.environ.get('FLOWGATE', BIN_DIR / 'flowgate'))

# `jina` replaces Flowgate's binaries by Jina's: a test that fails then is itself wrong.
UNDER_TEST = os.environ.get('INTEROP_GATEWAY', 'flowgate')


def start_executor(
    launcher: Launcher, name: str, uses: str, module: str = 'executors.py', uses_with=None
) -> Process:
    """Starts one Python Executor as replica 0 of the deployment `name`."""
    port = free_port()
    command = [JINA, 'executor', '--native', '--name', f'{name}/rep-0', '--uses', uses]
    command += ['--py-modules', HERE / module, '--host', '127.0.0.1', '--port', port]
    if uses_with:
        command += ['--uses-with', json.dumps(uses_with)]
    return launcher.start(f'executor-{name}', command, [port])


class Gateway(NamedTuple):
    """A running Gateway and the port of each of its protocols."""

    process: Process
    ports: dict

    def client(self, protocol: str = 'grpc', **options) -> Client:
        """Returns a Python client of this Gateway."""
        return Client(host='127.0.0.1', port=self.ports[protocol], protocol=protocol, **options)

    def wait_ready(self) -> 'Gateway':
        self.process.wait_ready()
        return self


def external(name: str, *processes, **keys) -> dict:
    """Returns the Flow entry of a running Executor; several processes are its replicas."""
    ports = [process.ports[0] for process in processes]
    port = ports[0] if len(ports) == 1 else ports
    return {'name': name, 'external': True, 'host': '127.0.0.1', 'port': port, **keys}


def write_flow(path: Path, executors, **gateway) -> dict:
    """Writes a Flow with all three protocols on free ports; returns the port of each."""
    ports = {protocol: free_port() for protocol in PROTOCOLS}
    flow = {
        'jtype': 'Flow',
        'version': '1',
        'gateway': {
            'host': '127.0.0.1',
            'protocol': list(ports),
            'port': list(ports.values()),
            **gateway,
        },
        'executors': list(executors),
    }
    path.write_text(yaml.safe_dump(flow, sort_keys=False))
    return ports


def start_gateway(launcher: Launcher, executors, kind: str = UNDER_TEST, **gateway) -> Gateway:
    """Starts a Gateway of the given kind in front of the executors, without waiting for it."""
    path = launcher.directory / f'flow-{len(launcher.processes)}.yml'
    ports = write_flow(path, executors, **gateway)
    command = [JINA, 'flow', '--uses', path] if kind == 'jina' else [FLOWGATE, 'serve', path]
    return Gateway(launcher.start(f'{kind}-gateway', command, ports.values()), ports)


def start_greeting(launcher: Launcher) -> Process:
    """Starts Flowgate's built-in Executor, which appends a greeting."""
    if UNDER_TEST == 'jina':
        return start_executor(launcher, 'greeting', 'Greeting', module='stand_ins.py')
    port = free_port()
    command = [FLOWGATE, 'executor', '--port', port, '--name', 'greeting']
    return launcher.start('greeting', command, [port])


def start_vector_search(launcher: Launcher) -> Process:
    """Starts Flowgate's example Executor for vector search."""
    if UNDER_TEST == 'jina':
        return start_executor(launcher, 'search', 'VectorSearch', module='stand_ins.py')
    port = free_port()
    command = [BIN_DIR / 'examples' / 'vector_search']
    return launcher.start('vector-search', command, [port], {'PORT': str(port)})
