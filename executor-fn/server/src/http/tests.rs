//! Tests connections over pipes, with time that tests advance.

use std::sync::Arc;

use http_body_util::BodyExt as _;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::Instant,
};

use super::*;
use crate::{
    http2::{self, OpenRequests},
    open_connections::OpenConnections,
};

fn http(first_request_timeout: Option<Duration>) -> Http {
    Http {
        header_timeout: Duration::from_secs(30),
        first_request_timeout,
        idle_timeout: Duration::from_secs(75),
        min_rate: MinRate {
            bytes_per_second: 1000,
            period: Duration::from_secs(20),
        },
    }
}

/// Sends `request` on a connection and returns everything that comes back until the server closes it.
async fn exchange(http: &Http, request: &[u8]) -> Vec<u8> {
    let (client, server) = tokio::io::duplex(1 << 16);
    let peer = ([127, 0, 0, 1], 1).into();
    let http1 = |_| async { Response::new("served".to_owned()) };
    let http2 = |Exchange { request, respond }| async move {
        http2::respond(
            request.method(),
            MinRate::NONE,
            Response::new("served".to_owned()),
            respond,
        )
        .await;
    };
    let settings = Http2::default();
    let services = (http1, (&settings, http2));
    let serving = http.serve_any(
        server,
        peer,
        services,
        (Usage::default(), CancellationToken::new()),
    );
    let (mut response, (mut reader, mut writer)) = (Vec::new(), tokio::io::split(client));
    let client = async {
        writer.write_all(request).await.expect("the server reads");
        reader
            .read_to_end(&mut response)
            .await
            .expect("the server closes");
    };
    tokio::join!(serving, client);
    response
}

#[tokio::test(start_paused = true)]
async fn requests_of_http1_are_answered() {
    let request = b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    let response = exchange(&http(None), request).await;
    assert!(response.ends_with(b"served"));
}

#[tokio::test(start_paused = true)]
async fn a_pipelined_request_has_no_second_length_either() {
    let first = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
    let post = "POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n";
    for (rest, status) in [
        ("content-length: 2\r\n\r\nok", "200"),
        (
            "content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
            "400",
        ),
    ] {
        let response = exchange(&http(None), format!("{first}{post}{rest}").as_bytes()).await;
        let response = String::from_utf8(response).expect("text");
        let statuses = response.split("HTTP/1.1 ").skip(1).map(|text| &text[..3]);
        assert_eq!(statuses.collect::<Vec<_>>(), ["200", status]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_without_a_request_is_closed_after_the_timeout() {
    let timeout = Duration::from_secs(30);
    for sent in [&b""[..], b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
        let start = Instant::now();
        exchange(&http(Some(timeout)), sent).await;
        assert_eq!(start.elapsed(), timeout, "{sent:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_head_of_a_request_must_come_in_time() {
    let http = http(None);
    let start = Instant::now();
    let response = exchange(&http, b"GET / HT").await;
    assert_eq!(response, REQUEST_TIMEOUT);
    // The client keeps its side open, and is waited for.
    let waited = start.elapsed() - http.header_timeout;
    assert_eq!(waited, Duration::from_secs(2));
}

const REQUEST_TIMEOUT: &[u8] =
    b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

fn ok(text: &str) -> bool {
    text.starts_with("HTTP/1.1 200") && text.ends_with("served")
}

/// Serves one connection, and lets a client do what it likes with the other end.
async fn with_client(http: &Http, client: impl AsyncFnOnce(tokio::io::DuplexStream)) {
    let (client_end, server) = tokio::io::duplex(1 << 10);
    let peer = ([127, 0, 0, 1], 1).into();
    let service = |request: Request<RequestBody>| async move {
        let status = match request.into_body().collect().await {
            Ok(_) => 200,
            Err(_) => 408,
        };
        let mut response = Response::new("served".to_owned());
        *response.status_mut() = http::StatusCode::from_u16(status).expect("a status");
        response
    };
    let never = CancellationToken::new();
    let serving = http.serve(server, peer, service, never);
    tokio::join!(serving, client(client_end));
}

async fn read_response(client: &mut (impl AsyncRead + Unpin)) -> String {
    let mut response = Vec::new();
    while !response.ends_with(b"served") {
        let read = client.read_buf(&mut response).await.expect("a response");
        assert_ne!(read, 0, "closed before its response");
    }
    String::from_utf8(response).expect("text")
}

const GET: &[u8] = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";

#[tokio::test(start_paused = true)]
async fn the_time_between_requests_is_not_that_of_a_head() {
    let http = http(Some(Duration::from_secs(30)));
    with_client(&http, async |mut client| {
        for pause in [0, 29, 74, 74] {
            tokio::time::sleep(Duration::from_secs(pause)).await;
            client.write_all(&GET[..9]).await.expect("open");
            tokio::time::sleep(Duration::from_secs(29)).await;
            client.write_all(&GET[9..]).await.expect("open");
            assert!(ok(&read_response(&mut client).await));
        }
        let start = Instant::now();
        assert_eq!(client.read(&mut [0]).await.expect("a clean end"), 0);
        assert_eq!(start.elapsed(), http.idle_timeout);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_later_head_must_come_in_time_too() {
    let http = http(Some(Duration::from_secs(30)));
    with_client(&http, async |mut client| {
        client.write_all(GET).await.expect("open");
        assert!(ok(&read_response(&mut client).await));
        client.write_all(&GET[..9]).await.expect("open");
        let start = Instant::now();
        let mut response = Vec::new();
        let read = client.read_to_end(&mut response).await;
        read.expect("a clean end");
        assert_eq!(response, REQUEST_TIMEOUT);
        assert_eq!(start.elapsed(), http.header_timeout);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_body_that_trickles_is_answered_and_the_connection_ends() {
    let http = http(None);
    let start = Instant::now();
    with_client(&http, async |client| {
        let (mut reader, mut writer) = tokio::io::split(client);
        let head = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 100000\r\n\r\n";
        writer.write_all(head).await.expect("open");
        let trickling = tokio::spawn(async move {
            while writer.write_all(b" ").await.is_ok() {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        });
        let response = read_response(&mut reader).await;
        assert!(response.starts_with("HTTP/1.1 408"), "{response}");
        assert_eq!(start.elapsed(), http.min_rate.period);
        trickling.await.expect("the connection ends");
    })
    .await;
    assert!(start.elapsed() < http.min_rate.period * 2);
}

#[tokio::test(start_paused = true)]
async fn a_body_just_above_the_least_rate_is_served() {
    with_client(&http(None), async |mut client| {
        let head = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 100000\r\n\r\n";
        client.write_all(head).await.expect("open");
        for _ in 0..10 {
            tokio::time::sleep(Duration::from_secs(9)).await;
            client.write_all(&[b' '; 10_000]).await.expect("open");
        }
        assert!(ok(&read_response(&mut client).await));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_response_that_is_not_read_ends_the_connection() {
    let http = http(None);
    let (mut client, server) = tokio::io::duplex(1 << 10);
    let service = |_| async { Response::new("x".repeat(1 << 20)) };
    let (peer, never) = (([127, 0, 0, 1], 1).into(), CancellationToken::new());
    let serving = http.serve(server, peer, service, never);
    let start = Instant::now();
    let sent = client.write_all(GET);
    let (sent, ()) = tokio::join!(sent, serving);
    sent.expect("open");
    assert_eq!(start.elapsed(), http.min_rate.period);
    drop(client);
}

#[tokio::test(start_paused = true)]
async fn a_client_can_finish_writing_after_its_response() {
    let service = |_| async { Response::new("served".to_owned()) };
    let (client, server) = tokio::io::duplex(100);
    let (peer, never) = (([127, 0, 0, 1], 1).into(), CancellationToken::new());
    let http = http(None);
    let serving = http.serve(server, peer, service, never);
    let (mut reader, mut writer) = tokio::io::split(client);
    let writing = async {
        let head = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 100000\r\n\r\n";
        writer.write_all(head).await.expect("open");
        for _ in 0..25 {
            tokio::time::sleep(Duration::from_secs(1)).await;
            writer.write_all(&[b' '; 4000]).await.expect("still read");
        }
        let response = read_response(&mut reader).await;
        assert!(ok(&response), "{response}");
        writer.shutdown().await.expect("open");
    };
    tokio::join!(serving, writing);
}

#[tokio::test(start_paused = true)]
async fn what_a_client_sends_after_its_response_is_bounded_in_time() {
    let http = http(None);
    for (pause, seconds) in [(1, 30), (4, 30), (6, 5)] {
        let service = |_| async { Response::new("served".to_owned()) };
        let (client, server) = tokio::io::duplex(100);
        let (peer, never) = (([127, 0, 0, 1], 1).into(), CancellationToken::new());
        let serving = http.serve(server, peer, service, never);
        let (mut reader, mut writer) = tokio::io::split(client);
        let start = Instant::now();
        let writing = async {
            let head = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 9000000\r\n\r\n";
            writer.write_all(head).await.expect("open");
            assert!(ok(&read_response(&mut reader).await));
            while writer.write_all(&[b' '; 6000]).await.is_ok() {
                tokio::time::sleep(Duration::from_secs(pause)).await;
            }
        };
        let serving = async {
            serving.await;
            start.elapsed()
        };
        let (elapsed, ()) = tokio::join!(serving, writing);
        assert_eq!(
            elapsed,
            Duration::from_secs(seconds),
            "with pauses of {pause} s"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_response_may_take_longer_than_the_time_between_requests() {
    let http = http(None);
    let service = |_| async { Response::new("x".repeat(1 << 20)) };
    let (mut client, server) = tokio::io::duplex(1 << 10);
    let (peer, never) = (([127, 0, 0, 1], 1).into(), CancellationToken::new());
    let serving = http.serve(server, peer, service, never);
    let reading = async {
        client.write_all(GET).await.expect("open");
        let mut received = 0;
        while received < 1 << 20 {
            tokio::time::sleep(Duration::from_millis(500)).await;
            let read = client.read(&mut [0; 1 << 10]).await.expect("open");
            assert_ne!(read, 0, "closed after {received} bytes");
            received += read;
        }
        drop(client);
    };
    tokio::join!(serving, reading);
}

#[tokio::test(start_paused = true)]
async fn a_late_head_behind_a_response_that_is_not_read_ends_the_connection() {
    let http = http(None);
    let (mut client, server) = tokio::io::duplex(1 << 10);
    let service = |_| async { Response::new("x".repeat(1 << 20)) };
    let (peer, never) = (([127, 0, 0, 1], 1).into(), CancellationToken::new());
    let serving = http.serve(server, peer, service, never);
    let two = [GET, b"GET / HT"].concat();
    let (sent, ()) = tokio::join!(client.write_all(&two), serving);
    sent.expect("open");
    let mut received = Vec::new();
    let read = client.read_to_end(&mut received).await;
    read.expect("the rest");
    let received = String::from_utf8(received).expect("text");
    assert!(!received.contains(" 408 "), "{received}");
}

#[tokio::test(start_paused = true)]
async fn a_response_over_http2_must_be_read_at_the_least_rate() {
    const SIZE: usize = 4 << 20;
    let http = http(None);
    for (bytes_per_read, is_read) in [(0, false), (10_000, false), (30_000, true)] {
        let (client, server) = tokio::io::duplex(1 << 20);
        let http1 = |_| async { Response::new(String::new()) };
        let min_rate = http.min_rate;
        let http2 = move |Exchange { request, respond }| async move {
            let response = Response::new("x".repeat(SIZE));
            http2::respond(request.method(), min_rate, response, respond).await;
        };
        let settings = Http2 {
            keep_alive_interval: Duration::from_secs(86_400),
            ..Http2::default()
        };
        let (peer, stopping) = (([127, 0, 0, 1], 1).into(), CancellationToken::new());
        let services = (http1, (&settings, http2));
        let serving = http.serve_any(server, peer, services, (Usage::default(), stopping));
        let reading = async {
            let (mut send, connection) = h2::client::handshake(client).await.expect("open");
            let connection = tokio::spawn(connection);
            let request = Request::get("http://a/").body(()).expect("a request");
            let (response, _) = send.send_request(request, true).expect("open");
            let mut body = response.await.expect("a response").into_body();
            let start = Instant::now();
            let (mut received, mut released) = (0, 0);
            let outcome = loop {
                let data = tokio::time::timeout(Duration::from_secs(15), body.data()).await;
                match data {
                    Ok(Some(Ok(data))) => received += data.len(),
                    Ok(Some(Err(error))) => break Err(error),
                    Ok(None) => break Ok(received),
                    // Only now the server may send more.
                    Err(_) => {
                        let release = bytes_per_read.min(received - released);
                        released += release;
                        if release > 0 {
                            let _ = body.flow_control().release_capacity(release);
                        }
                    }
                }
            };
            drop(send);
            connection.abort();
            (outcome, start.elapsed())
        };
        let (_, (outcome, elapsed)) = tokio::join!(serving, reading);
        match outcome {
            Ok(received) => assert!(is_read && received == SIZE, "{bytes_per_read}"),
            Err(error) => {
                assert!(!is_read, "{bytes_per_read}: {error}");
                assert_eq!(error.reason(), Some(h2::Reason::CANCEL));
                assert!(elapsed <= http.min_rate.period * 2, "{elapsed:?}");
            }
        }
    }
}

/// Streams whose body never comes take memory too.
#[tokio::test]
async fn requests_over_http2_are_refused_beyond_their_number() {
    let (client, server) = tokio::io::duplex(1 << 20);
    let http1 = |_| async { Response::new(String::new()) };
    let never = |exchange: Exchange| async move {
        std::future::pending::<()>().await;
        drop(exchange);
    };
    let settings = Http2 {
        open_requests: Box::leak(Box::new(OpenRequests::new(2))),
        ..Http2::default()
    };
    let (peer, stopping) = (([127, 0, 0, 1], 1).into(), CancellationToken::new());
    let http = http(None);
    let services = (http1, (&settings, never));
    let serving = http.serve_any(server, peer, services, (Usage::default(), stopping));
    let calling = async {
        let (send, connection) = h2::client::handshake(client).await.expect("open");
        let _connection = tokio_util::task::AbortOnDropHandle::new(tokio::spawn(connection));
        let mut responses = Vec::new();
        for _ in 0..3 {
            let mut send = send.clone().ready().await.expect("open");
            let request = Request::get("http://a/").body(()).expect("a request");
            responses.push(send.send_request(request, true).expect("open").0);
        }
        let refused = responses.pop().expect("the third").await;
        refused.expect_err("too many").reason()
    };
    tokio::select! {
        reason = calling => assert_eq!(reason, Some(h2::Reason::REFUSED_STREAM)),
        () = serving => panic!("the connection ended"),
    }
}

/// A stopped client or a dead host must not hold up the stop of the process.
#[tokio::test(start_paused = true)]
async fn idle_http2_ends_at_a_stop_though_its_client_answers_no_ping() {
    let (mut client, server) = tokio::io::duplex(1 << 16);
    let peer = ([127, 0, 0, 1], 1).into();
    let open = Arc::new(OpenConnections::default());
    let registered = open.register(peer);
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    client.write_all(preface).await.expect("the pipe has room");
    let stopping = CancellationToken::new();
    stopping.cancel();
    let begun = Instant::now();
    let ends = (None, registered.usage(), stopping);
    let handler = |_: Exchange| async {};
    let settings = Http2::default();
    settings.serve(server, peer, handler, ends).await;
    let seconds = begun.elapsed().as_secs();
    assert!(seconds <= 5, "ended after {seconds} s");
}

/// The client sends its request before it can know of the end, and answers no ping.
#[tokio::test(start_paused = true)]
async fn http2_that_is_closed_for_another_client_ends_after_the_request_in_progress() {
    let (mut client, server) = tokio::io::duplex(1 << 16);
    let peer = ([127, 0, 0, 1], 1).into();
    let open = Arc::new(OpenConnections::default());
    let registered = open.register(peer);
    let mut sent = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec();
    sent.extend(b"\0\0\x06\x01\x05\0\0\0\x01\x82\x86\x84\x41\x01a");
    client.write_all(&sent).await.expect("the pipe has room");
    assert_eq!(open.evict(), 1);
    let handler = |exchange: Exchange| async move {
        tokio::time::sleep(Duration::from_secs(10)).await;
        drop(exchange);
    };
    let begun = Instant::now();
    let ends = (None, registered.usage(), CancellationToken::new());
    let settings = Http2::default();
    settings.serve(server, peer, handler, ends).await;
    assert!(registered.usage().has_begun());
    let seconds = begun.elapsed().as_secs();
    assert!((10..20).contains(&seconds), "ended after {seconds} s");
}
