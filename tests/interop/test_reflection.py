"""The Gateway's reflection, health and status, as a generic gRPC client uses them."""

import grpc
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.empty_pb2 import Empty
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from jina.proto import jina_pb2_grpc

GATEWAY_SERVICES = {
    'grpc.reflection.v1alpha.ServerReflection',
    'jina.JinaGatewayDryRunRPC',
    'jina.JinaInfoRPC',
    'jina.JinaRPC',
    'jina.JinaSingleDataRequestRPC',
}
SERVING = health_pb2.HealthCheckResponse.SERVING
SERVICE_UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN


@pytest.fixture
def channel(one_executor):
    with grpc.insecure_channel(f'127.0.0.1:{one_executor.ports["grpc"]}') as channel:
        yield channel


def reflect(channel, **request):
    """Sends one request to the reflection service and returns its response."""
    stub = reflection_pb2_grpc.ServerReflectionStub(channel)
    [response] = stub.ServerReflectionInfo(iter([reflection_pb2.ServerReflectionRequest(**request)]))
    return response


def test_reflection_lists_the_services_of_a_gateway(channel):
    listed = reflect(channel, list_services='').list_services_response.service
    assert {service.name for service in listed} == GATEWAY_SERVICES


@pytest.mark.parametrize('symbol', ['jina.JinaRPC', 'jina.DataRequestProto', 'docarray.DocumentProto'])
def test_reflection_describes_the_messages(channel, symbol):
    files = reflect(channel, file_containing_symbol=symbol).file_descriptor_response
    package, name = symbol.split('.')
    described = [FileDescriptorProto.FromString(file) for file in files.file_descriptor_proto]
    assert any(
        file.package == package and name in [entry.name for entry in (*file.service, *file.message_type)]
        for file in described
    )


def test_reflection_reports_an_unknown_symbol(channel):
    # Jina responds with an error message and keeps the stream open. Flowgate uses tonic's reflection, which ends the
    # stream with the same code. A generic client handles both as "not found".
    try:
        response = reflect(channel, file_containing_symbol='jina.Nothing')
    except grpc.RpcError as error:
        assert error.code() == grpc.StatusCode.NOT_FOUND
    else:
        assert response.error_response.error_code == grpc.StatusCode.NOT_FOUND.value[0]


def test_status_has_versions_and_environment(channel):
    status = jina_pb2_grpc.JinaInfoRPCStub(channel)._status(Empty())
    assert status.jina['jina'].startswith('3.')
    assert {'docarray', 'grpcio', 'jina-proto', 'platform', 'session-id', 'uptime'} <= set(status.jina)
    assert {'JINA_LOG_LEVEL', 'JINA_GRPC_SEND_BYTES'} <= set(status.envs)


@pytest.mark.parametrize('service', ['', *sorted(GATEWAY_SERVICES)])
def test_health_is_serving(channel, service):
    stub = health_pb2_grpc.HealthStub(channel)
    request = health_pb2.HealthCheckRequest(service=service)
    assert stub.Check(request, timeout=5).status == SERVING
    watch = stub.Watch(request, timeout=5)
    assert next(watch).status == SERVING
    watch.cancel()


def test_health_of_an_unknown_service(channel):
    stub = health_pb2_grpc.HealthStub(channel)
    request = health_pb2.HealthCheckRequest(service='jina.Nothing')
    with pytest.raises(grpc.RpcError) as error:
        stub.Check(request, timeout=5)
    assert error.value.code() == grpc.StatusCode.NOT_FOUND
    watch = stub.Watch(request, timeout=5)
    assert next(watch).status == SERVICE_UNKNOWN
    watch.cancel()
