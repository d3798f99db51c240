"""The table and the JSON of a run."""

import json
from pathlib import Path
from statistics import median

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
    return '\n'.join([f'{scenario.name}: {scenario.title}', *lines, ''])


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


def write_json(path: Path, content: dict):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1) + '\n')
