"""Sends one case to one Gateway and converts the response to plain, comparable values."""

import asyncio
import base64
import http.client
import json

import grpc
import websockets
from google.protobuf import struct_pb2
from google.protobuf.descriptor import FieldDescriptor
from jina.proto import jina_pb2

from random_requests import Case

RESPONSE_TIMEOUT_SECONDS = 20
# Headers that describe the server, not the response.
SERVER_HEADERS = {'date', 'server', 'connection'}
# Replaces the value of `content-length`, which depends on generated values such as times.
MASKED_LENGTH = 'GIVEN'
MASKED_PORT = 'PORT'
# The characters of a JSON text that show whether it has spaces.
SPACING_SAMPLE_LENGTH = len('{"header":{')
UNLIMITED = [('grpc.max_receive_message_length', -1), ('grpc.max_send_message_length', -1)]


def plain(value):
    """Converts a protobuf message to dicts and lists, with only the fields that are present."""
    if isinstance(value, struct_pb2.Struct):
        return {key: plain(entry) for key, entry in value.fields.items()}
    if isinstance(value, struct_pb2.ListValue):
        return [plain(entry) for entry in value.values]
    if isinstance(value, struct_pb2.Value):
        kind = value.WhichOneof('kind')
        return None if kind in (None, 'null_value') else plain(getattr(value, kind))
    if isinstance(value, bytes):
        return {'base64': base64.b64encode(value).decode()}
    if not hasattr(value, 'ListFields'):
        return value
    fields = {}
    for descriptor, content in value.ListFields():
        if descriptor.label != FieldDescriptor.LABEL_REPEATED:
            fields[descriptor.name] = plain(content)
        elif descriptor.message_type and descriptor.message_type.GetOptions().map_entry:
            fields[descriptor.name] = {key: plain(content[key]) for key in content}
        else:
            fields[descriptor.name] = [plain(entry) for entry in content]
    unknown = [(field.field_number, field.data) for field in value.UnknownFields()]
    return {**fields, 'unknown fields': unknown} if unknown else fields


def plain_request(data: bytes):
    return plain(jina_pb2.DataRequestProto.FromString(data))


class Exchange:
    """The connections to one Gateway."""

    def __init__(self, ports: dict):
        self.ports = ports
        self.channel = grpc.insecure_channel(f'127.0.0.1:{ports["grpc"]}', options=UNLIMITED)

    def close(self):
        self.channel.close()

    def send(self, case: Case):
        send_by_kind = {
            'grpc': self.grpc,
            'grpc-stream': self.grpc_stream,
            'grpc-dry-run': self.grpc_dry_run,
            'http': self.http,
            'ws-json': self.websocket,
            'ws-bytes': self.websocket,
        }
        try:
            return send_by_kind[case.kind](case)
        except (TimeoutError, asyncio.TimeoutError):
            return {'no response': f'within {RESPONSE_TIMEOUT_SECONDS} s'}

    def grpc(self, case: Case):
        method = self.channel.unary_unary('/jina.JinaSingleDataRequestRPC/process_single_data')
        return self.unary(method, case, plain_request)

    def grpc_dry_run(self, case: Case):
        method = self.channel.unary_unary('/jina.JinaGatewayDryRunRPC/dry_run')
        return self.unary(method, case, lambda data: plain(jina_pb2.StatusProto.FromString(data)))

    def unary(self, method, case: Case, decode):
        try:
            data, call = method.with_call(case.messages[0], timeout=RESPONSE_TIMEOUT_SECONDS, metadata=case.metadata)
        except grpc.RpcError as error:
            return self.failure(error)
        return {'code': 'OK', 'message': decode(data), **self.metadata(call)}

    def metadata(self, call) -> dict:
        return {
            'metadata': sorted(call.initial_metadata() or []),
            'trailers': list(call.trailing_metadata() or []),
        }

    def failure(self, error) -> dict:
        return {
            'code': error.code().name,
            'details': error.details(),
            'trailers': list(error.trailing_metadata() or []),
        }

    def grpc_stream(self, case: Case):
        """Responses come in any order. (Ordered results are not tested: with them Jina 3.13 may never end the stream.)"""
        method = self.channel.stream_stream('/jina.JinaRPC/Call')
        messages = []
        try:
            responses = method(iter(case.messages), timeout=RESPONSE_TIMEOUT_SECONDS, metadata=case.metadata)
            for data in responses:
                messages.append(plain_request(data))
        except grpc.RpcError as error:
            return {**self.failure(error), 'messages': messages}
        messages.sort(key=lambda message: message.get('header', {}).get('request_id', ''))
        return {'code': 'OK', 'messages': messages, **self.metadata(responses)}

    def http(self, case: Case):
        connection = http.client.HTTPConnection('127.0.0.1', self.ports['http'], timeout=RESPONSE_TIMEOUT_SECONDS)
        try:
            connection.request(case.method, case.path, case.body, case.headers)
            response = connection.getresponse()
            text = response.read().decode()
        finally:
            connection.close()
        headers = {name.lower(): value for name, value in response.getheaders() if name.lower() not in SERVER_HEADERS}
        if 'content-length' in headers:
            headers['content-length'] = MASKED_LENGTH
        if 'location' in headers:
            headers['location'] = headers['location'].replace(str(self.ports['http']), MASKED_PORT)
        return {'status': response.status, **headers, **json_body(text)}

    def websocket(self, case: Case):
        return asyncio.run(asyncio.wait_for(self.websocket_frames(case), RESPONSE_TIMEOUT_SECONDS))

    async def websocket_frames(self, case: Case):
        protocol = case.kind.removeprefix('ws-')
        uri = f'ws://127.0.0.1:{self.ports["websocket"]}{case.path or "/"}'
        received = []
        try:
            connection = await websockets.connect(uri, subprotocols=[protocol], max_size=None)
        except websockets.InvalidStatusCode as error:
            return {'refused': error.status_code}
        try:
            for message in case.messages:
                await connection.send(message)
            while True:
                received.append(await connection.recv())
        except websockets.ConnectionClosed:
            pass
        frames = [self.frame(case, frame) for frame in received]
        close = {'code': connection.close_code, 'reason': connection.close_reason}
        return {'selected': connection.subprotocol, 'frames': frames, 'close': close}

    def frame(self, case: Case, frame):
        if isinstance(frame, str):
            return json_body(frame)
        if case.path == '/dry_run':
            return plain(jina_pb2.StatusProto.FromString(frame))
        return plain_request(frame)


def json_body(text: str) -> dict:
    """Parses JSON text, and keeps its first characters to compare the spacing. Returns any other text unchanged."""
    try:
        return {'body': json.loads(text), 'spacing': text[:SPACING_SAMPLE_LENGTH]}
    except ValueError:
        return {'body': text}
