"""The pool of Python Executors, started once per session, and the Flows that use them."""

from parties import external, start_executor
from processes import Launcher, free_port

# Branch `c` always arrives after `b`: Jina merges in the order of arrival, which would otherwise be a race.
LATER_BRANCH = {'delay': 0.1}
# The floating `f` never ends before the response is sent, so that its route is the same on both sides.
LINGERING = {'delay': 0.3}

MULTI_ENDPOINTS = [
    *('/', '/echo', '/append', '/upper', '/tags', '/emb', '/tensor_list', '/matches', '/all'),
    *('/raise', '/new', '/clear', '/results', '/params', '/kw', '/dtype', '/dtype', '/nobody'),
]
ORDER_ENDPOINTS = ['/', '/order', '/nest', '/raise', '/results', '/new', '/foo', '/nobody']


def start_pool(launcher: Launcher) -> dict:
    """Starts all Executors concurrently and waits until they are ready."""
    pool = {
        'exec0': start_executor(launcher, 'exec0', 'Multi'),
        'a': start_executor(launcher, 'a', 'Order'),
        'b': start_executor(launcher, 'b', 'Order'),
        'c': start_executor(launcher, 'c', 'Order', uses_with=LATER_BRANCH),
        'j': start_executor(launcher, 'j', 'Order'),
        'f': start_executor(launcher, 'f', 'Order', uses_with=LINGERING),
        'foo': start_executor(launcher, 'foo', 'OnlyFoo'),
        # Two identical replicas, so that it does not matter which of them is called.
        'r0': start_executor(launcher, 'r', 'Tag'),
        'r1': start_executor(launcher, 'r', 'Tag'),
    }
    for process in pool.values():
        process.wait_ready()
    return pool


def executor_down(name: str, **keys) -> dict:
    """Returns the Flow entry of an Executor that is down."""
    return {'name': name, 'external': True, 'host': '127.0.0.1', 'port': free_port(), **keys}


def chain(pool):
    return [external('a', pool['a']), external('b', pool['b'])]


def join(pool):
    return [
        external('a', pool['a']),
        external('b', pool['b'], needs='a'),
        external('c', pool['c'], needs='a'),
        external('j', pool['j'], needs=['b', 'c']),
    ]


def conditions(pool):
    first, left, right, last = join(pool)
    left['when'] = {'tags__x': {'$eq': 1}}
    right['when'] = {'tags__x': {'$neq': 1}}
    return [first, left, right, last]


def operators(pool):
    """A chain in which every node takes only some of the documents."""
    return [
        external('a', pool['a'], when={'$or': [{'weight': {'$gt': 0.5}}, {'tags__x': {'$exists': True}}]}),
        external('b', pool['b'], when={'$not': {'text': {'$regex': '^stay'}}}),
        external('j', pool['j'], when={'tags__lang': {'$in': ['en', 'de', None]}, 'chunks': {'$size': 0}}),
    ]


def comparisons(pool):
    """All comparison operators, mostly on values that some documents lack or have with another type."""
    return [
        external('a', pool['a'], when={'weight': {'$gte': 0, '$lt': 3}, 'granularity': {'$lte': 2}}),
        external('b', pool['b'], when={'tags__x': {'$neq': 1}, 'id': {'$nin': ['d1', 'd2']}}),
        external('c', pool['c'], when={'$and': [{'offset': {'$neq': None}}, {'mime_type': {'$neq': 'image/png'}}]}),
        external('j', pool['j'], when={'tags__t0': {'$eq': True}}),
    ]


def sizes(pool):
    """Conditions on lengths and on existence."""
    return [
        external('a', pool['a'], when={'$or': [{'text': {'$size': 4}}, {'chunks': {'$size': 1}}]}),
        external('b', pool['b'], when={'blob': {'$exists': False}, 'embedding': {'$exists': False}}),
        external('j', pool['j'], when={'$not': [{'scores': {'$exists': True}}, {'uri': {'$exists': True}}]}),
    ]


def paths(pool):
    """Nested fields, placeholders and nested operators."""
    other_text = {'text': {'$eq': '{modality}'}}
    either = {'$or': {'tags__o__k0': {'$gt': 0}, 'scores__cosine__value': {'$lt': 0.5}}}
    return [
        external('a', pool['a'], when={'$not': {'$or': [other_text, {'tags__x': {'$eq': '{tags__y}'}}]}}),
        external('b', pool['b'], when={'$and': [either, {'$not': {'uri': {'$in': ['a.png', 'plain']}}}]}),
        external('j', pool['j'], when={'modality': {'$regex': '(?i)GO|STAY$'}}),
    ]


def incomparable(pool):
    """Conditions that fail on documents with a string where a number is required, or the reverse."""
    return [
        external('a', pool['a'], when={'tags__t1': {'$gt': 0.5}}),
        external('b', pool['b'], when={'tags__t2': {'$regex': 'o'}}),
    ]


def floating(pool):
    return [
        external('a', pool['a']),
        external('f', pool['f'], floating=True),
        external('b', pool['b']),
    ]


def skip(pool):
    return [external('a', pool['a']), external('foo', pool['foo']), external('b', pool['b'])]
