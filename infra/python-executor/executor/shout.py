"""An ordinary Jina Executor: it needs no code for Lambda."""

from jina import DocumentArray, Executor, requests


class Shout(Executor):
    @requests
    def shout(self, docs: DocumentArray, **kwargs):
        for doc in docs:
            doc.text = doc.text.upper()
