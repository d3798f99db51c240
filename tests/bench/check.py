"""Sends one request with a real client and compares the answer, because load generators only look at the HTTP status."""

import json
import urllib.request

import grpc

from messages import METHOD

#: How much smaller a right answer may be: the routes' times are numbers of variable length. An error has no message.
TOLERANCE_BYTES = 64


class WrongAnswer(Exception):
    """A party answers, but not rightly."""


def check_grpc(party, request) -> int:
    """Sends a request; returns the size of a response's gRPC message with its head."""
    options = [('grpc.max_receive_message_length', -1), ('grpc.max_send_message_length', -1)]
    with grpc.insecure_channel(f'127.0.0.1:{party.ports["grpc"]}', options=options) as channel:
        call = channel.unary_unary(METHOD, type(request).SerializeToString, lambda message: message)
        message = call(request, timeout=60, wait_for_ready=True)
    response = type(request).FromString(message)
    if response.data != request.data:
        raise WrongAnswer(f'{party.name}: the documents differ from those sent')
    if response.header.status.code != response.header.status.SUCCESS or not response.routes:
        raise WrongAnswer(f'{party.name}: {response.header} {response.routes}')
    return len(message) + 5


def check_http(party, path: str, body: bytes):
    """Posts JSON once. The documents must return with their text and the length of their embeddings."""
    url = f'http://127.0.0.1:{party.ports["http"]}{path}'
    request = urllib.request.Request(url, body, {'content-type': 'application/json'})
    with urllib.request.urlopen(request, timeout=60) as response:
        answer = json.load(response)
    sent, received = _documents(json.loads(body)), _documents(answer)
    if [_essence(document) for document in sent] != [_essence(document) for document in received]:
        raise WrongAnswer(f'{party.name}: {str(answer)[:500]}')


def _documents(message: dict) -> list:
    """The documents of Jina's JSON or of protobuf's."""
    data = message['data']
    return data['docs']['docs'] if isinstance(data, dict) else data


def _essence(document: dict):
    return document.get('text') or None, len(document.get('embedding') or [])
