"""The deliberate differences of Flowgate's Gateway from Jina 3.13. Any other difference fails the run."""

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
# Close codes for invalid requests.
CLIENT_MISTAKE_CLOSES = (1003, 1007, 1008, 1009)
DROPPED = 1006
INVALID_REQUEST_CLOSE = 1008
UNREACHABLE = (503, 504)
WITH_CONDITIONS = ('conditions', 'operators', 'comparisons', 'sizes', 'paths', 'incomparable')
# A document has at most one of these fields.
CONTENT = ('text', 'blob', 'tensor')
# The fields of existing documents that the branches' Executors change. No other field may differ.
WRITTEN_BY_BRANCHES = {'text', 'blob', 'tensor', 'tags', 'weight', 'embedding', 'scores'}


@dataclass
class Exchanged:
    """One case with its topology and both masked responses; the left one is Jina's."""

    case: Case
    topology: str
    left: dict
    right: dict


@dataclass
class KnownDifference:
    """A deliberate difference with its reason."""

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
    is_rejected = exchanged.right.get('status') == 422
    closed = exchanged.right.get('close', {}).get('code') == INVALID_REQUEST_CLOSE
    return is_rejected or (closed and not exchanged.right['frames'])


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


def failed(response) -> bool:
    return (
        response.get('status') == 500
        or response.get('code') == 'UNKNOWN'
        or response.get('close', {}).get('code') == DROPPED
    )


def odd_parameters(exchanged, difference):
    return exchanged.case.label == ODD_PARAMETERS and failed(exchanged.left) and not failed(exchanged.right)


def condition_of_one_is_skipped(exchanged, difference):
    return (
        exchanged.topology == 'incomparable'
        and failed(exchanged.left)
        and not failed(exchanged.right)
        and any(is_skipped(message, name) for message in messages_of(exchanged.right) for name in 'ab')
    )


def condition_that_cannot_be_evaluated(exchanged, difference):
    return (
        exchanged.topology == 'incomparable'
        and exchanged.left.get('status') == 500
        and exchanged.right.get('status') == 422
        and 'cannot evaluate its condition' in exchanged.right['body']['detail'][0]['msg']
    )


def nested_too_deep(exchanged, difference):
    return (
        exchanged.case.label == TOO_DEEP
        and exchanged.right.get('status') == 422
        and 'nested too deep' in exchanged.right['body']['detail'][0]['msg']
    )


def unused_pattern(exchanged, difference):
    is_rejected = exchanged.right.get('code') == 'UNKNOWN' or exchanged.right.get('status') == 422
    return exchanged.case.label == BAD_PATTERN and exchanged.topology == 'empty' and is_rejected


def skipped_join(exchanged, difference):
    """Jina has the documents of one branch only: each must be among Flowgate's, apart from fields that branches change.
    Without conditions, a skipped branch is not a known difference."""
    left, right = messages_around(exchanged, difference, 'data')
    if not (is_skipped(left, 'j') and is_skipped(right, 'j')):
        return False
    any_branch_skipped = any(is_skipped(message, branch) for message in (left, right) for branch in 'bc')
    if any_branch_skipped and exchanged.topology not in WITH_CONDITIONS:
        return False
    return are_among(documents(left), documents(right))


def order_of_arrival(exchanged, difference):
    """In Jina a skipped branch arrives first, so that its documents are the base; the documents must be the same."""
    left, right = messages_around(exchanged, difference, 'data')
    if is_skipped(left, 'j') or not any(is_skipped(left, branch) and is_skipped(right, branch) for branch in 'bc'):
        return False
    of_flowgate, of_jina = documents(right), documents(left)
    return exchanged.topology == 'join' and len(of_flowgate) == len(of_jina) and are_among(of_jina, of_flowgate)


def list_keeps_its_type(exchanged, difference):
    """The numbers must be the same; Jina keeps only the outer dimension of an empty array."""
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
    # A shape without a buffer means zeros.
    values = np.frombuffer(buffer, dtype) if buffer else np.zeros(shape, dtype)
    return values.reshape(shape).tolist()


def echoed_as_read(exchanged, difference):
    """Flowgate's Gateway echoes the request as the Executor would have received it."""
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
    """Returns whether Flowgate's float is Jina's number in single precision."""
    if not isinstance(left, (int, float)) or not isinstance(right, float):
        return False
    return right in (float(left), float(np.float32(left)))


def pattern_that_only_python_rejects(exchanged, difference):
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
    """Jina keeps a score of -0.0; Flowgate leaves it unset, and an evaluation without fields is dropped."""
    is_unset = difference.right is ABSENT or difference.right is None
    path, left = difference.path, difference.left
    if path[-1] == 'evaluations' and isinstance(left, dict):
        return is_unset and all(is_negative_zero(score.get('value')) for score in left.values())
    in_score = bool({'scores', 'evaluations'}.intersection(path)) and path[-1] == 'value'
    return is_unset and in_score and is_negative_zero(left)


def is_negative_zero(value) -> bool:
    return isinstance(value, float) and value == 0 and math.copysign(1, value) < 0


def place_without_id(exchanged, difference):
    """Jina sorts by generated ids that its Executors do not get. The documents must be the same, and the documents
    with ids from the client must be in the same order."""
    if exchanged.topology not in WITH_CONDITIONS:
        return False
    left, right = (documents(message) for message in messages_around(exchanged, difference, 'data'))
    of_jina, of_flowgate = ([without_generated(document) for document in side] for side in (left, right))
    if GENERATED not in [document.get('id') for document in of_flowgate] or len(of_flowgate) != len(of_jina):
        return False
    given = [[document for document in side if document.get('id') != GENERATED] for side in (of_flowgate, of_jina)]
    known = [[document for document in side if not (document.get('id') or '').startswith('new-')] for side in given]
    return known[0] == known[1] and all(
        of_flowgate.count(document) == of_jina.count(document) for document in of_flowgate
    )


def without_generated(value):
    """Removes the numbers from generated ids."""
    if isinstance(value, dict):
        return {key: without_generated(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [without_generated(entry) for entry in value]
    return GENERATED if isinstance(value, str) and value.startswith(GENERATED) else value


def ids_assigned_early(exchanged, difference):
    """Jina's documents are exactly those that the client sent, without the ids that Flowgate assigns."""
    left, right = messages_around(exchanged, difference, 'data')
    if difference.path[-1] != 'id' or exchanged.topology != 'join' or not (no_executor_succeeded(left) and no_executor_succeeded(right)):
        return False
    sent = [plain_request(message) for message in exchanged.case.messages if isinstance(message, bytes)]
    return any(documents(left) == documents(message) for message in sent)


def no_executor_succeeded(message) -> bool:
    """Returns whether all Executors in the routes were skipped or failed."""
    names = [route['executor'] for route in message.get('routes') or []]
    failures = [route['executor'] for route in message.get('routes') or [] if (route.get('status') or {}).get('code')]
    executors = [name for name in names if name not in ('gateway', 'stranger')]
    return bool(names) and all(is_skipped(message, name) or name in failures for name in executors)


def messages_around(exchanged, difference, member):
    """Returns both messages that differ in this member; empty ones for a difference in another member."""
    if member not in difference.path:
        return {}, {}
    place = difference.path[: difference.path.index(member)]
    return message_at(exchanged.left, place), message_at(exchanged.right, place)


def messages_of(response) -> list:
    """Returns all messages of a response over any protocol."""
    bodies = [frame.get('body', frame) for frame in response.get('frames', [])]
    found = [response.get('message'), response.get('body'), *response.get('messages', []), *bodies]
    return [message for message in found if isinstance(message, dict)]


def message_at(response, place):
    """Returns the message at a path in a response; empty when it is missing."""
    try:
        for step in place:
            response = response[step]
    except (KeyError, IndexError):
        return {}
    return response


def parameters_left_behind(exchanged, difference):
    """Jina's parameters are the skipped Executors' parameters, applied one after the other."""
    left, right = messages_around(exchanged, difference, 'parameters')
    reached = [route['executor'] for route in right.get('routes') or []]
    skipped = [name for name in reached if is_skipped(left, name) and is_skipped(right, name)]
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
    """Returns the parameters that an Executor gets from the client's parameters."""
    own, common = {}, {}
    for key, value in parameters.items():
        *owner, name = key.split('__')
        if not owner or key.startswith('__') or key.endswith('__'):
            common[key] = value
        elif ''.join(owner) == executor:
            own[name] = value
    group = parameters.get(executor)
    return {**common, **own, **(group if isinstance(group, dict) else {})}


def is_skipped(message, executor) -> bool:
    """Returns whether the Executor was skipped: its route then has no end."""
    routes = [route for route in message.get('routes') or [] if route['executor'] == executor]
    return bool(routes) and not (routes[0].get('end_time') or routes[0].get('endTime'))


def documents(message) -> list:
    data = message.get('data') or []
    return data if isinstance(data, list) else data.get('docs', {}).get('docs', [])


def are_among(some, all_of_them) -> bool:
    """Returns whether every document of `some` has a separate counterpart."""
    remaining = list(all_of_them or [])
    for document in some or []:
        counterpart = next((other for other in remaining if is_same_document(document, other)), None)
        if counterpart is None:
            return False
        remaining.remove(counterpart)
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
    KnownDifference('Jina responds to network errors on CRUD routes with a bare 500', crud_network_error),
    KnownDifference('Jina responds to invalid requests with a bare 500', client_mistake),
    KnownDifference('Jina converts values beyond float32 to Infinity, or fails; Flowgate rejects them', beyond_float32),
    KnownDifference('Jina responds to NaN and Infinity with a bare 500, or with invalid JSON', not_a_number),
    KnownDifference(
        'Jina drops the connection on an invalid request, without a close frame', dropped_connection
    ),
    KnownDifference('Jina rejects an empty message, which is a valid empty request', empty_message),
    KnownDifference(
        'the text is the repr of a Python exception; its code must be the same', python_exception
    ),
    KnownDifference('a join that is skipped loses all branches but one in Jina', skipped_join),
    KnownDifference(
        'a skipped branch comes first at its join in Jina, whatever the order of `needs`', order_of_arrival
    ),
    KnownDifference('Jina assumes that these parameters are objects', odd_parameters),
    KnownDifference('Jina fails on the condition of a skipped Executor', condition_of_one_is_skipped),
    KnownDifference('Jina reads target_executor only if the Flow has an Executor', unused_pattern),
    KnownDifference(
        'in Jina a skipped Executor leaves its own parameters in the response', parameters_left_behind
    ),
    KnownDifference('Jina infers the type of a tensor given as a list again; Flowgate keeps it', list_keeps_its_type),
    KnownDifference(
        'Jina echoes the request as sent with a 503 or 504; Flowgate echoes it as parsed, without stacks', echoed_as_read
    ),
    KnownDifference('Python rejects a look-behind of variable width; Flowgate accepts it', pattern_that_only_python_rejects),
    KnownDifference('Jina uses X-Forwarded-Proto for redirects', forwarded_proto),
    KnownDifference('a score of -0.0 is unset', negative_zero),
    KnownDifference('Flowgate assigns missing ids when the request arrives, in a Flow with a join', ids_assigned_early),
    KnownDifference('Jina responds with a bare 500 to a condition that cannot be evaluated', condition_that_cannot_be_evaluated),
    KnownDifference('Jina detects values nested too deep only where it decodes them', nested_too_deep),
    KnownDifference(
        'Jina puts documents without id after all others in Flows with conditions', place_without_id
    ),
]


def known_reason(exchanged: Exchanged, difference: Difference):
    """Returns the reason of a deliberate difference, or None."""
    for known in KNOWN:
        if known.covers(exchanged, difference):
            return known.reason
    return None
