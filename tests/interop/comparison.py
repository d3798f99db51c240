"""Masks what differs from run to run by nature and lists what differs beside it, field by field."""

import math
import re
from dataclasses import dataclass

# What stands in the place of an id that was made on the way, before its number.
GENERATED = 'GENERATED-'
GENERATED_ID = re.compile(r'\b[0-9a-f]{32}\b')
ADDRESS_SET = re.compile(r"\{'[^{}]*'\}")
TIMES = {'start_time', 'end_time', 'startTime', 'endTime'}
# JSON objects whose keys come in the order of a hash table.
UNORDERED = {'tags', 'parameters', 'scores', 'evaluations', '_metadata'}


@dataclass
class Difference:
    """One place where two answers are not the same; an absent value is `ABSENT`."""

    path: tuple
    left: object
    right: object

    def __str__(self):
        where = '.'.join(str(step) for step in self.path)
        return f'{where}: {self.left!r} | {self.right!r}'


class Absent:
    def __repr__(self):
        return 'absent'


ABSENT = Absent()


class Mask:
    """Replaces generated ids by their number of appearance, times and stacks by a word."""

    def __init__(self, floating=()):
        self.floating = floating
        self.ids = {}

    def __call__(self, value, key=None):
        if key in TIMES and value not in (None, ABSENT):
            return 'TIME'
        if key == 'stacks' and value:
            return 'STACKS'
        if isinstance(value, dict):
            return self.route({name: self(entry, name) for name, entry in value.items()})
        if isinstance(value, (list, tuple)):
            return [self(entry) for entry in value]
        if isinstance(value, str):
            text = GENERATED_ID.sub(lambda match: self.number(match[0]), value)
            return ADDRESS_SET.sub(sorted_addresses, text)
        return value

    def number(self, generated: str) -> str:
        return self.ids.setdefault(generated, f'{GENERATED}{len(self.ids)}')

    def route(self, fields: dict) -> dict:
        """Whether a floating node has ended before the answer is sent is a race."""
        if fields.get('executor') in self.floating:
            return {name: value for name, value in fields.items() if name not in ('end_time', 'endTime')}
        return fields


def sorted_addresses(match) -> str:
    """A Python set of addresses prints in any order."""
    return '{' + ', '.join(sorted(match[0][1:-1].split(', '))) + '}'


def masked(answer, floating=()):
    """The answer without what is volatile; every WebSocket frame by itself, because their order is free."""
    if 'frames' in answer:
        frames = [Mask(floating)(frame) for frame in answer['frames']]
        return {**Mask(floating)({**answer, 'frames': []}), 'frames': frames}
    return Mask(floating)(answer)


def paired(left, right):
    """Both answers, the right one's WebSocket frames put in the order of the left one's.

    Frames come in the order of completion, so that two Gateways of different speed send them differently.
    """
    if len(left.get('frames', [])) < 2 or len(left['frames']) != len(right.get('frames', [])):
        return left, right
    marks = [mark(frame) for frame in left['frames']]
    marked = {mark(frame): frame for frame in right['frames']}
    if set(marks) != set(marked):
        return left, right
    return left, {**right, 'frames': [marked[each] for each in marks]}


def mark(frame):
    """By what the answer to one request is told from others: the client's id; the parameter `frame` over JSON, where
    the Gateway makes the ids."""
    if 'body' not in frame:
        return frame.get('header', {}).get('request_id')
    parameters = frame['body'].get('parameters', {}) if isinstance(frame['body'], dict) else {}
    return parameters.get('frame')


def same(left, right) -> bool:
    """Equality that tells true from 1 and takes NaN for equal to itself."""
    if isinstance(left, float) and isinstance(right, float) and math.isnan(left):
        return math.isnan(right)
    numbers = (int, float)
    if isinstance(left, bool) != isinstance(right, bool):
        return False
    if isinstance(left, numbers) and isinstance(right, numbers):
        return left == right
    return type(left) is type(right) and left == right


def differences(left, right, path=(), ordered=True) -> list:
    """Every leaf that differs, keys that only one has, and the keys of a JSON object in another order."""
    if isinstance(left, dict) and isinstance(right, dict):
        ordered = ordered and not UNORDERED.intersection(path)
        found = []
        for key in dict.fromkeys([*left, *right]):
            pair = left.get(key, ABSENT), right.get(key, ABSENT)
            found += differences(*pair, (*path, key), ordered)
        if not found and ordered and 'body' in path and list(left) != list(right):
            found.append(Difference((*path, '(order of keys)'), list(left), list(right)))
        return found
    if isinstance(left, list) and isinstance(right, list) and len(left) == len(right):
        found = []
        for number, pair in enumerate(zip(left, right)):
            found += differences(*pair, (*path, number), ordered)
        return found
    return [] if same(left, right) else [Difference(path, left, right)]
