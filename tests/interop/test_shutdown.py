"""SIGTERM stops the Gateway under test after the requests in flight, as orchestrators expect."""

import signal
from concurrent.futures import ThreadPoolExecutor

import pytest
from jina import Document

from parties import PROTOCOLS, UNDER_TEST, start_gateway
from processes import listens, wait_until
from recorder import recording_executor


@pytest.mark.skipif(UNDER_TEST == 'jina', reason='with Jina the Flow gets the signal, not its Gateway')
@pytest.mark.parametrize('protocol', PROTOCOLS)
def test_a_request_in_flight_is_finished_before_the_end(launcher, protocol):
    # When the test fails, the Executor releases its requests first, so that the thread can end.
    with ThreadPoolExecutor(1) as thread, recording_executor(held=True) as (recorder, port):
        executor = {'name': 'held', 'external': True, 'host': '127.0.0.1', 'port': port}
        gateway = start_gateway(launcher, [executor]).wait_ready()
        response = thread.submit(gateway.client(protocol).post, '/', Document(text='x'))
        wait_until(lambda: recorder.metadata, 'the request at the Executor')
        gateway.process.child.send_signal(signal.SIGTERM)
        wait_until(lambda: not listens(gateway.ports[protocol]), 'no new connections')
        recorder.released.set()
        assert response.result(timeout=20)[0].text == 'x'
        assert gateway.process.child.wait(timeout=20) == 0
