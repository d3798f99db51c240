"""Sentences -> Python Executor with a real embedding model -> Flowgate's Rust vector search, over each protocol."""

from pathlib import Path

import pytest
from jina import Document, DocumentArray

from parties import PROTOCOLS, external, start_executor, start_gateway, start_vector_search

QUERIES = {
    'cooking': 'How long should I boil the pasta and stir the sauce?',
    'space': 'A spacecraft flew past the moon and the planets.',
    'football': 'The player kicked the ball past the goalkeeper and scored.',
    'money': 'The bank offers a loan at a low interest rate.',
    'weather': 'Tomorrow will be cold, with rain and wind.',
    'medicine': 'The doctor treated the sick patient in hospital.',
    'music': 'The guitarist played a song at the concert.',
    'software': 'The programmer found a bug in the code.',
    'animals': 'A cat and a dog ran after the mice.',
    'travel': 'We took a train and a ferry on our holiday trip.',
}


def sentences() -> DocumentArray:
    docs = DocumentArray()
    lines = Path(__file__).with_name('sentences.tsv').read_text().splitlines()
    for number, line in enumerate(lines):
        topic, text = line.split('\t')
        docs.append(Document(id=f'{topic}-{number}', text=text, tags={'topic': topic}))
    return docs


@pytest.fixture(scope='module')
def search(module_launcher):
    """The Gateway under test, with a third of the sentences indexed over each protocol."""
    encoder = start_executor(module_launcher, 'encoder', 'Encoder')
    index = start_vector_search(module_launcher)
    executors = [external('encoder', encoder), external('index', index)]
    gateway = start_gateway(module_launcher, executors)
    for process in (encoder, index, gateway.process):
        process.wait_ready()
    docs = sentences()
    for number, protocol in enumerate(PROTOCOLS):
        response = gateway.client(protocol).post('/index', docs[number::3], request_size=5)
        assert len(response) == 20
    return gateway


def nearest(search, protocol, text, top_k=5) -> list:
    """Returns ids and scores of the nearest sentences."""
    [doc] = search.client(protocol).post('/search', Document(text=text), parameters={'top_k': top_k})
    assert doc.embedding.shape == (256,)
    return [(match.id, match.scores['cosine'].value) for match in doc.matches]


@pytest.mark.parametrize('topic', QUERIES)
def test_the_neighbours_make_sense_and_are_the_same_over_each_protocol(search, topic):
    by_protocol = {protocol: nearest(search, protocol, QUERIES[topic]) for protocol in PROTOCOLS}
    matches = by_protocol['grpc']
    topics = [match.split('-')[0] for match, _ in matches]
    assert len(matches) == 5 and topics[0] == topic and topics.count(topic) >= 3, matches
    assert by_protocol['http'] == by_protocol['websocket'] == matches


def test_every_sentence_is_its_own_nearest_neighbour(search):
    docs = sentences()
    response = search.client().post('/search', docs, parameters={'top_k': 1}, results_in_order=True)
    assert [doc.matches[0].id for doc in response] == docs[:, 'id']
