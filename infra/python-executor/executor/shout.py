"""An Executor as anybody writes one: nothing in it knows of Lambda."""

from jina import DocumentArray, Executor, requests


class Shout(Executor):
    @requests
    def shout(self, docs: DocumentArray, **kwargs):
        for doc in docs:
            doc.text = doc.text.upper()
