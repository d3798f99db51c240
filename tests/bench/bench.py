"""Runs the scenarios, every party in turn, and prints the medians. Started by `run`."""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from itertools import groupby
from pathlib import Path
from statistics import median

import check
import disturbed
import messages
import report
import special
import usage
from load import H2Load, Wrk
from parties import Starter, external
from scenarios import flows, scenarios

HERE = Path(__file__).resolve().parent
RESULTS = HERE / 'results' / 'latest.json'

#: What is measured beside the scenarios.
SPECIAL = {
    'start': 'from the start of the process to its first answer',
    'idle-websockets': 'memory of each of 1,000 idle WebSockets',
    'hung-replica': 'rate while one of three replicas hangs, from a second later on',
    'beside-bodies': 'longest `GET /` beside four connections that post 0.2 MB of JSON',
    'beside-broken': 'longest `GET /` beside two connections that post 42 MB of broken JSON',
    'after-storm': 'resident memory after 9,900 WebSockets have left',
}
MEMORY = {
    'memory-idle': 'resident memory before the load',
    'memory-after': 'resident memory after the load',
}


def arguments():
    parser = argparse.ArgumentParser(prog='tests/bench/run', description=__doc__.split(' Started')[0])
    parser.add_argument('--only', action='append', metavar='NAME', help='run this scenario; may be repeated')
    parser.add_argument('--flowgate', type=Path, metavar='PATH', help='measure this binary instead of building one')
    parser.add_argument('--against', type=Path, metavar='PATH', help='a second binary of Flowgate, as party `before`')
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--seconds', type=float, default=3, help='of load in each round for each party')
    parser.add_argument('--quick', action='store_true', help='one round of a second: does everything work?')
    parser.add_argument('--without-jina', action='store_true', help='leave out Jina, which needs Python 3.10')
    parser.add_argument('--list', action='store_true', help='print the names of the scenarios')
    parser.add_argument('--table', type=Path, metavar='FILE', help="print the README's table from a results file")
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.seconds = 1, 1
    return options


class Bench:
    """One run of the bench."""

    def __init__(self, options, starter: Starter, make: messages.Messages):
        self.options = options
        self.starter = starter
        self.make = make
        self.executor = starter.executor()
        #: The runs of each scenario: party -> runs.
        self.results = {}
        #: The figures of each special measurement: party -> figures.
        self.figures = {}

    def run_group(self, flow: str, group: list):
        """Runs the scenarios of one Flow."""
        names = {name for scenario in group for name in self.names(scenario.parties)}
        parties = {'direct': self.executor, **self.start(flow, names - {'direct'})}
        idle = {name: usage.memory(party.pids()).resident for name, party in parties.items()}
        for scenario in group:
            sizes = {name: scenario.check(parties[name]) for name in self.names(scenario.parties)}
            self.run_scenario(scenario, parties, sizes)
        after = {name: usage.memory(party.pids()).resident for name, party in parties.items()}
        if flow == 'one':
            self.figure('memory-idle', {name: [idle[name] / 1e6] for name in parties})
            self.figure('memory-after', {name: [after[name] / 1e6] for name in parties})
        self.starter.stop([party for name, party in parties.items() if name != 'direct'])

    def names(self, parties) -> list:
        """Those of these parties that are in this run."""
        names = [name for name in parties if not (name == 'jina' and self.options.without_jina)]
        if self.options.against:
            names.insert(names.index('flowgate') + 1, 'before')
        return names

    def start(self, flow: str, names: set) -> dict:
        """Starts parties and waits until they are ready."""
        started = {name: self.starter.start(self.recipe(flow, name)) for name in sorted(names)}
        for party in started.values():
            party.wait_ready()
        return started

    def recipe(self, flow: str, name: str):
        executors, gateway = flows(lambda name, **keys: external(name, self.executor, **keys))[flow]
        if name == 'envoy':
            return self.starter.envoy_proxy(self.executor)
        if name == 'jina':
            return self.starter.jina_gateway(executors, **gateway)
        binary = {'flowgate': self.options.flowgate, 'before': self.options.against}[name]
        return self.starter.flowgate(name, binary, executors, **gateway)

    def figure(self, name: str, figures: dict):
        self.figures[name] = figures
        title = {**SPECIAL, **MEMORY}[name]
        print(special.table(f'{name}: {title}', report.UNITS[name], figures), flush=True)

    def run_start(self):
        """The time from the start of a process to its first answer."""
        names = self.names(['flowgate', 'envoy', 'jina'])
        message = self.make.one_text().SerializeToString()
        milliseconds = {name: [] for name in names}
        for _ in range(self.options.rounds):
            for name in names:
                microseconds = special.first_answer_microseconds(self.recipe('one', name), message)
                milliseconds[name].append(microseconds / 1000)
        self.figure('start', milliseconds)

    def run_idle_websockets(self):
        """The memory of an idle WebSocket, each time in a new process."""
        names = self.names(['flowgate', 'jina'])
        kilobytes = {name: [] for name in names}
        for _ in range(min(3, self.options.rounds)):
            parties = self.start('one', set(names))
            for name, party in parties.items():
                kilobytes[name].append(special.idle_socket_bytes(party) / 1000)
            self.starter.stop(list(parties.values()))
        self.figure('idle-websockets', kilobytes)

    def run_hung_replica(self):
        """The rate while one of three replicas hangs, in percent of the rate before."""
        executors = [self.starter.executor() for _ in range(3)]
        ports = [executor.ports['grpc'] for executor in executors]
        load = H2Load(messages.framed(self.make.one_text()), 4, 16)
        shares = []
        recipe = self.starter.flowgate('flowgate', self.options.flowgate, [{**external('echo', executors[0]), 'port': ports}])
        for _ in range(min(3, self.options.rounds)):
            party = self.starter.start(recipe).wait_ready()
            shares.append(100 * disturbed.share_with_hung_replica(party, executors, load))
            self.starter.stop([party])
        self.starter.stop(executors)
        self.figure('hung-replica', {'flowgate': shares})

    def run_disturbed(self, wanted):
        """What other clients do to a health check and to the memory, each time in a new process."""
        loads = {
            'beside-bodies': Wrk(messages.json_embeddings(13), 4),
            'beside-broken': Wrk(messages.json_cut_off(42_000_000), 2),
        }
        figures = {name: [] for name in [*loads, 'after-storm'] if wanted(name)}
        for _ in range(min(3, self.options.rounds)):
            for name, found in figures.items():
                party = self.start('one', {'flowgate'})['flowgate']
                if name in loads:
                    found.append(1000 * disturbed.longest_wait(party, loads[name]))
                else:
                    found.append(disturbed.resident_after_storm(party) / 1e6)
                self.starter.stop([party])
        for name, found in figures.items():
            self.figure(name, {'flowgate': found})

    def run_scenario(self, scenario, parties: dict, sizes: dict):
        names = self.names(scenario.parties)
        rate = self.half_rate(scenario)
        runs = {name: [] for name in names}
        for round_number in range(self.options.rounds):
            # Each round starts with another party, so that none is always measured after the same one.
            turn = round_number % len(names)
            for name in names[turn:] + names[:turn]:
                load = scenario.load.get(name) or scenario.load['flowgate']
                runs[name].append(self.measure(load, parties[name], sizes[name], rate))
        self.results[scenario.name] = runs
        summaries = {name: report.summary(found) for name, found in runs.items()}
        print(report.table(scenario, summaries), flush=True)

    def half_rate(self, scenario):
        if not scenario.half_rate_of:
            return None
        base = self.results[scenario.half_rate_of]
        return min(median(run['rate'] for run in base[name]) for name in scenario.parties) / 2

    def measure(self, load, party, size, rate) -> dict:
        """Applies the load to the party; returns what the client saw and what the party used."""
        port = party.ports[load.protocol]
        expected = load.warm_up(port, min(1, self.options.seconds / 3))
        pids = party.pids()
        usage.reset_peak(pids)
        before = usage.cpu_microseconds(pids)
        sample = load.run(port, self.options.seconds, expected, rate)
        used = usage.cpu_microseconds(pids) - before
        if not party.is_running():
            raise check.WrongAnswer(f'{party.name} has ended:\n{party.tail()}')
        if size and sample.response_bytes < size - check.TOLERANCE_BYTES:
            raise check.WrongAnswer(f'{party.name}: {sample.response_bytes} bytes for each answer instead of {size}')
        return {
            'rate': sample.rate,
            'p50': sample.p50,
            'p99': sample.p99,
            'cpu': used / sample.requests,
            'peak': usage.memory(pids).peak,
        }


def select(found: list, only) -> list:
    """Returns the scenarios with these names, and those from which they take their rate."""
    if not only:
        return found
    by_name = {scenario.name: scenario for scenario in found}
    unknown = set(only) - set(by_name) - set(SPECIAL)
    if unknown:
        sys.exit(f'bench: no scenario {", ".join(sorted(unknown))}; there are {", ".join([*by_name, *SPECIAL])}')
    wanted = set(only) | {by_name[name].half_rate_of for name in only if name in by_name}
    return [scenario for scenario in found if scenario.name in wanted]


def machine(options) -> dict:
    """Where and when the figures were measured."""
    model = [line.split(':')[1].strip() for line in open('/proc/cpuinfo') if line.startswith('model name')]
    commit = subprocess.run(['git', 'rev-parse', '--short', 'HEAD'], cwd=HERE, capture_output=True, text=True)
    return {
        'date': time.strftime('%Y-%m-%d'),
        'commit': commit.stdout.strip(),
        'binary': str(options.flowgate.name),
        'processor': model[0] if model else platform.machine(),
        'cores': os.cpu_count(),
        'kernel': platform.release(),
        'rounds': options.rounds,
        'seconds': options.seconds,
        'load_average': os.getloadavg(),
    }


def run(options, starter: Starter, make: messages.Messages, selected: list) -> Bench:
    bench = Bench(options, starter, make)
    for flow, group in groupby(selected, lambda scenario: scenario.flow):
        bench.run_group(flow, list(group))

    def wanted(name):
        return not options.only or name in options.only

    if wanted('start'):
        bench.run_start()
    if wanted('idle-websockets'):
        bench.run_idle_websockets()
    if wanted('hung-replica'):
        bench.run_hung_replica()
    bench.run_disturbed(wanted)
    return bench


def main():
    options = arguments()
    options.flowgate = options.flowgate or Path(os.environ['BENCH_FLOWGATE'])
    with tempfile.TemporaryDirectory(prefix='flowgate-bench-') as directory:
        modules, descriptors = messages.generate(Path(directory, 'generated'))
        make = messages.Messages(modules)
        selected = select(scenarios(make), options.only)
        titles = {**{scenario.name: scenario.title for scenario in selected}, **SPECIAL}
        if options.list:
            print('\n'.join(f'{name:16} {title}' for name, title in titles.items()))
            return
        if options.table:
            print(report.markdown(json.loads(options.table.read_text()), {**titles, **MEMORY}))
            return
        about = machine(options)
        jina = Path(os.environ['INTEROP_VENV'], 'bin', 'jina')
        with Starter(Path(directory), Path(os.environ['BENCH_PROGRAMS']), jina, descriptors) as starter:
            bench = run(options, starter, make, selected)
    report.write_json(RESULTS, {'machine': about, 'scenarios': bench.results, 'figures': bench.figures})
    print(f'written to {RESULTS}')


if __name__ == '__main__':
    main()
