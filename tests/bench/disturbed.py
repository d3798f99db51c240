"""Figures of a Gateway in trouble: beside large bodies, with a replica that hangs, and after a storm of connections."""

import http.client
import os
import resource
import signal
import tempfile
import threading
import time
from pathlib import Path

import usage
from load import H2Load, Wrk
from special import idle_sockets

#: Fewer than `limits.max_connections`.
STORM_CONNECTIONS = 9_900

#: How long a hung replica hangs, and the time after which the others must have taken over, in seconds. The Gateway leaves a
#: replica out when it has answered nothing for 5 s (`MAX_SILENCE`), and probes it each second then: both must be in the figure.
HUNG_SECONDS, TAKE_OVER_SECONDS = 9, 1

PROBE_SECONDS = 5


def longest_wait(party, load: Wrk) -> float:
    """Returns the longest time in seconds that `GET /` takes on a connection of its own while the load runs."""
    port = party.ports['http']
    loading = threading.Thread(target=load.press, args=(port, PROBE_SECONDS + 1))
    loading.start()
    longest = 0
    connection = http.client.HTTPConnection('127.0.0.1', port, timeout=30)
    end = time.monotonic() + PROBE_SECONDS
    while time.monotonic() < end:
        start = time.monotonic()
        connection.request('GET', '/')
        connection.getresponse().read()
        longest = max(longest, time.monotonic() - start)
        time.sleep(0.01)
    connection.close()
    loading.join()
    return longest


def share_with_hung_replica(party, executors: list, load: H2Load) -> float:
    """Stops one of the Executors while the load runs. Returns the rate from a second later on, in proportion to the rate
    before. A request that fails, or is answered with less than its documents, raises."""
    port = party.ports['grpc']
    rate = load.warm_up(port, 1)
    with tempfile.TemporaryDirectory() as directory:
        log = Path(directory, 'log')
        failures = []
        loading = threading.Thread(target=_run, args=(load, port, rate, log, failures))
        loading.start()
        time.sleep(2)
        hung = executors[0].pids()[0]
        stopped = time.time()
        os.kill(hung, signal.SIGSTOP)
        try:
            time.sleep(HUNG_SECONDS)
        finally:
            os.kill(hung, signal.SIGCONT)
        loading.join()
        if failures:
            raise failures[0]
        ends = [(int(start) + int(duration)) / 1e6 for start, _, duration in map(str.split, log.read_text().splitlines())]

    def rate_between(start, end):
        return sum(stopped + start <= moment < stopped + end for moment in ends) / (end - start)

    return rate_between(TAKE_OVER_SECONDS, HUNG_SECONDS) / rate_between(-1.5, 0)


def _run(load: H2Load, port: int, rate: float, log: Path, failures: list):
    try:
        # Long enough that the load outlasts the replica's return.
        sample = load.send(port, round(rate * (HUNG_SECONDS + 6)), log=log)
        if sample.response_bytes < len(load.body):
            raise RuntimeError(f'{sample.response_bytes} bytes for each answer to {len(load.body)} bytes')
    except Exception as error:
        failures.append(error)


def resident_after_storm(party) -> int:
    """Opens and closes many WebSockets at once; returns the memory that the party has some seconds later."""
    _raise_open_files()
    with idle_sockets(party, STORM_CONNECTIONS):
        pass
    time.sleep(5)
    return usage.memory(party.pids()).resident


def _raise_open_files():
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
