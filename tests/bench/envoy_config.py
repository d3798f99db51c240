"""Envoy's configuration: a plain gRPC proxy, and a JSON transcoder before the same Executor."""

import json
from pathlib import Path

TYPES = 'type.googleapis.com/envoy.extensions'


def write_config(path: Path, ports: dict, executor_port: int, descriptors: Path):
    """Writes the configuration for the ports of `grpc` and `http`."""
    transcoder = {
        'name': 'envoy.filters.http.grpc_json_transcoder',
        'typed_config': {
            '@type': f'{TYPES}.filters.http.grpc_json_transcoder.v3.GrpcJsonTranscoder',
            'proto_descriptor': str(descriptors),
            'services': ['jina.JinaSingleDataRequestRPC'],
            'auto_mapping': True,
        },
    }
    http2 = {
        '@type': f'{TYPES}.upstreams.http.v3.HttpProtocolOptions',
        'explicit_http_config': {'http2_protocol_options': {}},
    }
    cluster = {
        'name': 'executor',
        'type': 'STATIC',
        'typed_extension_protocol_options': {'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': http2},
        # No limit may be met in the bench.
        'circuit_breakers': {
            'thresholds': [{'max_connections': 10000, 'max_pending_requests': 100000, 'max_requests': 100000}]
        },
        'load_assignment': {
            'cluster_name': 'executor',
            'endpoints': [{'lb_endpoints': [{'endpoint': {'address': _address(executor_port)}}]}],
        },
    }
    listeners = [_listener('grpc', ports['grpc'], []), _listener('http', ports['http'], [transcoder])]
    path.write_text(json.dumps({'static_resources': {'listeners': listeners, 'clusters': [cluster]}}))


def _listener(name: str, port: int, filters: list) -> dict:
    router = {
        'name': 'envoy.filters.http.router',
        'typed_config': {'@type': f'{TYPES}.filters.http.router.v3.Router'},
    }
    route = {'match': {'prefix': '/'}, 'route': {'cluster': 'executor', 'timeout': '0s'}}
    manager = {
        '@type': f'{TYPES}.filters.network.http_connection_manager.v3.HttpConnectionManager',
        'stat_prefix': name,
        'codec_type': 'AUTO',
        'route_config': {'virtual_hosts': [{'name': 'all', 'domains': ['*'], 'routes': [route]}]},
        'http_filters': [*filters, router],
    }
    chain = {'filters': [{'name': 'envoy.filters.network.http_connection_manager', 'typed_config': manager}]}
    return {'name': name, 'address': _address(port), 'filter_chains': [chain]}


def _address(port: int) -> dict:
    return {'socket_address': {'address': '127.0.0.1', 'port_value': port}}
