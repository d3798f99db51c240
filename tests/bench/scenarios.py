"""What is measured: for each scenario the Flow, the load, the parties, and the check of an answer."""

from dataclasses import dataclass, field
from typing import Callable

import check
import messages
from load import Client, H2Load, Wrk
from messages import Messages

#: All parties of a plain Flow over gRPC.
ALL = ('direct', 'flowgate', 'envoy', 'jina')
GATEWAYS = ('flowgate', 'jina')


@dataclass
class Scenario:
    """One line of the table for each party."""

    name: str
    title: str
    #: The load for each party.
    load: dict
    #: Sends one request to a party and raises if its answer is wrong. Returns the size that all answers must have, or
    #: None if the load generator checks them.
    check: Callable
    #: A name in `flows`.
    flow: str = 'one'
    #: Sends at half of the lowest rate that direct, Flowgate and Envoy reach in this scenario.
    half_rate_of: str = None
    #: Whether requests follow one another, so that their time without a proxy can be subtracted.
    is_sequential: bool = False
    parties: tuple = field(init=False)

    def __post_init__(self):
        self.parties = tuple(self.load)


def flows(external) -> dict:
    """The Executors and the Gateway's settings of each Flow. `external(name, **keys)` is the echo Executor's entry."""
    found = {
        'one': ([external('echo')], {}),
        'gzip': ([external('echo')], {'compression': 'Gzip'}),
        'in-process': ([{'name': 'echo', 'uses': 'inproc://pass_through'}], {}),
    }
    for length in (2, 4, 8):
        found[f'chain-{length}'] = ([external(f'echo{number}') for number in range(length)], {})
    branches = [f'branch{number}' for number in range(4)]
    join = {'method': 'needs', 'name': 'joined', 'needs': branches}
    found['branches'] = ([*(external(name, needs='gateway') for name in branches), join], {})
    return found


def scenarios(make: Messages) -> list:
    """All scenarios, those of one Flow next to each other."""
    small, medium, large, huge = make.one_text(), make.texts(), make.embeddings(100), make.embeddings(1600)
    return [
        _grpc('grpc-37b', 'gRPC, 37 B, 4 connections x 16 streams', small, 4, 16, ALL),
        _grpc(
            'grpc-37b-half',
            'the same at half of the peak rate',
            small, 4, 16, ('direct', 'flowgate', 'envoy'),
            half_rate_of='grpc-37b',
        ),
        _grpc('grpc-one', 'gRPC, 37 B, one connection, one stream', small, 1, 1, ALL, is_sequential=True),
        _grpc('grpc-5k', 'gRPC, 5.6 KB, 4 x 16', medium, 4, 16, ALL),
        _grpc('grpc-312k', 'gRPC, 312 KB, 4 x 4', large, 4, 4, ALL),
        _http('http-32', 'HTTP JSON, one document, 32 connections', 32),
        _http('http-1', 'HTTP JSON, one document, one connection', 1),
        _http_embeddings(),
        _call(messages.numbered(make)),
        _websocket('json', messages.json_numbered()),
        _websocket('bytes', messages.numbered(make)),
        # Last, because the memory that it takes is not all returned.
        _grpc('grpc-5m', 'gRPC, 5 MB, 4 x 4', huge, 4, 4, ALL),
        _grpc('gzip', 'gRPC, 5.6 KB, 4 x 16, gzip to the Executor', medium, 4, 16, GATEWAYS, flow='gzip'),
        *(
            _grpc(f'chain-{length}', f'gRPC, 37 B, 4 x 16, {length} nodes', small, 4, 16, GATEWAYS, flow=f'chain-{length}')
            for length in (2, 4, 8)
        ),
        _grpc('branches', 'gRPC, 37 B, 4 x 16, four branches and a join', small, 4, 16, GATEWAYS, flow='branches'),
        _grpc(
            'in-process', 'gRPC, 5.6 KB, 4 x 16, in-process Executor', medium, 4, 16, ('flowgate',), flow='in-process'
        ),
    ]


def _grpc(name, title, request, connections, streams, parties, **keys) -> Scenario:
    load = H2Load(messages.framed(request), connections, streams)
    return Scenario(
        name, title, {party: load for party in parties}, lambda party: check.check_grpc(party, request), **keys
    )


def _http(name: str, title: str, connections: int) -> Scenario:
    plain = Wrk(messages.json_text(), connections)
    transcoder = Wrk(messages.transcoder_text(), connections, messages.METHOD)
    load = {'flowgate': plain, 'envoy': transcoder, 'jina': plain}
    return Scenario(name, title, load, lambda party: _check_http(party, load))


def _http_embeddings() -> Scenario:
    # Jina answers a few in a second.
    load = Wrk(messages.json_embeddings(), 4, min_seconds=8)
    title = f'HTTP JSON, 100 documents of {messages.DIMENSIONS} floats, 4 connections'
    loads = {party: load for party in GATEWAYS}
    return Scenario('http-floats', title, loads, lambda party: _check_http(party, loads))


def _call(message: bytes) -> Scenario:
    load = Client('call', message, connections=4, in_flight=250)
    return Scenario(
        'call-1000',
        'gRPC `Call`, 37 B, 1,000 in flight on 4 connections',
        {party: load for party in GATEWAYS},
        # The client itself matches each answer with its message.
        lambda party: None,
    )


def _websocket(subprotocol: str, message: bytes) -> Scenario:
    load = Client('websocket', message, 32, 8, subprotocol)
    title = f'WebSocket `{subprotocol}`, one document, 32 connections, 8 in flight on each'
    return Scenario(f'websocket-{subprotocol}', title, {party: load for party in GATEWAYS}, lambda party: None)


def _check_http(party, load):
    kind = party.name if party.name in load else 'flowgate'
    check.check_http(party, load[kind].path, load[kind].body)
