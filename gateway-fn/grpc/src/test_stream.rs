//! Both ends of one HTTP/2 stream in memory, for tests.

use bytes::Bytes;
use h2::{
    RecvStream, SendStream,
    client::{Builder, ResponseFuture},
    server::SendResponse,
};
use http::{HeaderMap, Request};
use tokio::sync::oneshot;

/// A stream whose request has begun.
pub(crate) struct TestStream {
    /// The client's end of the request.
    pub(crate) request: SendStream<Bytes>,
    /// The client's end of the response.
    pub(crate) response: ResponseFuture,
    /// The server's end of the request.
    pub(crate) body: RecvStream,
    /// The server's end of the response.
    pub(crate) respond: SendResponse<Bytes>,
}

impl TestStream {
    /// Opens a connection with these settings of the client, and a stream on it.
    pub(crate) async fn open(client: &Builder) -> Self {
        let (one, other) = tokio::io::duplex(1 << 20);
        let (accepted, exchange) = oneshot::channel();
        tokio::spawn(async move {
            let mut connection = h2::server::handshake(other).await.expect("HTTP/2");
            let first = connection.accept().await.expect("a stream");
            let _ = accepted.send(first.expect("a request"));
            while connection.accept().await.is_some() {}
        });
        let (mut sender, connection) = client.handshake(one).await.expect("HTTP/2");
        tokio::spawn(connection);
        let request = Request::post("http://peer/").body(()).expect("a request");
        let (response, request) = sender.send_request(request, false).expect("sent");
        let (accepted, respond) = exchange.await.expect("a stream");
        Self {
            request,
            response,
            body: accepted.into_body(),
            respond,
        }
    }

    /// Sends the head of the response, and returns the server's end of its body.
    pub(crate) fn begin_response(&mut self) -> SendStream<Bytes> {
        let mut response = http::Response::new(());
        *response.headers_mut() = HeaderMap::new();
        self.respond.send_response(response, false).expect("sent")
    }
}
