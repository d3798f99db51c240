"""Counts Flowgate's instructions for each request under callgrind and compares them with the recorded ones. Started by
`instructions`."""

import argparse
import json
import os
import re
import shutil
import signal
import sys
import tempfile
from pathlib import Path

import check
import messages
from load import H2Load
from parties import Recipe, Starter, external

RECORDED = Path(__file__).with_suffix('.json')
#: What may be added without the script failing.
TOLERANCE = 0.03
#: Requests of the shorter run, by the size of a request. The longer run has twice as many. The difference leaves out
#: the start, the first connection and the end of the process.
SMALL, LARGE = 500, 20
STOP_SECONDS = 120
PROFILE = 'callgrind.out'


def loads(make: messages.Messages) -> dict:
    """One connection and one stream: more requests at a time are handled together, in a number that varies."""

    def grpc(request, count):
        return H2Load(messages.framed(request), 1, 1), count, lambda party: check.check_grpc(party, request)

    def http(body, count):
        return H2Load(body, 1, 1, 'http'), count, lambda party: check.check_http(party, '/post', body)

    return {
        'grpc-37b': grpc(make.one_text(), SMALL),
        'grpc-5k': grpc(make.texts(), SMALL),
        'grpc-312k': grpc(make.embeddings(100), LARGE),
        'http-1': http(messages.json_text(), SMALL),
        'http-floats': http(messages.json_embeddings(), LARGE // 5),
    }


def per_request(starter: Starter, binary: Path, executor, load, count: int, check_answer) -> float:
    """Returns the instructions of one request."""
    short, long = (
        instructions(starter, binary, executor, load, requests, check_answer) for requests in (count, 2 * count)
    )
    return (long - short) / count


def instructions(starter: Starter, binary: Path, executor, load, requests: int, check_answer) -> int:
    """Runs Flowgate under callgrind for this number of requests; returns the instructions of the process."""
    recipe = starter.flowgate('callgrind', binary, [external('echo', executor)])
    profile = starter.directory / PROFILE
    command = ['valgrind', '--tool=callgrind', f'--callgrind-out-file={profile}', *recipe.command]
    party = starter.start(Recipe(recipe.name, command, recipe.ports, recipe.environment)).wait_ready()
    check_answer(party)
    load.send(party.ports[load.protocol], requests)
    party.child.send_signal(signal.SIGTERM)
    party.child.wait(STOP_SECONDS)
    starter.stop([party])
    collected = re.search(r'Collected : (\d+)', party.log.read_text(errors='replace'))
    if not collected:
        raise RuntimeError(party.tail())
    return int(collected[1])


def compare(name: str, measured: float, recorded) -> bool:
    """Prints a line; returns whether the figure is acceptable."""
    if recorded is None:
        print(f'{name:12} {measured:14,.0f}  not recorded', flush=True)
        return True
    change = measured / recorded - 1
    is_worse = change > TOLERANCE
    print(f'{name:12} {measured:14,.0f}  {change:+7.1%}{"  WORSE" if is_worse else ""}', flush=True)
    return not is_worse


def main():
    parser = argparse.ArgumentParser(prog='tests/bench/instructions', description=__doc__.split(' Started')[0])
    parser.add_argument('--flowgate', type=Path, metavar='PATH', help='measure this binary instead of building one')
    parser.add_argument('--only', action='append', metavar='NAME')
    parser.add_argument('--keep', type=Path, metavar='FOLDER', help='keep the profiles, for callgrind_annotate')
    parser.add_argument('--record', action='store_true', help=f'write the figures to {RECORDED.name}')
    options = parser.parse_args()
    binary = options.flowgate or Path(os.environ['BENCH_FLOWGATE'])
    recorded = json.loads(RECORDED.read_text()) if RECORDED.exists() else {}
    is_acceptable = True
    with tempfile.TemporaryDirectory(prefix='flowgate-bench-') as directory:
        modules, descriptors = messages.generate(Path(directory, 'generated'))
        with Starter(Path(directory), Path(os.environ['BENCH_PROGRAMS']), Path(), descriptors) as starter:
            executor = starter.executor()
            for name, (load, count, check_answer) in loads(messages.Messages(modules)).items():
                if options.only and name not in options.only:
                    continue
                measured = per_request(starter, binary, executor, load, count, check_answer)
                if options.keep:
                    options.keep.mkdir(parents=True, exist_ok=True)
                    shutil.copy(Path(directory, PROFILE), options.keep / f'{PROFILE}.{name}')
                is_acceptable &= compare(name, measured, recorded.get(name))
                recorded[name] = round(measured)
    if options.record:
        RECORDED.write_text(json.dumps(recorded, indent=1) + '\n')
    sys.exit(0 if is_acceptable or options.record else 1)


if __name__ == '__main__':
    main()
