"""The whole list of what our Gateway does otherwise than Jina 3.13 on purpose; anything else fails the run."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from comparison import Difference
from random_requests import (
    BAD_BASE64,
    BAD_PATTERN,
    EMPTY_MESSAGE,
    NO_DOCS_KEY,
    NOT_A_NUMBER,
    OUT_OF_RANGE,
    Case,
)

CRUD = ('/index', '/search', '/delete', '/update')
CLIENT_MISTAKES = (BAD_BASE64, BAD_PATTERN, NO_DOCS_KEY, OUT_OF_RANGE)
# What a connection is closed with when the client did wrong.
CLIENT_MISTAKE_CLOSES = (1003, 1007, 1008, 1009)
DROPPED = 1006


@dataclass
class Exchanged:
    """One case, the topology that it was sent to and both masked answers; the left one is Jina's."""

    case: Case
    topology: str
    left: dict
    right: dict


@dataclass
class KnownDifference:
    """A difference that is meant to be, and why."""

    reason: str
    covers: Callable[[Exchanged, Difference], bool]


def integer_tags(exchanged, difference):
    in_tags = {'tags', '_metadata'}.intersection(difference.path)
    return (
        bool(in_tags)
        and exchanged.case.kind in ('http', 'ws-json')
        and isinstance(difference.left, bool)
        and not isinstance(difference.right, bool)
        and difference.left == difference.right
    )


def crud_network_error(exchanged, difference):
    return (
        exchanged.case.path in CRUD
        and exchanged.left.get('status') == 500
        and exchanged.right.get('status') in (503, 504)
    )


def client_mistake(exchanged, difference):
    return (
        exchanged.case.label in CLIENT_MISTAKES
        and exchanged.left.get('status') == 500
        and exchanged.right.get('status') == 422
    )


def not_a_number(exchanged, difference):
    in_http = (
        exchanged.case.label == NOT_A_NUMBER
        and exchanged.left.get('status') == 500
        and exchanged.right.get('status') == 200
    )
    as_text = (
        isinstance(difference.left, float)
        and not math.isfinite(difference.left)
        and difference.right in ('NaN', 'Infinity', '-Infinity')
    )
    return in_http or as_text


def other_failure(exchanged, difference):
    both_failed = exchanged.left.get('status') == exchanged.right.get('status') == 500
    return both_failed and difference.path[0] in ('body', 'content-type', 'spacing')


def allowed_methods(exchanged, difference):
    texts = isinstance(difference.left, str) and isinstance(difference.right, str)
    if difference.path != ('allow',) or not texts:
        return False
    return set(difference.left.split(', ')) < set(difference.right.split(', '))


def dropped_connection(exchanged, difference):
    left, right = exchanged.left.get('close', {}), exchanged.right.get('close', {})
    dropped = left.get('code') == DROPPED and right.get('code') in CLIENT_MISTAKE_CLOSES
    return dropped and difference.path[0] == 'close'


def empty_message(exchanged, difference):
    return exchanged.case.label == EMPTY_MESSAGE and exchanged.right.get('code') == 'OK'


def wording_of_validation(exchanged, difference):
    return (
        exchanged.left.get('status') == exchanged.right.get('status') == 422
        and difference.path[:2] == ('body', 'detail')
        and bool({'msg', 'ctx'}.intersection(difference.path))
    )


def python_exception(exchanged, difference):
    text = difference.left
    return difference.path[-1] == 'details' and isinstance(text, str) and text.startswith('Unexpected <class')


def skipped_join(exchanged, difference):
    return (
        exchanged.topology in ('join', 'conditions')
        and bool(exchanged.case.target)
        and bool({'docs', 'data', 'parameters'}.intersection(difference.path))
    )


KNOWN = [
    KnownDifference('Jina turns the integer tags 1 and 0 of JSON into true and false', integer_tags),
    KnownDifference('Jina answers network errors on CRUD routes with a bare 500', crud_network_error),
    KnownDifference('Jina answers what the client did wrong with a bare 500', client_mistake),
    KnownDifference('Jina answers NaN and Infinity with a bare 500, or with what is no JSON', not_a_number),
    KnownDifference('Jina answers other failures with a text, at which its own client fails', other_failure),
    KnownDifference('Jina names only the methods of the first route that fits', allowed_methods),
    KnownDifference(
        'Jina drops the connection of a client that did wrong, without a close frame', dropped_connection
    ),
    KnownDifference('Jina refuses a message without a byte, which is a valid empty request', empty_message),
    KnownDifference('the wording of validation is that of Python libraries', wording_of_validation),
    KnownDifference(
        'the text is the repr of a Python exception; its code must be the same', python_exception
    ),
    KnownDifference('a join that is skipped loses all branches but one in Jina', skipped_join),
]


def known_reason(exchanged: Exchanged, difference: Difference):
    """Why this difference is meant to be, or None."""
    for known in KNOWN:
        if known.covers(exchanged, difference):
            return known.reason
    return None
