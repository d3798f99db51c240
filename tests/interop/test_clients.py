"""Python client -> Gateway under test -> Python Executors, over each protocol."""

import pytest
from jina import Document, DocumentArray
from jina.excepts import BadServer

from parties import PROTOCOLS, external, start_gateway
from pool import chain, executor_down as executor_down_entry
from recorder import recording_executor
from tap import tapped

# The number of requests in a stream: enough for many to be in flight at once, so that they can overtake slow ones.
STREAMED_REQUESTS = 320


def documents(count: int) -> DocumentArray:
    return DocumentArray([Document(id=str(i), text=f'text {i}') for i in range(count)])


def texts(docs) -> list:
    return [doc.text for doc in docs]


@pytest.fixture(scope='module')
def two_in_chain(module_launcher, pool):
    return start_gateway(module_launcher, chain(pool)).wait_ready()


@pytest.fixture(scope='module')
def executor_down(module_launcher):
    return start_gateway(module_launcher, [executor_down_entry('gone')], retries=0).wait_ready()


@pytest.fixture(scope='module')
def short_timeout(module_launcher, pool):
    executors = [external('exec0', pool['exec0'])]
    return start_gateway(module_launcher, executors, retries=0, timeout_send=300).wait_ready()


@pytest.mark.parametrize('protocol', PROTOCOLS)
class TestEveryProtocol:
    def test_flow_is_ready(self, one_executor, protocol):
        assert one_executor.client(protocol).is_flow_ready(timeout=10)

    def test_documents_are_returned(self, one_executor, protocol):
        response = one_executor.client(protocol).post('/upper', documents(3))
        assert texts(response) == ['TEXT 0', 'TEXT 1', 'TEXT 2']
        assert response[:, 'id'] == ['0', '1', '2']

    def test_every_field_survives(self, one_executor, protocol):
        client = one_executor.client(protocol)
        [doc] = client.post('/all', Document(text='t', tags={'kept': ['x', {'y': 2.5}]}))
        assert (doc.text, doc.uri, doc.mime_type, doc.modality) == ('t', 'a/b.png', 'image/png', 'mod')
        assert (doc.granularity, doc.adjacency, doc.parent_id) == (2, 3, 'par')
        assert doc.weight == pytest.approx(0.1) and doc.location == pytest.approx([1.1, 2])
        assert doc.tags == {'kept': ['x', {'y': 2.5}]}

        [doc] = client.post('/matches', Document(id='d'))
        assert doc.matches[0].id == 'm0' and doc.matches[0].scores['cosine'].value == 0.25
        assert doc.matches[0].adjacency == 1
        assert doc.chunks[0].parent_id == 'd' and doc.chunks[0].granularity == 1
        assert doc.evaluations['e'].value == 1

        [doc] = client.post('/emb', Document(text='four'))
        assert doc.embedding.tolist() == [4, 1.5, -2]
        [doc] = client.post('/echo', Document(blob=bytes(range(256))))
        assert doc.blob == bytes(range(256))

    def test_a_request_without_documents_reaches_the_executor(self, one_executor, protocol):
        [response] = one_executor.client(protocol).post('/results', return_responses=True)
        assert response.parameters['__results__']['exec0/rep-0']['count'] == 0

    def test_a_large_document_is_returned(self, one_executor, protocol):
        text = 'large ' * 500_000  # The WebSocket client accepts at most 4 MiB.
        [doc] = one_executor.client(protocol).post('/upper', Document(text=text))
        assert doc.text == text.upper()

    def test_a_stream_has_one_response_per_request(self, one_executor, protocol):
        response = one_executor.client(protocol).post('/upper', documents(STREAMED_REQUESTS), request_size=1)
        assert sorted(texts(response)) == sorted(f'TEXT {i}' for i in range(STREAMED_REQUESTS))

    def test_results_in_order_keeps_the_order_of_the_requests(self, one_executor, protocol):
        sent = documents(STREAMED_REQUESTS)
        for slow in (0, 10, 100):
            sent[slow].tags['sleep'] = 0.3
        client = one_executor.client(protocol)
        response = client.post('/asleep', sent, request_size=1, results_in_order=True)
        assert texts(response) == texts(sent)

    def test_an_executor_gets_common_parameters_and_its_own(self, one_executor, protocol):
        parameters = {'plain': 1, 'exec0__own': 'x', 'other__own': 'y', 'deep': {'l': [1, None, 'z']}}
        [doc] = one_executor.client(protocol).post('/params', documents(1), parameters=parameters)
        assert doc.tags['params'] == {'plain': 1, 'own': 'x', 'deep': {'l': [1, None, 'z']}}

    def test_target_executor_selects_executors_by_pattern(self, two_in_chain, protocol):
        client = two_in_chain.client(protocol)
        assert texts(client.post('/', Document(text='x'))) == ['x+a+b']
        assert texts(client.post('/', Document(text='x'), target_executor='a')) == ['x+a']
        assert texts(client.post('/', Document(text='x'), target_executor='^b$')) == ['x+b']

    def test_routes_list_the_executors_in_order(self, two_in_chain, protocol):
        [response] = two_in_chain.client(protocol).post('/', Document(), return_responses=True)
        assert [route.executor for route in response.routes] == ['gateway', 'a', 'b']

    def test_an_executor_error_calls_only_on_error(self, one_executor, protocol):
        failed, succeeded = [], []
        one_executor.client(protocol).post('/raise', documents(2), on_error=failed.append, on_done=succeeded.append)
        assert succeeded == []
        [response] = failed
        assert response.status.exception.name == 'ValueError'
        assert list(response.status.exception.args) == ['boom', '42']
        assert response.status.exception.executor == 'Multi'

    def test_errors_do_not_end_a_stream(self, two_in_chain, protocol):
        responses = two_in_chain.client(protocol).post(
            '/raise',
            documents(40),
            request_size=1,
            parameters={'who': 'b'},
            continue_on_error=True,
            return_responses=True,
        )
        assert len(responses) == 40
        for response in responses:
            route_a, route_b = response.routes[1:]
            assert (route_a.executor, route_a.status.code) == ('a', 0)
            assert (route_b.executor, route_b.status.exception.name) == ('b', 'ValueError')

    def test_an_executor_that_is_down_is_a_connection_error(self, executor_down, protocol):
        with pytest.raises(ConnectionError, match='gone|may be down'):
            executor_down.client(protocol).post('/', documents(1))

    def test_a_flow_with_an_executor_down_is_not_ready(self, executor_down, protocol):
        assert not executor_down.client(protocol).is_flow_ready(timeout=10)

    def test_timeout_send_ends_a_slow_call(self, short_timeout, protocol):
        client = short_timeout.client(protocol)
        with pytest.raises(ConnectionError, match='timed out'):
            client.post('/asleep', documents(1), parameters={'sleep': 30})
        assert len(client.post('/asleep', documents(1), parameters={'sleep': 0})) == 1


# The WebSocket client of Jina 3.13 only logs the error.
@pytest.mark.parametrize('protocol', ['grpc', 'http'])
def test_an_executor_error_raises_without_on_error(one_executor, protocol):
    with pytest.raises(BadServer):
        one_executor.client(protocol).post('/raise', documents(1))


class TestGrpc:
    def test_without_results_in_order_a_slow_request_delays_no_other(self, one_executor):
        sent = documents(50)
        sent[0].tags['sleep'] = 0.5
        response = one_executor.client().post('/asleep', sent, request_size=1)
        assert response[-1].id == '0'

    def test_unary_calls_can_replace_a_stream(self, one_executor):
        response = one_executor.client().post('/upper', documents(30), request_size=10, stream=False)
        assert sorted(texts(response)) == sorted(f'TEXT {i}' for i in range(30))

    @pytest.mark.parametrize('stream', [True, False])
    def test_the_deadline_of_the_client_ends_a_slow_request(self, one_executor, stream):
        with pytest.raises(ConnectionError):
            one_executor.client().post(
                '/asleep', documents(1), parameters={'sleep': 30}, timeout=0.3, stream=stream
            )

    @pytest.mark.parametrize('stream', [True, False])
    @pytest.mark.parametrize('compression', ['Gzip', 'Deflate', 'NoCompression'])
    def test_compressed_requests_are_accepted(self, one_executor, compression, stream):
        sent = [Document(text='squeeze me ' * 10_000) for _ in range(20)]
        with tapped(one_executor.ports['grpc']) as tap:
            response = (
                one_executor._replace(ports={'grpc': tap.port})
                .client()
                .post('/upper', sent, request_size=1, compression=compression, stream=stream)
            )
        assert texts(response) == ['SQUEEZE ME ' * 10_000] * 20
        assert (tap.bytes_sent < 200_000) == (compression != 'NoCompression')

    @pytest.mark.parametrize('compression', ['Gzip', 'Deflate', 'NoCompression'])
    def test_requests_to_executors_are_compressed_as_configured(self, launcher, pool, compression):
        with tapped(pool['exec0'].ports[0]) as tap:
            executors = [{**external('exec0', pool['exec0']), 'port': tap.port}]
            gateway = start_gateway(launcher, executors, compression=compression).wait_ready()
            [doc] = gateway.client().post('/upper', Document(text='squeeze me ' * 100_000))
        assert doc.text == 'SQUEEZE ME ' * 100_000
        assert (tap.bytes_sent < 100_000) == (compression != 'NoCompression')

    def test_calls_to_an_executor_have_metadata_and_a_deadline(self, launcher):
        with recording_executor() as (recorder, port):
            executor = {'name': 'rec', 'external': True, 'host': '127.0.0.1', 'port': port}
            executor['grpc_metadata'] = {'authorization': 'token'}
            gateway = start_gateway(launcher, [executor], timeout_send=5000).wait_ready()
            gateway.client().post('/some', Document(), metadata=(('from-client', 'x'),))
        [metadata] = recorder.metadata
        assert metadata['authorization'] == 'token' and metadata['endpoint'] == '/some'
        assert 'from-client' not in metadata
        # gRPC rounds the deadline up slightly.
        assert 0 < recorder.seconds_left[0] < 5.5
