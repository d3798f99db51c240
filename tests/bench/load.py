"""Runs a load generator and reads what it measured. Each kind of load has `warm_up` and `run`."""

import json
import os
import re
import subprocess
import tempfile
from pathlib import Path
from typing import NamedTuple

from messages import METHOD

#: A run that takes longer counts as hung.
HUNG_SECONDS = 120


class Sample(NamedTuple):
    """What the client saw in one run."""

    requests: int
    seconds: float
    p50: float
    p99: float
    #: Bytes of the responses' bodies, for each request.
    response_bytes: float

    @property
    def rate(self) -> float:
        return self.requests / self.seconds


class LoadError(Exception):
    """A load generator reports failed requests."""


#: The arguments of h2load for each protocol, and the path.
H2LOAD = {
    'grpc': (['-H', 'content-type: application/grpc', '-H', 'te: trailers'], METHOD),
    'http': (['--h1', '-H', 'content-type: application/json'], '/post'),
}


class H2Load:
    """A fixed number of requests by h2load: unary gRPC calls, or posts of JSON over HTTP/1."""

    def __init__(self, body: bytes, connections: int, streams: int, protocol: str = 'grpc'):
        self.protocol = protocol
        self.body = body
        self.connections = connections
        self.streams = streams

    def warm_up(self, port: int, seconds: float) -> float:
        """Sends requests until a run takes this long; returns its rate."""
        return _warm_up(lambda requests: self.send(port, requests), self._fewest(), seconds)

    def run(self, port: int, seconds: float, expected_rate: float, rate=None) -> Sample:
        """Sends as many requests as take about `seconds`. All are answered, so that none is counted in part."""
        requests = round((rate or expected_rate) * seconds)
        return self.send(port, max(requests, self._fewest()), rate)

    def _fewest(self) -> int:
        return 2 * self.connections * self.streams

    def send(self, port: int, requests: int, rate=None, log: Path = None) -> Sample:
        """Sends this number of requests, and keeps h2load's line for each of them in `log`."""
        with tempfile.TemporaryDirectory() as directory:
            body, log = Path(directory, 'body'), log or Path(directory, 'log')
            body.write_bytes(self.body)
            command = ['h2load', '-n', requests, '-c', self.connections, '-m', self.streams, '-d', body]
            arguments, path = H2LOAD[self.protocol]
            command += [*arguments, f'--log-file={log}']
            if rate:
                command += [f'--rps={rate / self.connections}']
            output = _output([*command, f'http://127.0.0.1:{port}{path}'])
            times = _succeeded(log)
        if len(times) != requests:
            raise LoadError(output)
        data = _number(r'headers \(space savings [^)]*\), \S+ \((\d+)\) data', output)
        seconds = requests / _number(r'finished in \S+, (\S+) req/s', output)
        return Sample(requests, seconds, *_percentiles(times), data / requests)


class Wrk:
    """HTTP posts by wrk."""

    protocol = 'http'

    def __init__(self, body: bytes, connections: int, path: str = '/post', min_seconds: int = 1):
        self.body = body
        self.connections = connections
        self.path = path
        self.min_seconds = min_seconds

    def warm_up(self, port: int, seconds: float):
        """Sends requests for a while."""
        self.run(port, seconds)

    def run(self, port: int, seconds: float, expected_rate=None, rate=None) -> Sample:
        """Sends requests for this time; each must succeed."""
        requests, microseconds, p50, p99, received, errors = self.press(port, seconds)
        if errors or not requests:
            raise LoadError(f'{requests} requests, {errors} errors')
        return Sample(requests, microseconds / 1e6, p50, p99, received / requests)

    def press(self, port: int, seconds: float):
        """Sends requests for this time. Returns their number, microseconds, p50, p99, bytes received, and errors."""
        with tempfile.TemporaryDirectory() as directory:
            body, script = Path(directory, 'body'), Path(directory, 'post.lua')
            body.write_bytes(self.body)
            script.write_text(
                f'local file = io.open("{body}", "rb")\n'
                'wrk.method = "POST"\nwrk.body = file:read("*a")\n'
                'wrk.headers["content-type"] = "application/json"\n'
                'done = function(summary, latency, requests)\n'
                '  local e = summary.errors\n'
                '  io.write(string.format("RESULT %d %d %d %d %d %d\\n", summary.requests, summary.duration,\n'
                '    latency:percentile(50), latency:percentile(99), summary.bytes,\n'
                '    e.connect + e.read + e.write + e.status + e.timeout))\n'
                'end\n'
            )
            command = ['wrk', '-t1', f'-c{self.connections}', f'-d{max(self.min_seconds, round(seconds))}s', '--timeout', '20s']
            output = _output([*command, '-s', script, f'http://127.0.0.1:{port}{self.path}'])
        return tuple(map(int, re.search(r'RESULT (.*)', output)[1].split()))


class Client:
    """Messages in streams, by the bench's own client: `Call` of gRPC, or WebSockets."""

    def __init__(self, mode: str, message: bytes, connections: int, in_flight: int, subprotocol: str = 'json'):
        self.mode = mode
        self.protocol = 'grpc' if mode == 'call' else 'websocket'
        self.message = message
        self.connections = connections
        self.in_flight = in_flight
        self.subprotocol = subprotocol

    def warm_up(self, port: int, seconds: float) -> float:
        """Sends messages until a run takes this long; returns its rate."""
        return _warm_up(lambda messages: self.send(port, messages), self._fewest(), seconds)

    def run(self, port: int, seconds: float, expected_rate: float, rate=None) -> Sample:
        """Sends as many messages as take about `seconds`."""
        return self.send(port, max(round(expected_rate * seconds), self._fewest()))

    def _fewest(self) -> int:
        return 2 * self.connections * self.in_flight

    def send(self, port: int, messages: int) -> Sample:
        with tempfile.NamedTemporaryFile() as file:
            file.write(self.message)
            file.flush()
            command = [bench_client(), self.mode, '--port', port, '--connections', self.connections]
            command += ['--in-flight', self.in_flight, '--messages', messages, '--message', file.name]
            return Sample(**json.loads(_output([*command, '--subprotocol', self.subprotocol])))


def bench_client() -> Path:
    """Returns the client in Rust."""
    return Path(os.environ['BENCH_PROGRAMS'], 'bench_client')


def _warm_up(send, requests: int, seconds: float) -> float:
    """Calls `send` with more and more requests until it takes `seconds`; returns the rate."""
    while True:
        sample = send(requests)
        if sample.seconds >= seconds:
            return sample.rate
        requests = round(max(2 * requests, 1.2 * sample.rate * seconds))


def _output(command) -> str:
    command = [str(part) for part in command]
    done = subprocess.run(command, capture_output=True, text=True, timeout=HUNG_SECONDS)
    if done.returncode:
        raise LoadError(f'{command[0]} ended with {done.returncode}:\n{done.stdout}{done.stderr}')
    return done.stdout


def _succeeded(log: Path) -> list:
    """Returns the microseconds of each request with the status 200, from h2load's log."""
    lines = (line.split('\t') for line in log.read_text().splitlines())
    return [int(microseconds) for _, status, microseconds in lines if status == '200']


def _number(pattern: str, output: str) -> float:
    match = re.search(pattern, output)
    if not match:
        raise LoadError(f'no {pattern!r} in:\n{output}')
    return float(match[1])


def _percentiles(times: list):
    times.sort()
    return times[len(times) // 2], times[min(len(times) - 1, len(times) * 99 // 100)]
