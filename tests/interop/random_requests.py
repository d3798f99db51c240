"""Generates seeded random requests, valid and unusual ones, for the differential run."""

import base64
import json
import random
from dataclasses import dataclass, field

import numpy as np
from docarray.proto import docarray_pb2
from jina.proto import jina_pb2

# Labels of cases; the table of known differences refers to some of them.
BAD_BASE64 = 'bad base64'
NOT_A_NUMBER = 'not a number'
OUT_OF_RANGE = 'out of range'
BEYOND_FLOAT32 = 'beyond float32'
NO_DOCS_KEY = 'data without docs'
BAD_PATTERN = 'bad pattern'
EMPTY_MESSAGE = 'empty message'
ODD_PARAMETERS = 'no object where Jina assumes one'
TOO_DEEP = 'nested too deep'

VARIABLE_LOOK_BEHIND = '(?<=a+)b'

# numpy's types that JSON can represent.
DTYPES = [
    *('|b1', '|i1', '|u1', '<i2', '<u2', '<i4', '<u4', '<i8', '<u8', '<f2', '<f4', '<f8'),
    *('>i4', '>f4', '>f8', '<U4'),
]

PREFLIGHT = {'origin': 'https://example.com', 'access-control-request-method': 'POST'}
ODD_HEADERS = [
    {'origin': 'https://example.com'},
    {'origin': 'null', 'cookie': 'a=b'},
    PREFLIGHT,
    {**PREFLIGHT, 'access-control-request-headers': 'content-type, x-own'},
    {**PREFLIGHT, 'access-control-request-method': 'TRACE'},
    {'accept': 'text/html', 'accept-encoding': 'gzip, br'},
    {'x-forwarded-proto': 'https', 'x-forwarded-host': 'example.com'},
    {'x-http-method-override': 'PUT', 'range': 'bytes=0-3', 'if-none-match': '*'},
]


def nested(depth: int):
    """Returns a value nested in lists and objects."""
    return [{'in': nested(depth - 1)}] if depth else 'deep'


def nested_chunks(depth: int) -> dict:
    """Returns nested documents without ids."""
    return {'text': str(depth), 'chunks': [nested_chunks(depth - 1)] if depth else []}


@dataclass
class Case:
    """One request or stream: its protocol, its content, and a label of what is unusual about it."""

    kind: str
    label: str
    endpoint: str = ''
    target: str = ''
    # HTTP
    method: str = 'POST'
    path: str = ''
    headers: dict = field(default_factory=dict)
    body: bytes = None
    # gRPC, WebSocket
    messages: list = field(default_factory=list)
    metadata: tuple = ()


class Generator:
    """Generates the same cases for the same seed."""

    def __init__(self, seed, endpoints, deployments, burst=4):
        """:param burst: the maximum number of requests in one stream."""
        self.random = random.Random(seed)
        self.burst = burst
        self.endpoints = endpoints
        self.deployments = deployments
        self.serial = 0

    def cases(self, count: int):
        makers = [self.grpc] * 4 + [self.grpc_stream] + [self.http] * 4 + [self.odd_http] * 4
        makers += [self.ws_json, self.ws_bytes, self.odd_ws, self.odd_grpc]
        for _ in range(count):
            yield self.random.choice(makers)()

    # Parts of requests

    def chance(self, share: float) -> bool:
        return self.random.random() < share

    def fresh(self, prefix: str) -> str:
        self.serial += 1
        return f'{prefix}{self.serial}'

    def text(self) -> str:
        words = [
            'stay',
            'go',
            'Grüße',
            '日本',
            'emoji 🙂',
            'a "quoted" \\ word',
            'line\nbreak',
            '',
            '\x00',
            'e\u0301 \u202e\ufeff \U0010ffff',
            'x' * 300,
        ]
        return ' '.join(self.random.sample(words, self.random.randint(1, 3)))

    def number(self):
        return self.random.choice(
            [0, 1, 1.0, 0.0, -0.0, -1, 2, 2.5, -0.1, 1e30, 1e-7, 123456789012, 1 << 53, self.random.random()]
        )

    def value(self, depth: int = 0):
        """Returns a random JSON value."""
        kinds = ['number', 'number', 'text', 'bool', 'null'] + (['list', 'object'] if depth < 3 else [])
        kind = self.random.choice(kinds)
        if kind == 'list':
            return [self.value(depth + 1) for _ in range(self.random.randint(0, 3))]
        if kind == 'object':
            return {f'k{i}': self.value(depth + 1) for i in range(self.random.randint(0, 3))}
        return {'number': self.number(), 'text': self.text(), 'bool': self.chance(0.5), 'null': None}[kind]

    def tags(self) -> dict:
        tags = {f't{i}': self.value() for i in range(self.random.randint(0, 3))}
        if self.chance(0.7):
            # Tags that the Flows' conditions use.
            tags['x'] = self.random.choice([0, 1, 2])
        if self.chance(0.5):
            tags['lang'] = self.random.choice(['en', 'de', 'fr', None])
        if self.chance(0.2):
            tags['o'] = {'k0': self.random.choice([0, 1, 2.5])}
            tags['y'] = self.random.choice([0, 1, 2])
        if self.chance(0.05):
            tags[self.random.choice(['', '日本', 'a.b', 'a__b', '0'])] = self.value()
        return tags

    def parameters(self) -> dict:
        parameters = {self.fresh('p'): self.value() for _ in range(self.random.randint(0, 2))}
        for name in self.deployments:
            if self.chance(0.1):
                parameters[f'{name}__own'] = self.value()
            if self.chance(0.05):
                parameters[name] = {'nested': self.value(), **({'own': 'nested'} if self.chance(0.3) else {})}
            if self.chance(0.05):
                parameters[f'{name[:1]}__{name[1:]}__own'] = self.value()
        if self.chance(0.3):
            parameters['who'] = self.random.choice([*self.deployments, 'nobody'])
        if '/asleep' in self.endpoints:
            parameters['sleep'] = self.random.choice([0, 0, 2])
        if self.chance(0.1):
            parameters.update(
                self.random.choice(
                    [
                        {'__odd': 1},
                        {'odd__': 1},
                        {'a__b__c': 1},
                        {'x____y': 1},
                        {'a___b': 1},
                        {'__': 1},
                        {'': 1},
                        {'日本__キー': 1},
                        {'__results__': {'z': 1}},
                        {'__results__': {}},
                    ]
                )
            )
        if '/dtype' in self.endpoints and self.chance(0.5):
            parameters['dtype'] = self.random.choice(DTYPES)
            parameters['shape'] = self.random.choice([[3], [1], [2, 2], [0], [0, 3], [3, 0], [1, 2, 1, 2]])
            parameters['to'] = self.random.choice([100, 1, 0.1, 1e-7, -3, 127])
        return parameters

    def endpoint_of_flow(self) -> str:
        return self.random.choice(self.endpoints)

    def target_of_flow(self) -> str:
        if self.chance(0.75):
            return ''
        name = self.random.choice(self.deployments)
        return self.random.choice(
            [
                *(name, name, f'^{name}$', f'{name}|nobody', f'(?i){name.upper()}', f'(?!{name})', f'{name}$'),
                *(f'{name}\\Z', f'(?P<x>{name[0]})', f'{name[0]}{{1}}', f'[^{name[0]}]', f' {name}', f'.+{name}'),
                *('.*', 'nobody', '[a-c]', '\\w+', '\\W', '^', '$', '.', '(?:a|b)$', '(.)(?=x)', '[[:alpha:]]', 'ａ'),
            ]
        )

    # Documents as protobuf

    def array_proto(self) -> docarray_pb2.NdArrayProto:
        dtype = self.random.choice(DTYPES)
        shape = self.random.choice([(3,), (1,), (2, 2), (2, 1, 3), (0,), (0, 3), ()])
        values = np.array([self.random.randint(0, 100) for _ in range(int(np.prod(shape)))])
        classes = ['numpy'] * 6 + ['list'] * 3 + ['', 'unknown']
        # As a list, an array without dimensions would be a number, which docarray cannot write.
        proto = docarray_pb2.NdArrayProto(cls_name=self.random.choice(classes) if shape else 'numpy')
        if not self.chance(0.03):
            # A shape without a buffer means zeros.
            proto.dense.buffer = values.astype(dtype).tobytes()
        proto.dense.shape.extend(shape)
        proto.dense.dtype = dtype
        return proto

    def document_proto(self, depth: int = 0) -> docarray_pb2.DocumentProto:
        proto = docarray_pb2.DocumentProto()
        if not self.chance(0.12):
            proto.id = self.fresh('d')
        content = self.random.choice(['text', 'text', 'blob', 'tensor', 'none'])
        if content == 'text':
            proto.text = self.text()
            if self.chance(0.02):
                proto.text *= 1000
        elif content == 'blob':
            proto.blob = self.random.randbytes(self.random.randint(1, 30))
        elif content == 'tensor':
            proto.tensor.CopyFrom(self.array_proto())
        if self.chance(0.7):
            proto.tags.update(self.tags())
        if self.chance(0.3):
            proto.weight = self.number()
        if self.chance(0.2):
            proto.uri = self.random.choice(
                ['a.png', 'https://example.com/x.txt', 'no-extension', 'b.unknown']
            )
        if self.chance(0.2):
            proto.mime_type = self.random.choice(['text/plain', 'png', 'made/up', 'unknown'])
        if self.chance(0.2):
            proto.location.extend([self.random.random(), 0.0])
        if self.chance(0.2):
            proto.embedding.CopyFrom(self.array_proto())
        if self.chance(0.2):
            proto.modality = self.text()
        if self.chance(0.2):
            proto.offset = self.random.random()
        if self.chance(0.2):
            score = proto.scores[self.random.choice(['cosine', 'bm25'])]
            score.value = self.random.random()
            score.op_name = self.text()
        if self.chance(0.1):
            proto.evaluations['precision'].value = self.number()
        if self.chance(0.05):
            proto._metadata.update(self.tags())
        if self.chance(0.05):
            proto.granularity, proto.adjacency, proto.parent_id = self.random.choice([1, 5]), 2, 'par'
        if depth < 2:
            for _ in range(self.random.choice([0, 0, 0, 1, 2])):
                proto.chunks.append(self.document_proto(depth + 1))
            for _ in range(self.random.choice([0, 0, 0, 1])):
                proto.matches.append(self.document_proto(depth + 1))
        return proto

    def request_proto(self) -> jina_pb2.DataRequestProto:
        request = jina_pb2.DataRequestProto()
        if not self.chance(0.1):
            request.header.request_id = self.fresh('request-')
        if not self.chance(0.1):
            request.header.exec_endpoint = self.endpoint_of_flow()
        target = self.target_of_flow()
        if target or self.chance(0.1):
            request.header.target_executor = target
        if self.chance(0.1):
            request.header.timeout = 1000
        if not self.chance(0.2):
            request.parameters.update(self.parameters())
        if self.chance(0.05):
            request.routes.add(executor=self.random.choice(['gateway', 'stranger']))
        for _ in range(self.random.choice([0, 1, 1, 2, 3])):
            request.data.docs.docs.append(self.document_proto())
        if self.chance(0.02):
            for number in range(200):
                request.data.docs.docs.add(id=f'many{number}', text='many').tags.update({'x': number % 3})
        return request

    def grpc(self) -> Case:
        request = self.request_proto()
        return Case(
            'grpc',
            'valid' if request.ByteSize() else EMPTY_MESSAGE,
            endpoint=request.header.exec_endpoint,
            target=request.header.target_executor,
            messages=[request.SerializeToString()],
            metadata=(('endpoint', '/ignored'),) if self.chance(0.1) else (),
        )

    def grpc_stream(self) -> Case:
        requests = [self.identified() for _ in range(self.random.randint(0, self.burst))]
        return Case(
            'grpc-stream',
            'valid',
            target=next((r.header.target_executor for r in requests if r.header.target_executor), ''),
            messages=[request.SerializeToString() for request in requests],
            # Neither value requests ordered results: only exactly `true` does.
            metadata=(('__results_in_order__', self.random.choice(['True', '1'])),) if self.chance(0.1) else (),
        )

    def identified(self) -> jina_pb2.DataRequestProto:
        """Returns a request whose response can be identified in a stream."""
        request = self.request_proto()
        request.header.request_id = self.fresh('request-')
        return request

    def odd_grpc(self) -> Case:
        request = self.request_proto()
        label, message = self.random.choice(
            [
                (EMPTY_MESSAGE, b''),
                ('garbage', b'\xff\xff\xff\xff'),
                ('cut short', request.SerializeToString() + b'\x12\x7f'),
                ('unknown field', request.SerializeToString() + b'\xa2\x06\x03abc'),
                (BAD_PATTERN, self.with_target(self.bad_pattern())),
                (ODD_PARAMETERS, self.with_parameters(self.odd_parameters())),
            ]
        )
        if message and self.chance(0.3):
            return Case('grpc-stream', label, messages=[message], endpoint=request.header.exec_endpoint)
        return Case('grpc', label, messages=[message], endpoint=request.header.exec_endpoint)

    def odd_parameters(self) -> dict:
        """Returns parameters with other values where an Executor's own parameters or results are expected."""
        return {self.random.choice([self.deployments[0], '__results__']): self.random.choice([1, 'text'])}

    def with_parameters(self, parameters: dict) -> bytes:
        request = self.request_proto()
        request.header.ClearField('target_executor')
        request.parameters.update(parameters)
        return request.SerializeToString()

    def bad_pattern(self) -> str:
        return self.random.choice(
            ['(', '[', '*', 'a**', '(?P<', '\\', 'a{2,1}', VARIABLE_LOOK_BEHIND, '(?P=x)', '[z-a]']
        )

    def with_target(self, target: str) -> bytes:
        request = self.request_proto()
        request.header.target_executor = target
        return request.SerializeToString()

    # Documents as JSON

    def nested_list(self) -> list:
        return self.random.choice(
            [[1, 2, 3], [1.5, 2], [[1, 2], [3, 4]], [], [True, False], [[0.0, 1.0]], ['a', 'b']]
        )

    def document_json(self, depth: int = 0) -> dict:
        makers = {
            'id': lambda: self.random.choice(
                [self.fresh('d'), self.fresh('d'), None, '', self.random.randint(10, 99)]
            ),
            'text': self.text,
            'uri': lambda: self.random.choice(['a.png', 'x/y.mp3', 'plain']),
            # No extension that depends on the machine's own table of file types.
            'mime_type': lambda: self.random.choice(['text/html', 'jpg', 'no-such-type']),
            'weight': lambda: self.random.choice([0.1, 2, '3.5', True]),
            'granularity': lambda: self.random.choice([0, 1, '3', 1.7]),
            'adjacency': lambda: self.random.choice([0, 2]),
            'parent_id': lambda: self.random.choice(['par', 7, 1.5, True]),
            'offset': self.random.random,
            'location': lambda: [self.random.random(), 1],
            'modality': self.text,
            'blob': lambda: base64.b64encode(self.random.randbytes(self.random.randint(1, 9))).decode(),
            'tensor': self.nested_list,
            'embedding': self.nested_list,
            'tags': self.tags,
            'scores': lambda: {'cosine': {'value': self.random.random(), 'op_name': 'op'}},
            'evaluations': lambda: {'e': {'value': 1, 'unknown': 2}},
            '_metadata': lambda: {'q': self.random.choice([1, 0, 2, 'x'])},
            'unknown': self.value,
            'parentId': self.text,
        }
        if depth < 2:
            makers['chunks'] = lambda: [
                self.document_json(depth + 1) for _ in range(self.random.randint(0, 2))
            ]
            makers['matches'] = lambda: [self.document_json(depth + 1)]
        keys = self.random.sample(sorted(makers), self.random.randint(0, 4))
        # Conditions use tags, and an id keeps responses comparable.
        keys += [key for key in ('id', 'text', 'tags') if self.chance(0.6) and key not in keys]
        return {key: makers[key]() for key in keys}

    def request_json(self) -> dict:
        body = {}
        if not self.chance(0.1):
            docs = [self.document_json() for _ in range(self.random.choice([0, 1, 1, 2, 3]))]
            body['data'] = self.random.choice([docs, docs, docs, {'docs': docs}])
        if not self.chance(0.1):
            body[self.random.choice(['execEndpoint', 'exec_endpoint'])] = self.endpoint_of_flow()
        target = self.target_of_flow()
        if target:
            body[self.random.choice(['targetExecutor', 'target_executor'])] = target
        if self.chance(0.7):
            body['parameters'] = self.random.choice([self.parameters(), self.parameters(), None, []])
        if self.chance(0.1):
            body['header'] = {'request_id': 'not used'}
        return body

    def http_case(
        self, label: str, body, path: str = '/post', method: str = 'POST', content_type='application/json'
    ):
        request = body if isinstance(body, dict) else {}
        text = json.dumps(body) if isinstance(body, (dict, list)) else body
        return Case(
            'http',
            label,
            endpoint=str(request.get('execEndpoint', request.get('exec_endpoint', path))),
            target=str(request.get('targetExecutor', request.get('target_executor', ''))),
            method=method,
            path=path,
            headers={'content-type': content_type} if content_type else {},
            body=None if text is None else text.encode(),
        )

    def http(self) -> Case:
        method, path = self.random.choice(
            [('POST', '/post')] * 6
            + [('POST', '/index'), ('POST', '/search'), ('DELETE', '/delete'), ('PUT', '/update')]
        )
        return self.http_case('valid', self.request_json(), path, method)

    def odd_document(self):
        """Returns the label and the document of an invalid request."""
        return self.random.choice(
            [
                ('field of a wrong type', {'weight': 'heavy'}),
                ('field of a wrong type', {'granularity': 'a'}),
                ('field of a wrong type', {'text': ['a']}),
                ('field of a wrong type', {'tags': 'x', 'id': 'd'}),
                ('field of a wrong type', {'chunks': {'a': 1}}),
                ('field of a wrong type', {'chunks': [{'weight': 'heavy'}]}),
                ('field of a wrong type', {'scores': {'cosine': 1}, 'text': 'x'}),
                ('field of a wrong type', {'location': ['x']}),
                ('ragged tensor', {'id': 'd', 'tensor': [[1, 2], [3]]}),
                ('tensor not a list', {'tensor': 5}),
                ('tensor not a list', {'embedding': 'abc'}),
                ('not a document', 'text'),
                ('not a document', 5),
                ('not a document', None),
                (BAD_BASE64, {'blob': 'abc'}),
                (BAD_BASE64, {'blob': 'A'}),
                ('blob with blanks', {'blob': 'aG Vs bG8='}),
                (OUT_OF_RANGE, {'granularity': -1}),
                (OUT_OF_RANGE, {'adjacency': 1 << 33}),
                (BEYOND_FLOAT32, {'weight': 1e40}),
                (BEYOND_FLOAT32, {'offset': -1e39}),
                (BEYOND_FLOAT32, {'location': [1, 1e300]}),
                (BEYOND_FLOAT32, {'scores': {'s': {'value': 1e39}}}),
                (NOT_A_NUMBER, {'tensor': [float('nan')]}),
                (NOT_A_NUMBER, {'weight': float('inf')}),
                (NOT_A_NUMBER, {'id': 'd', 'tags': {'n': float('nan')}}),
                ('large integers', {'id': 'd', 'tensor': [1 << 63, 1], 'tags': {'n': 1 << 60}}),
                ('text not a string', {'id': 5, 'text': True, 'modality': 1.5}),
            ]
        )

    def odd_http(self) -> Case:
        choice = self.random.choice(['document', 'document', 'body', 'body', 'route'])
        endpoint = {'execEndpoint': self.endpoint_of_flow()}
        if choice == 'document':
            label, document = self.odd_document()
            docs = [self.document_json() for _ in range(self.random.randint(0, 1))]
            docs.insert(self.random.randint(0, len(docs)), document)
            return self.http_case(label, {'data': docs, **endpoint})
        if choice == 'body':
            return self.http_case(
                *self.random.choice(
                    [
                        ('no body', None),
                        ('no body', 'null'),
                        ('no body', ''),
                        ('invalid JSON', '{"data": [}'),
                        ('invalid JSON', '{"data": [], "execEndpoint": }'),
                        ('invalid JSON', '{"a": 1} x'),
                        ('invalid JSON', "{'data': []}"),
                        ('invalid JSON', '{"text": "line\nbreak"}'),
                        ('not an object', '5'),
                        ('not an object', '"text"'),
                        ('object by coercion', '[]'),
                        ('object by coercion', '[["data", [{"id": "d"}]]]'),
                        ('not an object', '[1, 2]'),
                        ('data of a wrong type', {'data': 'text', **endpoint}),
                        ('data of a wrong type', {'data': 5}),
                        ('data of a wrong type', {'data': {'docs': None}}),
                        ('data of a wrong type', {'data': {'docs': 'x'}}),
                        ('data null', {'data': None, **endpoint}),
                        ('data an empty object', {'data': {}, **endpoint}),
                        (NO_DOCS_KEY, {'data': {'foo': [{'text': 'x'}]}}),
                        ('parameters of a wrong type', {'parameters': 'x'}),
                        ('parameters of a wrong type', {'parameters': 5, 'data': 'x'}),
                        ('endpoint null', {'execEndpoint': None}),
                        ('endpoint a number', {'execEndpoint': 5, 'data': []}),
                        ('endpoint a list', {'execEndpoint': []}),
                        ('target a number', {'targetExecutor': 7, 'data': [{'id': 'd'}]}),
                        (BAD_PATTERN, {'targetExecutor': self.bad_pattern(), 'data': [{'id': 'd'}]}),
                        (
                            'both spellings',
                            {'exec_endpoint': '/results', 'execEndpoint': '/new', 'data': [{'id': 'd'}]},
                        ),
                        ('key twice', '{"data": [{"id": "a"}], "data": [{"id": "b"}]}'),
                        ('invalid JSON', '\ufeff{"data": []}'),
                        ('invalid JSON', '{"data": [], }'),
                        ('invalid JSON', '{"data": [] /* none */}'),
                        ('invalid JSON', '{"parameters": {"n": 01}}'),
                        ('invalid JSON', '{"parameters": {"n": .5}}'),
                        ('invalid JSON', '{"parameters": {"n": "\\x"}}'),
                        ('invalid JSON', '{"parameters": {"n": "\\ud8"}}'),
                        ('invalid JSON', '{"parameters": {"n": "\t"}}'),
                        ('invalid JSON', '{"data": ['),
                        ('invalid JSON', '{"data'),
                        ('invalid JSON', '{data: []}'),
                        ('invalid JSON', 'nul'),
                        ('invalid JSON', '   '),
                        ('blanks around', ' \t\r\n{"data": [{"id": "d"}]}\n '),
                        ('escapes', '{"data": [{"id": "\\u0064\\/\\b\\ud83d\\ude42"}]}'),
                        ('odd numbers', '{"parameters": {"n": [-0, 1E5, 1e-400, 123456789012345678901234567890]}}'),
                        ('key twice', '{"parameters": {"a": 1, "a": {"b": 2}}, "parameters": {"n": 3}}'),
                        ('nested', {'parameters': {'deep': nested(8)}, 'data': [{'tags': {'deep': nested(8)}}]}),
                        (TOO_DEEP, {'parameters': {'deep': nested(40)}, **endpoint}),
                        (TOO_DEEP, {'data': [{'tags': {'deep': nested(40)}}], **endpoint}),
                        (ODD_PARAMETERS, {'parameters': self.odd_parameters(), **endpoint}),
                        ('nested', {'data': [nested_chunks(6)], **endpoint}),
                        ('null members', {'data': [dict.fromkeys(['text', 'tags', 'chunks', 'scores'])]}),
                        ('scores null', {'data': [{'id': 'd', 'scores': {'a': None}}]}),
                        ('scores odd', {'data': [{'id': 'd', 'scores': {'a': {}, 'b': {'value': '2', 'ref_id': 5}}}]}),
                        (NOT_A_NUMBER, '{"parameters": {"n": NaN, "i": -Infinity}}'),
                    ]
                )
            )
        method, path, content_type = self.random.choice(
            [
                ('GET', '/', None),
                ('HEAD', '/', None),
                ('GET', '/dry_run', None),
                ('GET', '/nowhere', None),
                ('POST', '/nowhere', 'application/json'),
                ('GET', '/post', None),
                ('PUT', '/post', 'application/json'),
                ('GET', '/search', None),
                ('POST', '/delete', 'application/json'),
                ('POST', '/index/', 'application/json'),
                ('POST', '/post', 'text/plain'),
                ('POST', '/post', 'application/xml'),
                ('POST', '/post', 'application/vnd.api+json'),
                ('POST', '/post', 'Application/JSON; charset=utf-8'),
                ('POST', '/post', 'application/json; charset=latin-1'),
                ('POST', '/post', 'application/x-www-form-urlencoded'),
                ('POST', '/post', 'json'),
                ('POST', '/post', None),
                ('POST', '/post?execEndpoint=/ignored', 'application/json'),
                ('POST', '//post', 'application/json'),
                ('POST', '/POST', 'application/json'),
                ('POST', '/%70ost', 'application/json'),
                ('OPTIONS', '/post', None),
                ('PATCH', '/update', 'application/json'),
                ('HEAD', '/dry_run', None),
                ('GET', '/dry_run/', None),
                ('GET', '/docs/', None),
                ('GET', '/graphql', None),
            ]
        )
        body = self.request_json() if method not in ('GET', 'HEAD', 'OPTIONS') else None
        case = self.http_case('route', body, path, method, content_type)
        if self.chance(0.5):
            # Headers of browsers and proxies.
            case.headers.update(self.random.choice(ODD_HEADERS))
        return case

    # WebSocket

    def ws_json(self) -> Case:
        frames = []
        for number in range(self.random.randint(0, self.burst)):
            request = {'data': None, **self.request_json()}
            if number:
                # Identifies the responses.
                request['parameters'] = {**(request.get('parameters') or {}), 'frame': number}
            frames.append(json.dumps(request))
        return Case('ws-json', 'valid', messages=[*frames, '{}'])

    def ws_bytes(self) -> Case:
        frames = []
        for _ in range(self.random.randint(0, self.burst)):
            frames.append(self.identified().SerializeToString())
        return Case('ws-bytes', 'valid', messages=[*frames, b'\0'])

    def odd_ws(self) -> Case:
        label, document = self.odd_document()
        return self.random.choice(
            [
                Case('ws-json', 'ignored frame', messages=['[]', '{"data": [{"id": "d"}]}', '{}']),
                Case('ws-json', 'no data key', messages=['{"exec_endpoint": "/"}']),
                Case('ws-json', 'invalid JSON', messages=['{"data": [}']),
                Case('ws-json', 'binary frame', messages=[b'{"data": []}']),
                Case('ws-json', label, messages=[json.dumps({'data': [document]}), '{}']),
                Case('ws-json', label, messages=[json.dumps({'data': [document]}), '{}']),
                Case('ws-json', 'dry run', path='/dry_run'),
                Case('ws-bytes', 'dry run', path='/dry_run'),
                Case('ws-json', 'other path', path='/other', messages=['{}']),
                Case('ws-bytes', 'empty frame', messages=[b'']),
                Case('ws-bytes', 'garbage', messages=[b'\xff\xff\xff\xff']),
                Case('ws-bytes', 'text frame', messages=['{}']),
                Case('ws-bytes', 'end at once', messages=[b'\0']),
            ]
        )
