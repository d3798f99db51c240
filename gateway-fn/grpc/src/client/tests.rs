//! Tests calls to peers that answer early, or end the connection.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    num::NonZeroUsize,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use futures_util::future::{BoxFuture, join_all};
use http::Response;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use super::*;
use crate::send::frame;

/// Longer than any call of these tests takes.
const BOUND: Duration = Duration::from_secs(60);

/// Returns a pool for a peer, and the listener of the peer.
async fn peer() -> (Pool, TcpListener) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let host = Host::new(&format!("127.0.0.1:{port}"), Arc::new(SystemResolver));
    let address = Address::new(Arc::new(host.expect("valid")), None).expect("valid");
    (Pool::new(address, NonZeroUsize::MIN), listener)
}

/// Makes a call with a message of this size.
async fn call(pool: &Pool, bytes: usize, expect: Expect) -> Result<Answer, CallError> {
    call_within(pool, bytes, expect, BOUND).await
}

async fn call_within(
    pool: &Pool,
    bytes: usize,
    expect: Expect,
    bound: Duration,
) -> Result<Answer, CallError> {
    let call = Call {
        path: "/package.Service/method",
        metadata: HeaderMap::new(),
        message: frame(Bytes::from(vec![7; bytes]).into(), None),
        encoding: None,
        max_message_bytes: 1 << 20,
        budget: None,
    };
    let called = async {
        let connection = pool.connection().await?;
        pool.start(connection, call).await?.answer(expect).await
    };
    let called = tokio::time::timeout(bound, called);
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

/// Encodes a frame of HTTP/2. Stream 0 is the connection itself.
pub(super) fn http2_frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let len = (payload.len() as u32).to_be_bytes();
    [&len[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Accepts a connection, and answers the first request with a GOAWAY that names no stream.
async fn go_away(listener: &TcpListener, reason: h2::Reason) -> TcpStream {
    const HEADERS: u8 = 1;
    const SETTINGS: u8 = 4;
    const PING: u8 = 6;
    const GOAWAY: u8 = 7;
    const ACK: u8 = 1;
    let (mut stream, _) = listener.accept().await.expect("a connection");
    let mut preface = [0; 24];
    stream.read_exact(&mut preface).await.expect("a preface");
    let settings = http2_frame(SETTINGS, 0, 0, &[]);
    stream.write_all(&settings).await.expect("sent");
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await.expect("a frame");
        let len = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; len as usize];
        stream.read_exact(&mut payload).await.expect("a frame");
        let reply = match head[3] {
            PING if head[4] & ACK == 0 => http2_frame(PING, ACK, 0, &payload),
            SETTINGS if head[4] & ACK == 0 => http2_frame(SETTINGS, ACK, 0, &[]),
            HEADERS => {
                let reason = u32::from(reason).to_be_bytes();
                let payload = [[0; 4], reason].concat();
                let reply = http2_frame(GOAWAY, 0, 0, &payload);
                stream.write_all(&reply).await.expect("sent");
                return stream;
            }
            _ => continue,
        };
        stream.write_all(&reply).await.expect("sent");
    }
}

/// Accepts a connection and its requests, and reads none of them.
async fn take_nothing(listener: &TcpListener) {
    let (stream, _) = listener.accept().await.expect("a connection");
    let mut connection = h2::server::handshake(stream).await.expect("HTTP/2");
    tokio::spawn(async move {
        let mut taken = Vec::new();
        while let Some(exchange) = connection.accept().await {
            taken.push(exchange);
        }
    });
}

#[tokio::test]
async fn a_peer_that_takes_nothing_of_a_request_is_reported_as_such() {
    let (pool, listener) = peer().await;
    let (connected, ()) = tokio::join!(pool.connection(), take_nothing(&listener));
    connected.expect("a connection");
    tokio::time::pause();
    let error = call_within(&pool, 1 << 20, Expect::Unary, 2 * BOUND).await;
    let error = error.expect_err("no answer");
    let CallError::Status(status) = &error else {
        panic!("{error}");
    };
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status}");
    assert_eq!(
        status.message(),
        "the peer took nothing of the request for 60 s"
    );
}

/// Accepts a connection on which no requests are allowed, and keeps it.
async fn allow_no_requests(listener: &TcpListener) {
    let (stream, _) = listener.accept().await.expect("a connection");
    let mut builder = h2::server::Builder::new();
    let handshake = builder
        .max_concurrent_streams(0)
        .handshake::<_, Bytes>(stream);
    let mut connection = handshake.await.expect("HTTP/2");
    tokio::spawn(async move { while connection.accept().await.is_some() {} });
}

/// The time advances as soon as nothing else happens, and not before the connection is there.
#[tokio::test]
async fn a_peer_that_allows_no_requests_is_unreachable_after_a_while() {
    let (pool, listener) = peer().await;
    let (connected, ()) = tokio::join!(pool.connection(), allow_no_requests(&listener));
    connected.expect("a connection");
    tokio::time::pause();
    let error = call(&pool, 10, Expect::Unary).await.expect_err("no answer");
    assert!(
        matches!(error, CallError::Connect(ConnectError::NoStreams)),
        "{error}"
    );
    tokio::time::resume();
    // Its connection is not used again.
    let serving = tokio::spawn(answer_early(listener));
    call(&pool, 10, Expect::Unary).await.expect("an answer");
    serving.abort();
}

#[tokio::test]
async fn a_call_that_the_peer_has_not_processed_is_refused_whatever_the_reason() {
    for reason in [
        h2::Reason::NO_ERROR,
        h2::Reason::ENHANCE_YOUR_CALM,
        h2::Reason::INTERNAL_ERROR,
    ] {
        let (pool, listener) = peer().await;
        let (result, _stream) =
            tokio::join!(call(&pool, 10, Expect::Unary), go_away(&listener, reason));
        let error = result.expect_err("no answer");
        assert!(matches!(error, CallError::Refused(_)), "{reason}: {error}");
    }
}

/// Resolves every name to these addresses.
#[derive(Debug)]
struct Names([Ipv4Addr; 2]);

impl Resolve for Names {
    fn resolve<'a>(&'a self, _: &'a str, port: u16) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>> {
        let addresses = self.0.map(|ip| SocketAddr::from((ip, port)));
        Box::pin(std::future::ready(Ok(addresses.to_vec())))
    }
}

/// Answers the calls on all connections with this HTTP status, and counts them.
async fn answer_status(listener: TcpListener, status: StatusCode, calls: Arc<AtomicUsize>) {
    while let Ok((stream, _)) = listener.accept().await {
        let calls = Arc::clone(&calls);
        tokio::spawn(async move {
            let mut connection = h2::server::handshake(stream).await.expect("HTTP/2");
            while let Some(Ok((_, mut respond))) = connection.accept().await {
                calls.fetch_add(1, Ordering::SeqCst);
                let mut head = Response::new(());
                *head.status_mut() = status;
                respond.send_response(head, true).expect("sent");
            }
        });
    }
}

/// Listens on the same port of both addresses.
async fn listen_on(addresses: [Ipv4Addr; 2]) -> ([TcpListener; 2], u16) {
    for _ in 0..50 {
        let one = TcpListener::bind((addresses[0], 0)).await.expect("a port");
        let port = one.local_addr().expect("an address").port();
        // Another process may have the port of the other address.
        if let Ok(two) = TcpListener::bind((addresses[1], port)).await {
            return ([one, two], port);
        }
    }
    panic!("no port is free")
}

#[tokio::test]
async fn connections_that_open_at_the_same_time_go_to_one_address() {
    const CONNECTIONS: NonZeroUsize = NonZeroUsize::new(4).expect("not zero");
    const STATUS: StatusCode = StatusCode::BAD_GATEWAY;
    let addresses = [Ipv4Addr::LOCALHOST, Ipv4Addr::new(127, 0, 0, 2)];
    let (listeners, port) = listen_on(addresses).await;
    let calls = [Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0))];
    for (listener, calls) in listeners.into_iter().zip(&calls) {
        let answering = answer_status(listener, STATUS, Arc::clone(calls));
        tokio::spawn(answering);
    }
    let host = Host::new(&format!("name:{port}"), Arc::new(Names(addresses)));
    let address = Address::new(Arc::new(host.expect("valid")), None).expect("valid");
    let pool = Pool::new(address, CONNECTIONS);
    let opening = join_all([0; CONNECTIONS.get()].map(|_| pool.connection()));
    let opened = tokio::time::timeout(BOUND, opening);
    for connection in opened.await.expect("in time") {
        connection.expect("a connection");
    }
    for _ in 0..CONNECTIONS.get() {
        let error = call(&pool, 10, Expect::Unary).await;
        let error = error.expect_err("the peer does not speak gRPC");
        let is_status = matches!(error, CallError::Http { http, .. } if http == STATUS);
        assert!(is_status, "{error}");
    }
    let pin = pool.address().pin().expect("an open connection").ip();
    let counts = addresses.map(|address| match pin == address {
        true => CONNECTIONS.get(),
        false => 0,
    });
    assert_eq!(calls.map(|calls| calls.load(Ordering::SeqCst)), counts);
    assert_eq!(pool.address().host().changes(), 2, "resolved, and decided");
}
