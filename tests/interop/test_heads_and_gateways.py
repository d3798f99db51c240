"""The Gateway under test with a Jina Head behind it, and Gateways behind Gateways in both orders."""

import json

import pytest
import yaml
from jina import Document

from parties import HERE, JINA, PROTOCOLS, UNDER_TEST, external, start_gateway
from processes import Launcher, Process, free_port


def start_head(launcher: Launcher) -> Process:
    """Starts a Python Flow with a deployment of two shards; the first port of the process is the Head's."""
    head, gateway = free_port(), free_port()
    sharded = {
        'name': 'sharded',
        'uses': 'Order',
        'py_modules': [str(HERE / 'executors.py')],
        'shards': 2,
        'port': head,
        'polling': json.dumps({'/results': 'ALL', '/new': 'ALL', '/raise': 'ALL', '*': 'ANY'}),
    }
    flow = {'jtype': 'Flow', 'gateway': {'port': gateway}, 'executors': [sharded]}
    path = launcher.directory / 'head.yml'
    path.write_text(yaml.safe_dump(flow, sort_keys=False))
    # The Head's port comes first, because external() uses the first port.
    return launcher.start('head', [JINA, 'flow', '--uses', path], [head, gateway])


@pytest.fixture(scope='module')
def over_shards(module_launcher):
    head = start_head(module_launcher)
    gateway = start_gateway(module_launcher, [external('sharded', head)])
    head.wait_ready()
    return gateway.wait_ready()


@pytest.mark.parametrize('protocol', PROTOCOLS)
class TestHead:
    def test_polling_all_reaches_every_shard(self, over_shards, protocol):
        [response] = over_shards.client(protocol).post('/results', Document(), return_responses=True)
        results = response.parameters['__results__']
        assert set(results) == {'sharded/shard-0/rep-0', 'sharded/shard-1/rep-0'}
        assert [route.executor for route in response.routes] == ['gateway', 'sharded']

    def test_the_responses_of_the_shards_are_merged(self, over_shards, protocol):
        response = over_shards.client(protocol).post('/new', Document())
        assert response[:, 'id'] == ['sharded-0', 'shared']

    def test_polling_any_reaches_one_shard(self, over_shards, protocol):
        [doc] = over_shards.client(protocol).post('/', Document(text='x'))
        assert doc.text == 'x+sharded'

    def test_an_error_of_the_shards_reaches_the_client(self, over_shards, protocol):
        failed = []
        over_shards.client(protocol).post('/raise', Document(), on_error=failed.append)
        assert failed[0].status.description == "ValueError('boom in sharded')"


@pytest.fixture(scope='module', params=['python-behind', 'python-in-front'])
def nested(request, module_launcher, pool):
    """Two Gateways in a chain: Jina's and the one under test."""
    kinds = ['jina', UNDER_TEST] if request.param == 'python-behind' else [UNDER_TEST, 'jina']
    inner = start_gateway(module_launcher, [external('a', pool['a'])], kind=kinds[0])
    executors = [external('inner', inner.process), external('b', pool['b'])]
    outer = start_gateway(module_launcher, executors, kind=kinds[1])
    inner.wait_ready()
    return outer.wait_ready()


@pytest.mark.parametrize('protocol', PROTOCOLS)
def test_documents_pass_both_gateways(nested, protocol):
    client = nested.client(protocol)
    assert client.is_flow_ready(timeout=10)
    [response] = client.post('/', Document(text='x'), parameters={'p': 1}, return_responses=True)
    assert response.docs[0].text == 'x+a+b'
    # Both Gateways are in the routes, as in Jina; the Executors of the inner Gateway are not.
    assert [route.executor for route in response.routes] == ['gateway', 'gateway', 'inner', 'b']


def test_a_stream_passes_both_gateways(nested):
    sent = [Document(id=str(i)) for i in range(300)]
    response = nested.client().post('/', sent, request_size=1)
    assert sorted(response[:, 'id']) == sorted(str(i) for i in range(300))
    assert set(response[:, 'text']) == {'+a+b'}
