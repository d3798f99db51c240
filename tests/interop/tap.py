"""A TCP relay that counts the bytes sent to the server, to measure compression."""

import socket
import threading
from contextlib import contextmanager


class Tap:
    """Relays every connection to `target`."""

    def __init__(self, target: int):
        self.target = target
        self.bytes_sent = 0
        self.listener = socket.create_server(('127.0.0.1', 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            server = socket.create_connection(('127.0.0.1', self.target))
            threading.Thread(target=self.relay, args=(client, server, True), daemon=True).start()
            threading.Thread(target=self.relay, args=(server, client, False), daemon=True).start()

    def relay(self, source, sink, counted):
        try:
            while data := source.recv(65536):
                if counted:
                    self.bytes_sent += len(data)
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            sink.close()


@contextmanager
def tapped(target: int):
    """Yields a relay to the port."""
    tap = Tap(target)
    try:
        yield tap
    finally:
        tap.listener.close()
