//! Tests calls to peers that answer early, or end the connection.

use std::{num::NonZeroUsize, time::Duration};

use http::Response;
use tokio::net::TcpListener;

use super::*;
use crate::send::frame;

/// Longer than any call of these tests takes.
const BOUND: Duration = Duration::from_secs(60);

/// Returns a pool for a peer, and the listener of the peer.
async fn peer() -> (Pool, TcpListener) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let address = Address::new(&format!("127.0.0.1:{port}"), None).expect("valid");
    (Pool::new(address, NonZeroUsize::MIN), listener)
}

/// Makes a call with a message of this size.
async fn call(pool: &Pool, bytes: usize, expect: Expect) -> Result<Answer, CallError> {
    let call = Call {
        path: "/package.Service/method",
        metadata: HeaderMap::new(),
        message: frame(Bytes::from(vec![7; bytes]).into(), None),
        encoding: None,
        max_message_bytes: 1 << 20,
    };
    let called = tokio::time::timeout(BOUND, pool.call(call, expect));
    called.await.expect("the call ends")
}

/// Answers each call with the head at once, and with the number of bytes of the message when it has arrived.
async fn answer_early(listener: TcpListener) {
    let (stream, _) = listener.accept().await.expect("a connection");
    let mut connection = h2::server::handshake(stream).await.expect("HTTP/2");
    while let Some(exchange) = connection.accept().await {
        let (request, mut respond) = exchange.expect("a request");
        tokio::spawn(async move {
            let head = Response::new(());
            let mut stream = respond.send_response(head, false).expect("sent");
            let (mut body, mut received) = (request.into_body(), 0_u32);
            while let Some(piece) = body.data().await {
                let len = piece.expect("a piece").len();
                body.flow_control().release_capacity(len).expect("released");
                received += len as u32;
            }
            let answer = frame(Bytes::from(received.to_be_bytes().to_vec()).into(), None);
            for piece in answer {
                stream.send_data(piece, false).expect("sent");
            }
            let trailers = HeaderMap::from_iter([(
                http::HeaderName::from_static("grpc-status"),
                HeaderValue::from_static("0"),
            )]);
            stream.send_trailers(trailers).expect("sent");
        });
    }
}

#[tokio::test]
async fn an_early_head_does_not_stop_the_message() {
    // More than the peer's window.
    const BYTES: usize = 1 << 20;
    let (pool, listener) = peer().await;
    let serving = tokio::spawn(answer_early(listener));
    for expect in [Expect::Unary, Expect::First] {
        let answer = call(&pool, BYTES, expect).await.expect("an answer");
        let received = answer.message.into_bytes();
        assert_eq!(received, (BYTES as u32 + 5).to_be_bytes().as_slice());
    }
    serving.abort();
}
