"""The Jina Executors that all scenarios use."""

import asyncio
import os

import numpy as np
from docarray.score import NamedScore
from jina import Document, DocumentArray, Executor, requests


def deployment_name(executor: Executor) -> str:
    """Returns the deployment's name: `a` for the runtime name `a/rep-0`."""
    return executor.runtime_args.name.split('/')[0]


class Multi(Executor):
    """One endpoint per kind of change that an Executor can make to a request."""

    @requests
    def default(self, docs, **kwargs):
        """Changes nothing."""

    @requests(on='/echo')
    def echo(self, docs, **kwargs):
        """Changes nothing."""

    @requests(on='/append')
    def append(self, docs, parameters, **kwargs):
        docs.append(Document(id='appended', text=str(parameters.get('text', 'appended'))))

    @requests(on='/upper')
    def upper(self, docs, **kwargs):
        for doc in docs:
            doc.text = doc.text.upper()

    @requests(on='/tags')
    def tags(self, docs, **kwargs):
        for doc in docs:
            doc.tags.update(
                i=3, f=2.5, b=True, s='str', n=None, l=[1, 'a', False], m={'x': 1, 'y': {'z': [1.5]}}
            )

    @requests(on='/emb')
    def embed(self, docs, **kwargs):
        for doc in docs:
            doc.embedding = np.array([len(doc.text), 1.5, -2], dtype=np.float32)

    @requests(on='/tensor_list')
    def tensor_list(self, docs, **kwargs):
        for doc in docs:
            doc.tensor = [[1, 2], [3, 4]]

    @requests(on='/matches')
    def matches(self, docs, **kwargs):
        for number, doc in enumerate(docs):
            match = Document(id=f'm{number}', text='match')
            match.scores['cosine'] = NamedScore(value=0.25, op_name='op', description='desc', ref_id='r')
            match.scores['empty'] = NamedScore()
            doc.matches.append(match)
            doc.chunks.append(Document(id=f'c{number}', text='chunk', tags={'k': 1}))
            doc.evaluations['e'] = NamedScore(value=1)

    @requests(on='/all')
    def all_fields(self, docs, **kwargs):
        for doc in docs:
            doc.weight = 0.1
            doc.uri = 'a/b.png'
            doc.modality = 'mod'
            doc.offset = 1.1
            doc.location = [1.1, 2]
            doc.granularity = 2
            doc.adjacency = 3
            doc.parent_id = 'par'
            doc._metadata = {'q': 1}

    @requests(on='/raise')
    def fail(self, docs, **kwargs):
        raise ValueError('boom', 42)

    @requests(on='/asleep')
    async def asleep(self, docs, parameters, **kwargs):
        default = parameters.get('sleep', 0)
        await asyncio.sleep(max((doc.tags.get('sleep', default) for doc in docs), default=default))

    @requests(on='/new')
    def new(self, docs, **kwargs):
        return DocumentArray([Document(id=f'new{i}', text=f'n{i}') for i in range(2)])

    @requests(on='/clear')
    def clear(self, docs, **kwargs):
        return DocumentArray()

    @requests(on='/results')
    def results(self, docs, **kwargs):
        return {'count': len(docs), 'nested': {'a': [1, 2]}, 'who': self.runtime_args.name}

    @requests(on='/params')
    def params(self, docs, parameters, **kwargs):
        for doc in docs:
            doc.tags['params'] = dict(parameters)

    @requests(on='/dtype')
    def dtype(self, docs, parameters, **kwargs):
        """Sets a tensor of any dtype, which JSON clients cannot send."""
        shape = [int(size) for size in parameters.get('shape', [3])]
        values = np.linspace(0, parameters.get('to', 100), int(np.prod(shape))).reshape(shape)
        for doc in docs:
            doc.tensor = values.astype(parameters.get('dtype', '<f4'))
            doc.embedding = doc.tensor[:0]

    @requests(on='/kw')
    def kw(self, docs, **kwargs):
        parts = kwargs.get('docs_matrix') or []
        for doc in docs:
            doc.tags['kw'] = sorted(kwargs)
            doc.tags['docs_map'] = sorted(kwargs.get('docs_map') or {})
            doc.tags['docs_matrix'] = [len(part) for part in parts]


class Tag(Executor):
    """Adds its deployment's name to every document."""

    def __init__(self, delay: float = 0, **kwargs):
        """:param delay: seconds before every response, to make one branch slower than another."""
        super().__init__(**kwargs)
        self.delay = delay

    def mark(self, docs, value):
        name = deployment_name(self)
        for doc in docs:
            doc.tags[name] = value
            doc.text += f'+{name}'

    @requests
    async def default(self, docs, **kwargs):
        await asyncio.sleep(self.delay)
        self.mark(docs, 1)

    @requests(on='/raise')
    async def fail(self, docs, parameters, **kwargs):
        await asyncio.sleep(self.delay)
        name = deployment_name(self)
        if parameters.get('who', name) == name:
            raise ValueError(f'boom in {name}')

    @requests(on='/results')
    async def results(self, docs, **kwargs):
        await asyncio.sleep(self.delay)
        return {'n': len(docs), 'tag': deployment_name(self)}

    @requests(on='/new')
    async def new(self, docs, **kwargs):
        await asyncio.sleep(self.delay)
        name = deployment_name(self)
        shared = Document(id='shared', text=f'from {name}', tags={name: 1})
        if name == 'b':
            shared.weight = 1
        return DocumentArray([Document(id=f'{name}-0', text=name), shared])


class Order(Tag):
    """A Tag whose `/order` adds documents and fields that differ per branch, to be merged."""

    @requests(on='/order')
    async def order(self, docs, parameters, **kwargs):
        await asyncio.sleep(self.delay + parameters.get('sleep', 0))
        name = deployment_name(self)
        self.mark(docs, True)
        for doc in docs:
            if name == 'b':
                doc.weight = 0.5
            if name == 'c':
                doc.embedding = np.array([1, 2], dtype=np.float32)
        if name in ('b', 'c'):
            docs.append(Document(id=f'new-{name}', text=f'from {name}'))


    @requests(on='/nest')
    async def nest(self, docs, **kwargs):
        """Adds chunks and matches to be merged, some of them in every branch."""
        await asyncio.sleep(self.delay)
        name = deployment_name(self)
        for doc in docs:
            for nested in (doc.chunks, doc.matches):
                shared = Document(id='shared', tags={name: 1})
                shared.chunks.append(Document(id=f'deep-{name}', uri=f'{name}.png'))
                nested.extend([shared, Document(id=f'of-{name}', text=name, weight=0.5)])
            doc.scores[name] = NamedScore(value=0.5)
            if name == 'c':
                doc.blob = b'replaces the text'


class OnlyFoo(Executor):
    """Binds only `/foo`, so that it is skipped for other endpoints."""

    @requests(on='/foo')
    def foo(self, docs, **kwargs):
        for doc in docs:
            doc.tags[f'foo_{deployment_name(self)}'] = 1


class Replica(Executor):
    """Adds the id of its process to every document."""

    @requests
    async def whoami(self, docs, parameters, **kwargs):
        await asyncio.sleep(parameters.get('sleep', 0))
        for doc in docs:
            doc.tags['pid'] = str(os.getpid())


class Encoder(Executor):
    """Adds a sentence embedding to every document, with a model that needs no download."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        import wordllama

        self.model = wordllama.WordLlama.load(
            cache_dir=os.path.dirname(wordllama.__file__), disable_download=True
        )

    @requests
    def encode(self, docs, **kwargs):
        if len(docs):
            docs.embeddings = self.model.embed([doc.text for doc in docs])
