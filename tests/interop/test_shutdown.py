"""What an orchestrator relies on: SIGTERM ends the Gateway under test, but not the requests in its hands."""

import signal
from concurrent.futures import ThreadPoolExecutor

import pytest
from jina import Document

from parties import PROTOCOLS, UNDER_TEST, start_gateway
from processes import listens, wait_until
from recorder import recording_executor


@pytest.mark.skipif(UNDER_TEST == 'jina', reason='there the signal meets the Flow, not its Gateway')
@pytest.mark.parametrize('protocol', PROTOCOLS)
def test_a_request_in_hand_is_answered_before_the_end(launcher, protocol):
    # On failure the Executor lets go first, so that the thread can end.
    with ThreadPoolExecutor(1) as thread, recording_executor(held=True) as (recorder, port):
        executor = {'name': 'held', 'external': True, 'host': '127.0.0.1', 'port': port}
        gateway = start_gateway(launcher, [executor]).wait_ready()
        answer = thread.submit(gateway.client(protocol).post, '/', Document(text='x'))
        wait_until(lambda: recorder.metadata, 'the request at the Executor')
        gateway.process.child.send_signal(signal.SIGTERM)
        wait_until(lambda: not listens(gateway.ports[protocol]), 'no new connections')
        recorder.released.set()
        assert answer.result(timeout=20)[0].text == 'x'
        assert gateway.process.child.wait(timeout=20) == 0
