"""A typical Jina Executor, with endpoints that fail in several ways."""

import os
import signal
import time

from jina import Executor, requests


class Worker(Executor):
    @requests
    def upper(self, docs, **kwargs):
        for doc in docs:
            doc.text = doc.text.upper()
            doc.tags['pid'] = str(os.getpid())

    @requests(on='/fail')
    def fail(self, **kwargs):
        raise ValueError('boom')

    @requests(on='/sleep')
    def sleep(self, parameters, **kwargs):
        time.sleep(parameters['seconds'])

    @requests(on='/print')
    def print(self, docs, **kwargs):
        for doc in docs:
            print(doc.text, flush=True)

    @requests(on='/die')
    def die(self, **kwargs):
        os.kill(os.getpid(), signal.SIGKILL)
