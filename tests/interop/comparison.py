"""Masks values that differ from run to run, and lists all other differences field by field."""

import math
import re
from dataclasses import dataclass

# Replaces a generated id, followed by its number.
GENERATED = 'GENERATED-'
GENERATED_ID = re.compile(r'\b[0-9a-f]{32}\b')
ADDRESS_SET = re.compile(r"\{'[^{}]*'\}")
TIMES = {'start_time', 'end_time', 'startTime', 'endTime'}
# JSON objects whose keys are in the order of a hash table.
UNORDERED = {'tags', 'parameters', 'scores', 'evaluations', '_metadata'}


@dataclass
class Difference:
    """One difference between two responses; a missing value is `ABSENT`."""

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
    """Replaces generated ids by their order of appearance, and times and stacks by a word."""

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
        """Removes the end time of floating Executors: whether they end before the response is a race."""
        if fields.get('executor') in self.floating:
            return {name: value for name, value in fields.items() if name not in ('end_time', 'endTime')}
        return fields


def sorted_addresses(match) -> str:
    """Sorts addresses, because a Python set prints them in any order."""
    return '{' + ', '.join(sorted(match[0][1:-1].split(', '))) + '}'


def masked(response, floating=()):
    """Masks a response. WebSocket frames are masked one by one, because their order is not defined."""
    if 'frames' in response:
        frames = [Mask(floating)(frame) for frame in response['frames']]
        return {**Mask(floating)({**response, 'frames': []}), 'frames': frames}
    return Mask(floating)(response)


def paired(left, right):
    """Returns both responses, with the right one's WebSocket frames in the order of the left one's.

    Frames come in the order of completion, which differs between Gateways of different speed.
    """
    if len(left.get('frames', [])) < 2 or len(left['frames']) != len(right.get('frames', [])):
        return left, right
    keys = [frame_key(frame) for frame in left['frames']]
    by_key = {frame_key(frame): frame for frame in right['frames']}
    if set(keys) != set(by_key):
        return left, right
    return left, {**right, 'frames': [by_key[key] for key in keys]}


def frame_key(frame):
    """Returns the value that identifies the request of a frame: the client's id, or over JSON, where the Gateway generates
    the ids, the parameter `frame`."""
    if 'body' not in frame:
        return frame.get('header', {}).get('request_id')
    parameters = frame['body'].get('parameters', {}) if isinstance(frame['body'], dict) else {}
    return parameters.get('frame')


def same(left, right) -> bool:
    """Returns whether two values are equal. True and 1 differ, and NaN equals itself."""
    if isinstance(left, float) and isinstance(right, float) and math.isnan(left):
        return math.isnan(right)
    numbers = (int, float)
    if isinstance(left, bool) != isinstance(right, bool):
        return False
    if isinstance(left, numbers) and isinstance(right, numbers):
        return left == right
    return type(left) is type(right) and left == right


def differences(left, right, path=(), ordered=True) -> list:
    """Lists all leaves that differ, keys that only one side has, and JSON objects with another order of keys."""
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
