"""The Python Executors that stand behind the Gateways, started once, and the Flows made of them."""

from parties import external, start_executor
from processes import Launcher, free_port

# Of two branches, `c` is always the later one: Jina merges in the order of arrival, which would be a race without it.
LATER_BRANCH = {'delay': 0.06}
# The floating `f` never ends before the answer is sent, so that its route looks alike on both sides.
LINGERING = {'delay': 0.3}

MULTI_ENDPOINTS = [
    *('/', '/echo', '/append', '/upper', '/tags', '/emb', '/tensor_list', '/matches', '/all'),
    *('/raise', '/new', '/clear', '/results', '/params', '/kw', '/nobody'),
]
ORDER_ENDPOINTS = ['/', '/order', '/raise', '/results', '/new', '/foo', '/nobody']


def start_pool(launcher: Launcher) -> dict:
    """Starts all of them side by side and waits for all."""
    pool = {
        'exec0': start_executor(launcher, 'exec0', 'Multi'),
        'a': start_executor(launcher, 'a', 'Order'),
        'b': start_executor(launcher, 'b', 'Order'),
        'c': start_executor(launcher, 'c', 'Order', uses_with=LATER_BRANCH),
        'j': start_executor(launcher, 'j', 'Order'),
        'f': start_executor(launcher, 'f', 'Order', uses_with=LINGERING),
        'foo': start_executor(launcher, 'foo', 'OnlyFoo'),
        # Two replicas that cannot be told apart, so that it does not matter which of them is asked.
        'r0': start_executor(launcher, 'r', 'Tag'),
        'r1': start_executor(launcher, 'r', 'Tag'),
    }
    for process in pool.values():
        process.wait_ready()
    return pool


def nowhere(name: str, **keys) -> dict:
    """The Flow entry of an Executor that is down."""
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


def floating(pool):
    return [
        external('a', pool['a']),
        external('f', pool['f'], floating=True),
        external('b', pool['b']),
    ]


def skip(pool):
    return [external('a', pool['a']), external('foo', pool['foo']), external('b', pool['b'])]
