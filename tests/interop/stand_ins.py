"""Python replacements of Flowgate's Rust Executors, used only when Jina replaces Flowgate's binaries (INTEROP_GATEWAY=jina)."""

import numpy as np
from docarray.score import NamedScore
from jina import Document, DocumentArray, Executor, requests


class Greeting(Executor):
    """Appends one document with a greeting."""

    @requests
    def greet(self, docs, **kwargs):
        docs.append(Document(text='hello, world'))


class VectorSearch(Executor):
    """Indexes documents in memory, and adds the nearest by cosine similarity to queries."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.index = DocumentArray()

    @requests(on='/index')
    def add(self, docs, **kwargs):
        self.index.extend(docs)

    @requests(on='/search')
    def search(self, docs, parameters, **kwargs):
        unit = self.index.embeddings / np.linalg.norm(self.index.embeddings, axis=1, keepdims=True)
        for doc in docs:
            scores = unit @ (doc.embedding / np.linalg.norm(doc.embedding))
            for position in np.argsort(-scores)[: int(parameters.get('top_k', 10))]:
                match = Document(self.index[int(position)], copy=True)
                match.scores['cosine'] = NamedScore(value=float(scores[position]))
                doc.matches.append(match)
