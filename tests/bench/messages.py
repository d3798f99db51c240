"""The requests of the bench as protobuf and as JSON, and what a right answer holds."""

import importlib
import json
import struct
import subprocess
import sys
from pathlib import Path

PROTO = Path(__file__).resolve().parents[2] / 'proto' / 'jina'
METHOD = '/jina.JinaSingleDataRequestRPC/process_single_data'
TEXT = 'hello world 0'
DIMENSIONS = 768
#: The id in which `bench_client` writes the number of a message.
NUMBERED = 'bench00000000'


def generate(directory: Path):
    """Generates Python's protobuf modules and Envoy's descriptor set; returns (modules, path of the set)."""
    directory.mkdir(parents=True, exist_ok=True)
    descriptors = directory / 'descriptors.bin'
    command = [sys.executable, '-m', 'grpc_tools.protoc', f'-I{PROTO}', f'--python_out={directory}']
    command += ['--include_imports', f'--descriptor_set_out={descriptors}', 'jina.proto', 'docarray.proto']
    subprocess.run(command, check=True, cwd=PROTO)
    sys.path.insert(0, str(directory))
    return importlib.import_module('jina_pb2'), descriptors


class Messages:
    """Makes requests with the generated modules."""

    def __init__(self, modules):
        self.request_type = modules.DataRequestProto

    def one_text(self):
        """37 bytes: one document with an id and a text."""
        request = self._request()
        request.data.docs.docs.add(id='document0', text=TEXT)
        return request

    def texts(self, count: int = 100):
        """5.6 KB for 100 documents."""
        request = self._request()
        for number in range(count):
            request.data.docs.docs.add(id=f'{number:032x}', text=f'some more text {number:03}')
        return request

    def embeddings(self, count: int):
        """312 KB for 100 documents of 768 floats, 5 MB for 1,600."""
        request = self._request()
        for number in range(count):
            document = request.data.docs.docs.add(id=f'{number:032x}')
            values = embedding(number)
            document.embedding.dense.buffer = struct.pack(f'<{DIMENSIONS}f', *values)
            document.embedding.dense.shape.append(DIMENSIONS)
            document.embedding.dense.dtype = '<f4'
            document.embedding.cls_name = 'numpy'
        return request

    def _request(self):
        request = self.request_type()
        request.header.exec_endpoint = '/'
        return request


def embedding(number: int) -> list:
    """Floats with all their digits, as a model returns them, without a random generator."""
    return [((number * 7919 + index * 104729) % 1_000_003) / 1_000_003 - 0.5 for index in range(DIMENSIONS)]


def json_text() -> bytes:
    """Jina's JSON for one document."""
    return json.dumps({'execEndpoint': '/', 'data': [{'text': TEXT}]}, separators=(',', ':')).encode()


def json_embeddings(count: int = 100) -> bytes:
    """Jina's JSON for documents of 768 floats."""
    documents = [{'id': f'{number:032x}', 'embedding': embedding(number)} for number in range(count)]
    return json.dumps({'execEndpoint': '/', 'data': documents}).encode()


def json_cut_off(size: int) -> bytes:
    """Documents of 768 floats that end within the last one."""
    document = json.dumps({'embedding': embedding(0)}).encode() + b','
    return (b'{"data":[' + document * (size // len(document) + 1))[:size]


def numbered(make: Messages) -> bytes:
    """A message whose document has an id in which the client writes a number."""
    request = make.request_type()
    request.header.exec_endpoint = '/'
    request.data.docs.docs.add(id=NUMBERED, text=TEXT)
    return request.SerializeToString()


def json_numbered() -> bytes:
    """The same in JSON, for a WebSocket."""
    return json.dumps({'exec_endpoint': '/', 'data': [{'id': NUMBERED, 'text': TEXT}]}).encode()


def transcoder_text() -> bytes:
    """The same document in protobuf's JSON, as Envoy's transcoder takes it."""
    data = {'docs': {'docs': [{'text': TEXT}]}}
    return json.dumps({'header': {'execEndpoint': '/'}, 'data': data}, separators=(',', ':')).encode()


def framed(request) -> bytes:
    """Puts gRPC's frame head before the message."""
    message = request.SerializeToString()
    return b'\0' + struct.pack('>I', len(message)) + message
