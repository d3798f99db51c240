"""The table and the JSON of a run."""

import json
from pathlib import Path
from statistics import median

#: The units of the figures that are not rates.
UNITS = {
    'start': 'ms',
    'idle-websockets': 'KB',
    'hung-replica': '%',
    'beside-bodies': 'ms',
    'beside-broken': 'ms',
    'after-storm': 'MB',
    'memory-idle': 'MB',
    'memory-after': 'MB',
}

HEADINGS = ['', 'requests/s', '(min-max)', 'p50 us', 'p99 us', 'CPU us', '(min-max)', 'peak MB']


def summary(runs: list) -> dict:
    """Medians and spread of the runs of one party in one scenario."""
    keys = ['rate', 'p50', 'p99', 'cpu', 'peak']
    found = {}
    for key in keys:
        values = [run[key] for run in runs]
        found[key] = {'median': median(values), 'min': min(values), 'max': max(values)}
    return found


def table(scenario, parties: dict) -> str:
    """Returns the lines of one scenario: a line for each party, with the ratios to each peer."""
    peers = [peer for peer in ('envoy', 'jina', 'direct') if peer in parties]
    headings = HEADINGS + [f'x {peer}' for peer in peers] + [f'CPU x {peer}' for peer in peers if peer != 'direct']
    rows = [headings, *(_row(name, found, parties, peers) for name, found in parties.items())]
    widths = [max(len(row[column]) for row in rows) for column in range(len(headings))]
    lines = ['  '.join(cell.rjust(width) for cell, width in zip(row, widths)) for row in rows]
    if scenario.is_sequential:
        lines += [added(parties)]
    return '\n'.join([f'{scenario.name}: {scenario.title}', *lines, ''])


def added(parties: dict) -> str:
    """What each proxy adds to the median time of a request, where requests follow one another."""
    times = {name: found['p50']['median'] for name, found in parties.items()}
    texts = [f'{name} {time - times["direct"]:,.0f} us' for name, time in times.items() if name != 'direct']
    return f'added to direct: {", ".join(texts)}'


def _row(name: str, found: dict, parties: dict, peers: list) -> list:
    def ratio(key, peer):
        base = parties[peer][key]['median']
        return f'{found[key]["median"] / base:.2f}' if base else '-'

    rate, cpu = found['rate'], found['cpu']
    return [
        name,
        _short(rate['median']),
        f'({_short(rate["min"])}-{_short(rate["max"])})',
        _short(found['p50']['median']),
        _short(found['p99']['median']),
        _short(cpu['median']),
        f'({_short(cpu["min"])}-{_short(cpu["max"])})',
        f'{found["peak"]["median"] / 1e6:.1f}',
        *(ratio('rate', peer) for peer in peers),
        *(ratio('cpu', peer) for peer in peers if peer != 'direct'),
    ]


def _short(value: float) -> str:
    return f'{value:,.0f}' if value >= 100 else f'{value:.1f}'


def markdown(content: dict, titles: dict) -> str:
    """Returns the table of the README from the content of a results file."""
    lines = ['| | Flowgate | Envoy | Jina | Executor alone |', '|---|---|---|---|---|']
    for name, runs in content['scenarios'].items():
        found = {party: summary(values) for party, values in runs.items()}
        cells = [_cell(found.get(party)) for party in ('flowgate', 'envoy', 'jina', 'direct')]
        lines.append(f'| {titles[name]} | {" | ".join(cells)} |')
    for name, figures in content['figures'].items():
        unit = UNITS[name]
        cells = [
            f'{_short(median(figures[party]))} {unit}' if party in figures else ''
            for party in ('flowgate', 'envoy', 'jina', 'direct')
        ]
        lines.append(f'| {titles[name]} | {" | ".join(cells)} |')
    return '\n'.join(lines)


def _cell(found) -> str:
    if not found:
        return ''
    return f'{_short(found["rate"]["median"])} /s, {_short(found["cpu"]["median"])} us, p99 {_milliseconds(found["p99"]["median"])}'


def _milliseconds(microseconds: float) -> str:
    return f'{microseconds / 1000:.3g} ms' if microseconds < 1e6 else f'{microseconds / 1e6:.3g} s'


def write_json(path: Path, content: dict):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1) + '\n')
