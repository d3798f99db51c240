//! Tests sessions over a connection in memory with a small buffer, so that a client that does not read holds up answers at
//! once. Time is paused: it passes when nothing else can happen.

use std::{num::NonZeroUsize, sync::Arc};

use executor_fn::{Executor, Reply};
use flowgate_config::Config;
use flowgate_grpc::Budget;
use flowgate_proto::{DataRequest, docarray::DocumentProto};
use prost::Message as _;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream},
    sync::Barrier,
};

use super::*;
use crate::{gateway::Registry, outbound::Clients};

const TIMEOUT: Duration = Duration::from_secs(20);

/// A session on a Flow with one Executor, and its client, which speaks JSON.
fn session(uses: &str, limits: WorkLimits) -> (DuplexStream, Session<DuplexStream>) {
    session_in(Subprotocol::Json, uses, limits)
}

/// Does the same in this subprotocol. Large messages in JSON are handled on threads that the tests share: a test in which time
/// must not pass meanwhile takes the other.
fn session_in(
    subprotocol: Subprotocol,
    uses: &str,
    limits: WorkLimits,
) -> (DuplexStream, Session<DuplexStream>) {
    let yaml = format!("jtype: Flow\nexecutors:\n  - {{name: e, uses: 'inproc://{uses}'}}\n");
    let loaded = Config::from_yaml(&yaml, "test.yml", &|_| None).expect("a Flow");
    let registry = Registry::default()
        .with("large", || answers_of(200_000, 1))
        .with("large-in-pairs", || answers_of(200_000, 2))
        .with("hang", || {
            Executor::new("Hang").on_default(async |_| {
                std::future::pending::<()>().await;
                Ok(Reply::unchanged())
            })
        });
    let clients = Clients::new(&loaded.config.gateway.invoke);
    let (client, server) = tokio::io::duplex(64);
    let session = Session {
        socket: Socket::new(server, 1 << 20),
        subprotocol,
        gateway: Gateway::new(&loaded.config, &registry, &clients).expect("it can be served"),
        limits,
        min_rate: MinRate {
            period: TIMEOUT,
            bytes_per_second: 100,
        },
        stopping: CancellationToken::new(),
    };
    (client, session)
}

/// Returns an Executor whose answers have about this many bytes. It answers this many requests at a time.
fn answers_of(bytes: usize, requests: usize) -> Executor {
    let document = DocumentProto {
        id: "x".repeat(bytes),
        ..DocumentProto::default()
    };
    let barrier = Arc::new(Barrier::new(requests));
    Executor::new("Large").on_default(move |_| {
        let answer = Reply::documents(vec![document.clone()]);
        let barrier = Arc::clone(&barrier);
        async move {
            barrier.wait().await;
            Ok(answer)
        }
    })
}

const UNLIMITED: WorkLimits = WorkLimits {
    prefetch: None,
    max_unread_bytes: 1 << 30,
};

/// A client's frame whose mask is zero.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).expect("short").to_be_bytes();
    [&[first, 0x80 | 126], &length[..], &[0; 4], payload].concat()
}

fn request(bytes: usize) -> Vec<u8> {
    let text = format!(r#"{{"data": [{{"text": "{}"}}]}}"#, "x".repeat(bytes));
    frame(0x81, text.as_bytes())
}

const END: &[u8] = &[0x81, 0x82, 0, 0, 0, 0, b'{', b'}'];

/// A request in protobuf, with one document.
fn binary_request() -> Vec<u8> {
    let request = DataRequest {
        documents: vec![DocumentProto::default()].into(),
        ..DataRequest::default()
    };
    frame(0x82, &request.encode_to_vec())
}

const BINARY_END: &[u8] = &[0x82, 0x81, 0, 0, 0, 0, 0];

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_its_answers_is_dropped() {
    let (mut client, session) = session("pass_through", UNLIMITED);
    let start = Instant::now();
    let serving = tokio::spawn(session.serve_data());
    client
        .write_all(&request(1000))
        .await
        .expect("the session reads");
    serving.await.expect("no panic");
    assert_eq!(start.elapsed(), 2 * TIMEOUT);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_reads_slowly_gets_its_answers() {
    let (mut client, session) = session("pass_through", UNLIMITED);
    let serving = tokio::spawn(session.serve_data());
    client
        .write_all(&request(50_000))
        .await
        .expect("the session reads");
    client.write_all(END).await.expect("the session reads");
    let mut received = Vec::new();
    // At 200 bytes in a second, twice the least, this takes minutes.
    while !received.ends_with(&[0x88, 2, 3, 0xe8]) {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let mut some = [0; 60];
        let bytes = client.read(&mut some).await.expect("an open connection");
        assert!(bytes > 0, "closed after {} bytes", received.len());
        received.extend_from_slice(&some[..bytes]);
    }
    assert!(received.len() > 50_000);
    drop(client);
    serving.await.expect("no panic");
}

#[tokio::test(start_paused = true)]
async fn unread_answers_are_bounded() {
    let limits = WorkLimits {
        max_unread_bytes: 1 << 18,
        ..UNLIMITED
    };
    let (mut client, session) = session_in(Subprotocol::Bytes, "large-in-pairs", limits);
    let serving = tokio::spawn(session.serve_data());
    for _ in 0..3 {
        client
            .write_all(&binary_request())
            .await
            .expect("the session reads");
    }
    let mut received = Vec::new();
    let reason = b"\x03\xf0more than 262144 bytes of answers wait to be read (max_unread_bytes)";
    client
        .read_to_end(&mut received)
        .await
        .expect("the session ends");
    // The answer of which the client had received a part, if there is one, and the close frame.
    assert!(received.len() < 210_000, "{}", received.len());
    assert!(received.ends_with(reason));
    drop(client);
    serving.await.expect("no panic");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_reads_is_answered_however_large_the_answers_are() {
    let limits = WorkLimits {
        max_unread_bytes: 1000,
        ..UNLIMITED
    };
    let (client, session) = session_in(Subprotocol::Bytes, "large", limits);
    let start = Instant::now();
    let serving = tokio::spawn(session.serve_data());
    let (mut reader, mut writer) = tokio::io::split(client);
    let mut received = Vec::new();
    let writing = async {
        for _ in 0..5 {
            writer
                .write_all(&binary_request())
                .await
                .expect("the session reads");
        }
        writer
            .write_all(BINARY_END)
            .await
            .expect("the session reads");
    };
    let (read, ()) = tokio::join!(reader.read_to_end(&mut received), writing);
    read.expect("the session ends");
    assert!(received.len() > 5 * 200_000);
    assert!(received.ends_with(&[0x88, 2, 3, 0xe8]));
    // Only the end of the connection has waited for a timer: the client does not answer the close frame.
    assert_eq!(start.elapsed(), CLOSE_TIMEOUT);
    drop((reader, writer));
    serving.await.expect("no panic");
}

#[tokio::test(start_paused = true)]
async fn pings_are_answered_while_requests_wait_for_their_turn() {
    let limits = WorkLimits {
        prefetch: NonZeroUsize::new(1),
        ..UNLIMITED
    };
    let (mut client, session) = session("hang", limits);
    let _serving = tokio::spawn(session.serve_data());
    for _ in 0..20 {
        client
            .write_all(&request(1000))
            .await
            .expect("the session reads");
    }
    client
        .write_all(&frame(0x89, b"?"))
        .await
        .expect("the session reads");
    let mut pong = [0; 3];
    client.read_exact(&mut pong).await.expect("a pong");
    assert_eq!(pong, [0x8a, 1, b'?']);
}

#[tokio::test(start_paused = true)]
async fn the_bytes_of_a_message_count_until_it_is_answered() {
    let (mut client, mut session) = session("hang", UNLIMITED);
    let budget = Budget::new(1 << 20);
    session.socket = session.socket.with_budget(&budget);
    let serving = tokio::spawn(session.serve_data());
    // A ping between two parts of the message.
    let [begin, end] = [br#"{"data": [{"text": "x"#, br#"                 "}]}"#];
    let mut pong = [0; 3];
    // Once the message is whole, what its document takes counts too.
    for (part, used) in [(frame(0x01, begin), 21..=21), (frame(0x80, end), 43..=2000)] {
        let bytes = [part, frame(0x89, b"?")].concat();
        client.write_all(&bytes).await.expect("the session reads");
        client.read_exact(&mut pong).await.expect("a pong");
        assert_eq!(pong, [0x8a, 1, b'?']);
        assert!(used.contains(&budget.used()), "{}", budget.used());
    }
    drop(client);
    serving.await.expect("no panic");
    assert_eq!(budget.used(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_silent_client_is_dropped_after_two_pings() {
    let (mut client, session) = session("pass_through", UNLIMITED);
    let serving = tokio::spawn(session.serve_data());
    let start = Instant::now();
    let mut ping = [0; 2];
    client.read_exact(&mut ping).await.expect("a ping");
    assert_eq!(ping, [0x89, 0]);
    // A pong is a sign of life.
    client
        .write_all(&frame(0x8a, b""))
        .await
        .expect("the session reads");
    let mut pings = Vec::new();
    client.read_to_end(&mut pings).await.expect("an end");
    assert_eq!(pings, [0x89, 0]);
    assert_eq!(start.elapsed(), 3 * PING_INTERVAL);
    serving.await.expect("no panic");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_sends_one_large_frame_is_not_silent() {
    let (mut client, session) = session("pass_through", UNLIMITED);
    let serving = tokio::spawn(session.serve_data());
    let start = Instant::now();
    // At 200 bytes in a second, twice the least.
    for part in request(60_000).chunks(60) {
        client.write_all(part).await.expect("the session reads");
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    assert!(start.elapsed() > 6 * PING_INTERVAL);
    let reading = async {
        client.write_all(END).await.expect("the session reads");
        let mut received = Vec::new();
        while !received.ends_with(&[0x88, 2, 3, 0xe8]) {
            let bytes = client.read_buf(&mut received).await.expect("answers");
            assert!(bytes > 0, "closed after {} bytes", received.len());
        }
        received
    };
    assert!(reading.await.len() > 60_000);
    drop(client);
    serving.await.expect("no panic");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_sends_half_a_message_and_then_only_pongs_is_closed() {
    let (client, mut session) = session("pass_through", UNLIMITED);
    let budget = Budget::new(1 << 20);
    session.socket = session.socket.with_budget(&budget);
    let serving = tokio::spawn(session.serve_data());
    let start = Instant::now();
    let (mut reader, mut writer) = tokio::io::split(client);
    let mut received = Vec::new();
    writer
        .write_all(&frame(0x01, b"half"))
        .await
        .expect("the session reads");
    let reading = async {
        reader.read_buf(&mut received).await.expect("a frame");
    };
    let pongs = async {
        loop {
            writer
                .write_all(&frame(0x8a, b"here"))
                .await
                .expect("the session reads");
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    tokio::select! {
        () = reading => {}
        () = pongs => {}
    }
    assert_eq!(start.elapsed(), 2 * TIMEOUT);
    drop(writer);
    reader.read_to_end(&mut received).await.expect("an end");
    let reason =
        b"a message arrives slower than 100 bytes per second (min_bytes_per_second) over 20s";
    let close = [&[0x88, 2 + reason.len() as u8, 3, 0xf0], &reason[..]].concat();
    assert_eq!(received, close);
    drop(reader);
    serving.await.expect("no panic");
    assert_eq!(budget.used(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_stop_does_not_wait_for_a_client_that_goes_on_after_an_error() {
    let (mut client, session) = session("pass_through", UNLIMITED);
    let stopping = session.stopping.clone();
    let serving = tokio::spawn(session.serve_data());
    client
        .write_all(&[0xff; 60])
        .await
        .expect("the session reads");
    let mut frame = [0; 2];
    client.read_exact(&mut frame).await.expect("a close frame");
    assert_eq!(frame[0], 0x88);
    let stop = Instant::now();
    stopping.cancel();
    serving.await.expect("no panic");
    assert_eq!(stop.elapsed(), CLOSE_TIMEOUT);
}
