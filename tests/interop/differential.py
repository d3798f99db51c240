"""Sends the same seeded random requests to two Gateways in front of the same Executors and compares the responses.

differential.py [--seed N] [--count N] [--topology NAME]...
                [--left jina|flowgate] [--right jina|flowgate] [--strict] [--responses]
"""

import argparse
import sys
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from comparison import differences, masked, paired
from exchange import Exchange
from known_differences import Exchanged, known_reason
from parties import external, start_gateway
from pool import (
    MULTI_ENDPOINTS,
    ORDER_ENDPOINTS,
    chain,
    comparisons,
    conditions,
    floating,
    incomparable,
    join,
    executor_down,
    operators,
    paths,
    sizes,
    skip,
    start_pool,
)
from processes import Launcher, interrupt_on_sigterm, wait_until
from random_requests import Case, Generator


@dataclass
class Topology:
    """A Flow over the pool, and the endpoints and deployments for random requests."""

    executors: list
    endpoints: list
    deployments: list
    floating: tuple = ()
    # A deployment that is skipped once its endpoints are known.
    skips: str = ''
    gateway: dict = field(default_factory=dict)
    # Use 1 where network errors occur: which other requests are in flight when one ends a stream is a race.
    burst: int = 4


def topologies(pool) -> dict:
    exec0 = external('exec0', pool['exec0'])
    replicas = external('r', pool['r0'], pool['r1'])
    short_timeout = {'timeout_send': 200, 'retries': 0}
    branches = ['a', 'b', 'c', 'j']
    return {
        'single': Topology([exec0], MULTI_ENDPOINTS, ['exec0']),
        'chain': Topology(chain(pool), ORDER_ENDPOINTS, ['a', 'b']),
        'join': Topology(join(pool), ORDER_ENDPOINTS, branches),
        'conditions': Topology(conditions(pool), ORDER_ENDPOINTS, branches),
        'operators': Topology(operators(pool), ORDER_ENDPOINTS, ['a', 'b', 'j']),
        'comparisons': Topology(comparisons(pool), ORDER_ENDPOINTS, branches),
        'sizes': Topology(sizes(pool), ORDER_ENDPOINTS, ['a', 'b', 'j']),
        'paths': Topology(paths(pool), ORDER_ENDPOINTS, ['a', 'b', 'j']),
        'incomparable': Topology(incomparable(pool), ORDER_ENDPOINTS, ['a', 'b'], burst=1),
        'floating': Topology(floating(pool), ORDER_ENDPOINTS, ['a', 'b', 'f'], floating=('f',)),
        'skip': Topology(skip(pool), ORDER_ENDPOINTS, ['a', 'b', 'foo'], skips='foo'),
        'replicas': Topology([replicas], ['/', '/new', '/raise', '/results'], ['r']),
        'down': Topology([executor_down('gone')], ['/'], ['gone'], gateway={'retries': 0}, burst=1),
        'timeout': Topology([exec0], ['/echo', '/asleep'], ['exec0'], gateway=short_timeout, burst=1),
        'empty': Topology([], ['/'], ['nobody']),
        'cors': Topology([exec0], ['/', '/echo'], ['exec0'], gateway={'cors': True}),
    }


# Sent to every topology in addition to the random requests.
ALWAYS = [
    Case('grpc-dry-run', 'dry run', messages=[b'']),
    Case('http', 'dry run', method='GET', path='/dry_run'),
    Case('ws-json', 'dry run', path='/dry_run'),
    Case('ws-bytes', 'dry run', path='/dry_run'),
]
# Their responses show which Executors were skipped.
ROUTE_CASES = [
    Case('grpc', 'routes', messages=[b'\x0a\x03\x1a\x01/']),  # header.exec_endpoint = "/"
    Case('http', 'routes', path='/post', body=b'{}', headers={'content-type': 'application/json'}),
    Case('ws-json', 'routes', messages=['{"data": null}', '{}']),
]


@dataclass
class Report:
    """The results of a run."""

    compared: Counter = field(default_factory=Counter)
    tolerated: Counter = field(default_factory=Counter)
    unexpected: list = field(default_factory=list)

    def __str__(self):
        total = sum(self.compared.values())
        lines = [f'{total} exchanges compared: {dict(self.compared)}']
        lines += [f'  {count} x known: {reason}' for reason, count in self.tolerated.items()]
        lines += [f'UNEXPECTED {entry}' for entry in self.unexpected]
        return '\n'.join(lines)


class Comparison:
    """Compares two Gateways of one topology, left and right."""

    def __init__(self, name, topology, gateways, report, strict=False, responses=False):
        self.name = name
        self.topology = topology
        self.sides = [Exchange(gateway.ports) for gateway in gateways]
        self.report = report
        self.strict = strict
        self.responses = responses
        self.threads = ThreadPoolExecutor(2)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.threads.shutdown()
        for side in self.sides:
            side.close()

    def wait_for_endpoints(self):
        """Waits until both Gateways have discovered the Executors' endpoints, and therefore skip Executors."""
        for side in self.sides:
            for case in ROUTE_CASES:
                wait_until(partial(self.is_skipped, side, case), f'skipping {self.topology.skips}')

    def is_skipped(self, side, case) -> bool:
        response = side.send(case)
        [message] = response.get('frames') or [response.get('message') or response.get('body')]
        message = message.get('body', message)
        [route] = [each for each in message['routes'] if each['executor'] == self.topology.skips]
        return not (route.get('end_time') or route.get('endTime'))

    def compare(self, case: Case):
        responses = self.threads.map(lambda side: side.send(case), self.sides)
        left, right = paired(*(masked(response, self.topology.floating) for response in responses))
        self.report.compared[self.name] += 1
        exchanged = Exchanged(case, self.name, left, right)
        unexpected = []
        for difference in differences(left, right):
            reason = None if self.strict else known_reason(exchanged, difference)
            if reason:
                self.report.tolerated[reason] += 1
            else:
                unexpected.append(f'\n  {difference}')
        if unexpected:
            responses = f'\n  {left}\n  {right}' if self.responses else ''
            self.report.unexpected.append(f'[{self.name}] {case}{responses}{"".join(unexpected)}')


def run(launcher, pool, seed=0, count=60, left='jina', right='flowgate', only=None, **options) -> Report:
    """Compares `count` random requests for each topology; the options are passed to `Comparison`."""
    options['strict'] = options.get('strict') or left == right
    report = Report()
    for name, topology in topologies(pool).items():
        if only and name not in only:
            continue
        kinds = [left, right]
        gateways = [start_gateway(launcher, topology.executors, kind, **topology.gateway) for kind in kinds]
        for gateway in gateways:
            gateway.wait_ready()
        generator = Generator(f'{seed}-{name}', topology.endpoints, topology.deployments, topology.burst)
        with Comparison(name, topology, gateways, report, **options) as comparison:
            if topology.skips:
                comparison.wait_for_endpoints()
            for case in [*ALWAYS, *generator.cases(count)]:
                comparison.compare(case)
        for gateway in gateways:
            gateway.process.kill()
    return report


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--seed', default='0', help='any text; the same seed generates the same requests')
    parser.add_argument('--count', type=int, default=200, help='number of random requests per topology')
    parser.add_argument('--topology', action='append', help='compare only this topology; may be repeated')
    parser.add_argument('--left', default='jina', choices=['jina', 'flowgate'])
    parser.add_argument('--right', default='flowgate', choices=['jina', 'flowgate'])
    parser.add_argument('--strict', action='store_true', help='report known differences too')
    parser.add_argument('--responses', action='store_true', help='print both responses where they differ')
    options = parser.parse_args()
    interrupt_on_sigterm()
    with tempfile.TemporaryDirectory() as directory, Launcher(Path(directory)) as launcher:
        report = run(
            launcher,
            start_pool(launcher),
            options.seed,
            options.count,
            options.left,
            options.right,
            options.topology,
            strict=options.strict,
            responses=options.responses,
        )
    print(report)
    return 1 if report.unexpected else 0


if __name__ == '__main__':
    sys.exit(main())
