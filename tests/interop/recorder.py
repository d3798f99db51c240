"""An Executor in the test's process that records metadata and deadline of each call."""

import threading
from concurrent import futures
from contextlib import contextmanager

import grpc
from grpc_reflection.v1alpha import reflection
from jina.proto import jina_pb2, jina_pb2_grpc

from processes import free_port


class Recorder(jina_pb2_grpc.JinaSingleDataRequestRPCServicer):
    """Returns every request unchanged once `released` is set."""

    def __init__(self, released: threading.Event):
        self.released = released
        self.metadata = []
        self.seconds_left = []

    def process_single_data(self, request, context):
        self.metadata.append(dict(context.invocation_metadata()))
        self.seconds_left.append(context.time_remaining())
        self.released.wait()
        return request


@contextmanager
def recording_executor(held: bool = False):
    """Yields the recorder and its port. With `held` it returns requests only after its `released` is set."""
    released = threading.Event()
    if not held:
        released.set()
    recorder = Recorder(released)
    server = grpc.server(futures.ThreadPoolExecutor(4))
    jina_pb2_grpc.add_JinaSingleDataRequestRPCServicer_to_server(recorder, server)
    service = jina_pb2.DESCRIPTOR.services_by_name['JinaSingleDataRequestRPC'].full_name
    reflection.enable_server_reflection([service, reflection.SERVICE_NAME], server)
    port = free_port()
    server.add_insecure_port(f'127.0.0.1:{port}')
    server.start()
    try:
        yield recorder, port
    finally:
        released.set()
        server.stop(None)
