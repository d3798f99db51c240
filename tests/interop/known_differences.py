"""The whole list of what our Gateway does otherwise than Jina 3.13 on purpose; anything else fails the run."""

import base64
import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import permutations

import numpy as np

from comparison import ABSENT, GENERATED, Difference
from exchange import plain_request
from random_requests import (
    BAD_BASE64,
    BAD_PATTERN,
    BEYOND_FLOAT32,
    EMPTY_MESSAGE,
    NO_DOCS_KEY,
    NOT_A_NUMBER,
    ODD_PARAMETERS,
    OUT_OF_RANGE,
    TOO_DEEP,
    VARIABLE_LOOK_BEHIND,
    Case,
)

CRUD = ('/index', '/search', '/delete', '/update')
CLIENT_MISTAKES = (BAD_BASE64, BAD_PATTERN, NO_DOCS_KEY, OUT_OF_RANGE)
# What a connection is closed with when the client did wrong.
CLIENT_MISTAKE_CLOSES = (1003, 1007, 1008, 1009)
DROPPED = 1006
REQUEST_DOES_NOT_HOLD = 1008
UNREACHABLE = (503, 504)
WITH_CONDITIONS = ('conditions', 'operators', 'comparisons', 'sizes', 'paths', 'incomparable')
# A document has one of these.
CONTENT = ('text', 'blob', 'tensor')
# What the Executors of the branches write into a document that is there, and the content that it takes the place of;
# nothing else of it may differ.
WRITTEN_BY_BRANCHES = {'text', 'blob', 'tensor', 'tags', 'weight', 'embedding', 'scores'}


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


def beyond_float32(exchanged, difference):
    if exchanged.case.label != BEYOND_FLOAT32:
        return False
    refused = exchanged.right.get('status') == 422
    closed = exchanged.right.get('close', {}).get('code') == REQUEST_DOES_NOT_HOLD
    return refused or (closed and not exchanged.right['frames'])


def not_a_number(exchanged, difference):
    in_http = (
        exchanged.case.label == NOT_A_NUMBER
        and exchanged.left.get('status') == 500
        and exchanged.right.get('status') in (200, *UNREACHABLE)
    )
    as_text = (
        isinstance(difference.left, float)
        and not math.isfinite(difference.left)
        and difference.right in ('NaN', 'Infinity', '-Infinity')
    )
    return in_http or as_text


def dropped_connection(exchanged, difference):
    left, right = exchanged.left.get('close', {}), exchanged.right.get('close', {})
    dropped = left.get('code') == DROPPED and right.get('code') in CLIENT_MISTAKE_CLOSES
    return dropped and difference.path[0] == 'close'


def empty_message(exchanged, difference):
    return (
        exchanged.case.label == EMPTY_MESSAGE
        and 'the buffer is already decompressed' in exchanged.left.get('details', '')
        and exchanged.right.get('code') in ('OK', 'UNAVAILABLE', 'DEADLINE_EXCEEDED')
    )


def python_exception(exchanged, difference):
    text = difference.left
    return difference.path[-1] == 'details' and isinstance(text, str) and text.startswith('Unexpected <class')


def failed(answer) -> bool:
    return (
        answer.get('status') == 500
        or answer.get('code') == 'UNKNOWN'
        or answer.get('close', {}).get('code') == DROPPED
    )


def odd_parameters(exchanged, difference):
    return exchanged.case.label == ODD_PARAMETERS and failed(exchanged.left) and not failed(exchanged.right)


def condition_of_one_passed_by(exchanged, difference):
    return (
        exchanged.topology == 'incomparable'
        and failed(exchanged.left)
        and not failed(exchanged.right)
        and any(passed_by(message, name) for message in messages_of(exchanged.right) for name in 'ab')
    )


def condition_that_cannot_be_tested(exchanged, difference):
    return (
        exchanged.topology == 'incomparable'
        and exchanged.left.get('status') == 500
        and exchanged.right.get('status') == 422
        and 'cannot be tested' in exchanged.right['body']['detail'][0]['msg']
    )


def nested_too_deep(exchanged, difference):
    return (
        exchanged.case.label == TOO_DEEP
        and exchanged.right.get('status') == 422
        and 'nested too deep' in exchanged.right['body']['detail'][0]['msg']
    )


def pattern_that_nobody_needs(exchanged, difference):
    refused = exchanged.right.get('code') == 'UNKNOWN' or exchanged.right.get('status') == 422
    return exchanged.case.label == BAD_PATTERN and exchanged.topology == 'empty' and refused


def skipped_join(exchanged, difference):
    """Jina's documents are those of one branch: each must be among ours, as far as the branches leave it alone. Where
    a branch was passed by there is no difference, but that a branch that nobody filtered still has all documents."""
    left, right = messages_around(exchanged, difference, 'data')
    if not (passed_by(left, 'j') and passed_by(right, 'j')):
        return False
    someone_passed = any(passed_by(message, branch) for message in (left, right) for branch in 'bc')
    if someone_passed and exchanged.topology not in WITH_CONDITIONS:
        return False
    return are_among(documents(left), documents(right))


def order_of_arrival(exchanged, difference):
    """A branch that is passed by arrives first in Jina, so that its documents are the base; they must be the same."""
    left, right = messages_around(exchanged, difference, 'data')
    if passed_by(left, 'j') or not any(passed_by(left, branch) and passed_by(right, branch) for branch in 'bc'):
        return False
    ours, theirs = documents(right), documents(left)
    return exchanged.topology == 'join' and len(ours) == len(theirs) and are_among(theirs, ours)


def list_keeps_its_type(exchanged, difference):
    """The numbers must be the same; of an empty array Jina keeps the outer dimension only."""
    where = next((name for name in ('tensor', 'embedding') if name in difference.path), None)
    if where is None or 'dense' not in difference.path:
        return False
    place = difference.path[: difference.path.index('dense')]
    left, right = message_at(exchanged.left, place), message_at(exchanged.right, place)
    if not left.get('cls_name') == right.get('cls_name') == 'list':
        return False
    return numbers_of(left['dense']) == numbers_of(right['dense'])


def numbers_of(dense) -> list:
    shape, dtype = [int(size) for size in dense.get('shape', [])], np.dtype(dense['dtype'])
    buffer = base64.b64decode(dense.get('buffer', {}).get('base64', ''))
    # A shape without a buffer stands for zeros.
    values = np.frombuffer(buffer, dtype) if buffer else np.zeros(shape, dtype)
    return values.reshape(shape).tolist()


def echoed_as_read(exchanged, difference):
    """What the Executor would have got is echoed."""
    statuses = exchanged.left.get('status'), exchanged.right.get('status')
    if exchanged.case.kind != 'http' or statuses[0] != statuses[1] or statuses[0] not in UNREACHABLE:
        return False
    path, left, right = difference.path, difference.left, difference.right
    if path == ('body', 'header', 'status', 'exception', 'stacks'):
        return right == []
    if path[:2] == ('body', 'parameters'):
        return (left == {} and right is None) or is_same_number(left, right)
    if path[:2] != ('body', 'data'):
        return False
    if left in (None, '', 0, {}, []) and right is None:
        return True
    if right is ABSENT and isinstance(left, dict) and 'scores' in path:
        return set(left.values()) == {None}
    name = next((step for step in reversed(path) if isinstance(step, str)), '')
    document = message_at(exchanged.right, path[:-1])
    if name == 'id':
        return left in (None, '') and isinstance(right, str) and right.startswith(GENERATED)
    if name == 'mime_type':
        return isinstance(right, str)
    if name in ('granularity', 'adjacency', 'parent_id'):
        return left is None and len(path) > 4
    if name == 'blob' and isinstance(right, str):
        return isinstance(left, str) and base64.b64decode(left) == base64.b64decode(right)
    if name in CONTENT and right is None:
        return any(document.get(other) is not None for other in CONTENT)
    return is_same_number(left, right)


def is_same_number(left, right) -> bool:
    """Whether our float is the number that Jina has, at a float's precision."""
    if not isinstance(left, (int, float)) or not isinstance(right, float):
        return False
    return right in (float(left), float(np.float32(left)))


def pattern_that_only_python_refuses(exchanged, difference):
    sent = [exchanged.case.body or b'', *exchanged.case.messages]
    has_it = any(VARIABLE_LOOK_BEHIND in str(message) for message in sent)
    return has_it and exchanged.case.label == BAD_PATTERN and failed(exchanged.left) and not failed(exchanged.right)


def forwarded_proto(exchanged, difference):
    return (
        difference.path == ('location',)
        and exchanged.case.headers.get('x-forwarded-proto') == 'https'
        and difference.left == str(difference.right).replace('http:', 'https:', 1)
    )


def negative_zero(exchanged, difference):
    """An evaluation without any field is then dropped."""
    is_unset = difference.right is ABSENT or difference.right is None
    path, left = difference.path, difference.left
    if path[-1] == 'evaluations' and isinstance(left, dict):
        return is_unset and all(is_negative_zero(score.get('value')) for score in left.values())
    in_score = bool({'scores', 'evaluations'}.intersection(path)) and path[-1] == 'value'
    return is_unset and in_score and is_negative_zero(left)


def is_negative_zero(value) -> bool:
    return isinstance(value, float) and value == 0 and math.copysign(1, value) < 0


def place_without_id(exchanged, difference):
    """Jina sorts by ids that its Executors do not see; the documents must be the same, and those of clients' ids in
    the same order."""
    if exchanged.topology not in WITH_CONDITIONS:
        return False
    left, right = (documents(message) for message in messages_around(exchanged, difference, 'data'))
    theirs, ours = ([without_generated(document) for document in side] for side in (left, right))
    if GENERATED not in [document.get('id') for document in ours] or len(ours) != len(theirs):
        return False
    given = [[document for document in side if document.get('id') != GENERATED] for side in (ours, theirs)]
    known = [[document for document in side if not (document.get('id') or '').startswith('new-')] for side in given]
    return known[0] == known[1] and all(ours.count(document) == theirs.count(document) for document in ours)


def without_generated(value):
    """The value without the numbers of the ids that were made on the way."""
    if isinstance(value, dict):
        return {key: without_generated(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [without_generated(entry) for entry in value]
    return GENERATED if isinstance(value, str) and value.startswith(GENERATED) else value


def ids_given_early(exchanged, difference):
    """Jina's documents are exactly those that the client sent, without an id that nobody needed."""
    left, right = messages_around(exchanged, difference, 'data')
    if difference.path[-1] != 'id' or exchanged.topology != 'join' or not (nobody_did_anything(left) and nobody_did_anything(right)):
        return False
    sent = [plain_request(message) for message in exchanged.case.messages if isinstance(message, bytes)]
    return any(documents(left) == documents(message) for message in sent)


def nobody_did_anything(message) -> bool:
    """Whether all Executors that were reached were passed by, or failed."""
    names = [route['executor'] for route in message.get('routes') or []]
    failures = [route['executor'] for route in message.get('routes') or [] if (route.get('status') or {}).get('code')]
    executors = [name for name in names if name not in ('gateway', 'stranger')]
    return bool(names) and all(passed_by(message, name) or name in failures for name in executors)


def messages_around(exchanged, difference, member):
    """Both messages that differ in one member; empty ones where it is another that differs."""
    if member not in difference.path:
        return {}, {}
    place = difference.path[: difference.path.index(member)]
    return message_at(exchanged.left, place), message_at(exchanged.right, place)


def messages_of(answer) -> list:
    """All messages of an answer, over whatever protocol."""
    bodies = [frame.get('body', frame) for frame in answer.get('frames', [])]
    found = [answer.get('message'), answer.get('body'), *answer.get('messages', []), *bodies]
    return [message for message in found if isinstance(message, dict)]


def message_at(answer, place):
    """The message at a place of an answer; an empty one where there is none."""
    try:
        for step in place:
            answer = answer[step]
    except (KeyError, IndexError):
        return {}
    return answer


def parameters_left_behind(exchanged, difference):
    """Jina's parameters are exactly those that Executors would have got that were passed by, one behind the other."""
    left, right = messages_around(exchanged, difference, 'parameters')
    reached = [route['executor'] for route in right.get('routes') or []]
    skipped = [name for name in reached if passed_by(left, name) and passed_by(right, name)]
    found = without_empty_results(left.get('parameters') or {})
    for length in range(1, len(skipped) + 1):
        for path in permutations(skipped, length):
            expected = right['parameters']
            for name in path:
                expected = own_parameters(expected, name)
            if found == without_empty_results(expected):
                return True
    return False


def without_empty_results(parameters) -> dict:
    return {key: value for key, value in parameters.items() if value != {} or key != '__results__'}


def own_parameters(parameters, executor) -> dict:
    """What an Executor gets of a client's parameters."""
    own, common = {}, {}
    for key, value in parameters.items():
        *owner, name = key.split('__')
        if not owner or key.startswith('__') or key.endswith('__'):
            common[key] = value
        elif ''.join(owner) == executor:
            own[name] = value
    group = parameters.get(executor)
    return {**common, **own, **(group if isinstance(group, dict) else {})}


def passed_by(message, executor) -> bool:
    """Whether the Executor was reached but not called; its route has then no end."""
    routes = [route for route in message.get('routes') or [] if route['executor'] == executor]
    return bool(routes) and not (routes[0].get('end_time') or routes[0].get('endTime'))


def documents(message) -> list:
    data = message.get('data') or []
    return data if isinstance(data, list) else data.get('docs', {}).get('docs', [])


def are_among(some, all_of_them) -> bool:
    """Whether every document of `some` has a counterpart of its own."""
    left_over = list(all_of_them or [])
    for document in some or []:
        counterpart = next((other for other in left_over if is_same_document(document, other)), None)
        if counterpart is None:
            return False
        left_over.remove(counterpart)
    return True


def is_same_document(one, other) -> bool:
    def rest(document):
        return {
            key: GENERATED if isinstance(value, str) and value.startswith(GENERATED) else value
            for key, value in document.items()
            if key not in {'chunks', 'matches', *WRITTEN_BY_BRANCHES}
        }

    return rest(one) == rest(other) and all(
        are_among(one.get(children), other.get(children)) for children in ('chunks', 'matches')
    )


KNOWN = [
    KnownDifference('Jina turns the integer tags 1 and 0 of JSON into true and false', integer_tags),
    KnownDifference('Jina answers network errors on CRUD routes with a bare 500', crud_network_error),
    KnownDifference('Jina answers what the client did wrong with a bare 500', client_mistake),
    KnownDifference('Jina makes what is beyond float32 Infinity, or fails at it; ours refuses it', beyond_float32),
    KnownDifference('Jina answers NaN and Infinity with a bare 500, or with what is no JSON', not_a_number),
    KnownDifference(
        'Jina drops the connection of a client that did wrong, without a close frame', dropped_connection
    ),
    KnownDifference('Jina refuses a message without a byte, which is a valid empty request', empty_message),
    KnownDifference(
        'the text is the repr of a Python exception; its code must be the same', python_exception
    ),
    KnownDifference('a join that is skipped loses all branches but one in Jina', skipped_join),
    KnownDifference(
        'a branch that is passed by is the first at its join in Jina, whatever the order of `needs`', order_of_arrival
    ),
    KnownDifference('Jina takes for granted that these parameters are objects', odd_parameters),
    KnownDifference('Jina fails at the condition of an Executor that is passed by', condition_of_one_passed_by),
    KnownDifference('Jina looks at target_executor only where there is an Executor', pattern_that_nobody_needs),
    KnownDifference(
        'an Executor that is passed by leaves its own parameters in the answer of Jina', parameters_left_behind
    ),
    KnownDifference('Jina infers the type of a tensor anew that is a list; ours keeps it', list_keeps_its_type),
    KnownDifference(
        'Jina echoes with a 503 or 504 what was sent; ours echoes what was read, and has no stacks', echoed_as_read
    ),
    KnownDifference('Python refuses a look-behind of variable width; ours takes it', pattern_that_only_python_refuses),
    KnownDifference('Jina believes X-Forwarded-Proto when it redirects', forwarded_proto),
    KnownDifference('a score of -0.0 is unset', negative_zero),
    KnownDifference('a Flow with a join gives documents their ids when the request comes', ids_given_early),
    KnownDifference('Jina answers a condition that cannot be tested with a bare 500', condition_that_cannot_be_tested),
    KnownDifference('Jina finds what is nested too deep only where it is decoded', nested_too_deep),
    KnownDifference(
        'Jina puts documents without id behind all others, where conditions are tested', place_without_id
    ),
]


def known_reason(exchanged: Exchanged, difference: Difference):
    """Why this difference is meant to be, or None."""
    for known in KNOWN:
        if known.covers(exchanged, difference):
            return known.reason
    return None
