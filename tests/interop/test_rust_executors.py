"""Python client -> Python Gateway -> Flowgate's Rust Executors."""

import pytest
from jina import Document, DocumentArray

from parties import PROTOCOLS, external, start_gateway, start_greeting, start_vector_search


@pytest.fixture(scope='module')
def rust_executors(module_launcher):
    greeting, search = start_greeting(module_launcher), start_vector_search(module_launcher)
    greeting.wait_ready()
    search.wait_ready()
    return greeting, search


@pytest.fixture(scope='module')
def greeter(module_launcher, rust_executors, pool):
    """A Python Executor in front, so that the Rust one gets what Python wrote."""
    executors = [external('a', pool['a']), external('greeting', rust_executors[0])]
    return start_gateway(module_launcher, executors, kind='jina').wait_ready()


@pytest.fixture(scope='module')
def searcher(module_launcher, rust_executors):
    executors = [external('search', rust_executors[1])]
    return start_gateway(module_launcher, executors, kind='jina').wait_ready()


@pytest.mark.parametrize('protocol', PROTOCOLS)
def test_greeting_is_appended(greeter, protocol):
    client = greeter.client(protocol)
    assert client.is_flow_ready(timeout=10)
    response = client.post('/', DocumentArray([Document(text='one'), Document(text='two')]))
    assert [doc.text for doc in response[:2]] == ['one+a', 'two+a']
    assert len(response) == 3 and response[2].text


def test_a_stream_passes_the_rust_executor(greeter):
    sent = DocumentArray([Document(id=str(i)) for i in range(300)])
    responses = greeter.client().post('/', sent, request_size=1, return_responses=True)
    assert {response.docs[0].id for response in responses} == {str(i) for i in range(300)}
    for response in responses:
        assert [route.executor for route in response.routes] == ['gateway', 'a', 'greeting']


@pytest.mark.parametrize('compression', ['Gzip', 'Deflate'])
def test_the_rust_executor_accepts_compressed_requests(launcher, rust_executors, compression):
    executors = [external('greeting', rust_executors[0])]
    gateway = start_gateway(launcher, executors, kind='jina', compression=compression).wait_ready()
    text = 'squeeze me ' * 100_000
    response = gateway.client().post('/', Document(text=text))
    assert response[0].text == text and len(response) == 2


def test_vectors_are_indexed_and_found(searcher):
    client = searcher.client()
    client.post(
        '/index',
        DocumentArray(
            [
                Document(id='east', embedding=[1.0, 0.0]),
                Document(id='north', embedding=[0.0, 1.0]),
                Document(id='north-east', embedding=[1.0, 1.0]),
            ]
        ),
    )
    [query] = client.post('/search', Document(embedding=[0.9, 0.1]), parameters={'top_k': 2})
    assert query.matches[:, 'id'] == ['east', 'north-east']
    assert all('cosine' in match.scores for match in query.matches)
    # The Executor is skipped for an endpoint that it does not bind.
    [doc] = client.post('/other', Document(text='untouched'))
    assert doc.text == 'untouched' and not doc.matches
