//! Tests how connections are opened and pinged, with a clock that does not wait.

use std::io;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream},
    time::Instant,
};

use super::*;
use crate::client::tests::http2_frame;

#[tokio::test(start_paused = true)]
async fn a_peer_that_does_not_answer_at_all_is_too_slow() {
    let (stream, mut silent) = tokio::io::duplex(1 << 16);
    let authority = Authority::from_static("silent:1");
    let start = Instant::now();
    let opening = open_on(Box::new(stream), authority, PingPace::default());
    let error = in_time(opening).await.expect_err("no connection");
    assert!(matches!(error, ConnectError::TimedOut), "{error}");
    assert_eq!(start.elapsed(), CONNECT_TIMEOUT);
    // Its connection is closed then.
    let mut received = Vec::new();
    let closed = tokio::time::timeout(PING_TIMEOUT, silent.read_to_end(&mut received));
    closed.await.expect("in time").expect("no error");
}

#[tokio::test(start_paused = true)]
async fn the_first_ping_does_not_end_the_connection_before_its_own_timeout_does() {
    let (stream, _silent) = tokio::io::duplex(1 << 16);
    let handshake = Builder::new().handshake::<_, Bytes>(stream).await;
    let (_sender, mut connection) = handshake.expect("HTTP/2");
    let pings = connection.ping_pong();
    tokio::spawn(connection);
    let (answered, _first_answer) = oneshot::channel();
    let pace = PingPace::default();
    let pinging = tokio::time::timeout(PING_TIMEOUT * 2, ping(pings, answered, &pace));
    pinging
        .await
        .expect_err("the ping has no timeout of its own");
}

const CONTINUATION: u8 = 9;
const GO_AWAY: u8 = 7;
const HEADERS: u8 = 1;
const PING: u8 = 6;
const SETTINGS: u8 = 4;
const ACK: u8 = 1;

fn go_away(reason: h2::Reason) -> Vec<u8> {
    let payload = [[0; 4], u32::from(reason).to_be_bytes()].concat();
    http2_frame(GO_AWAY, 0, 0, &payload)
}

/// Answers this many pings, sends these bytes and waits for the end of the connection. Returns when the pings came.
async fn answer_pings(
    mut stream: DuplexStream,
    count: usize,
    last: &[u8],
) -> io::Result<Vec<Instant>> {
    let mut pings = Vec::new();
    stream.read_exact(&mut [0; 24]).await?;
    stream.write_all(&http2_frame(SETTINGS, 0, 0, &[])).await?;
    while pings.len() < count {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await?;
        let mut payload = vec![0; usize::from(head[2])];
        stream.read_exact(&mut payload).await?;
        if head[3] == PING && head[4] & ACK == 0 {
            pings.push(Instant::now());
            stream
                .write_all(&http2_frame(PING, ACK, 0, &payload))
                .await?;
        }
    }
    stream.write_all(last).await?;
    // An error is an end too: what was sent to the peer last may not have been read.
    let _ended = stream.read_to_end(&mut Vec::new()).await;
    Ok(pings)
}

/// Keeps a connection open until the peer has got four pings and ended it with these bytes. Returns the time between the pings.
async fn ping_interval(pace: &PingPace, last: &[u8]) -> Duration {
    let (stream, peer) = tokio::io::duplex(1 << 16);
    let authority = Authority::from_static("pinged:1");
    let opened = open_on(Box::new(stream), authority, pace.clone());
    let (sender, pings) = tokio::join!(opened, answer_pings(peer, 4, last));
    drop(sender.expect("a connection"));
    let pings = pings.expect("four pings");
    let intervals: Vec<_> = pings.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert_eq!(intervals, [intervals[0]; 3]);
    intervals[0]
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_pinged_every_five_minutes_and_less_often_for_a_peer_that_asks_for_it() {
    let pace = PingPace::default();
    let end = go_away(h2::Reason::NO_ERROR);
    let calm = go_away(h2::Reason::ENHANCE_YOUR_CALM);
    // This side ends the connection with the same reason: the peer sends header blocks that never end.
    let endless = http2_frame(HEADERS, 0, 1, &[]);
    let more = http2_frame(CONTINUATION, 0, 1, &[]).repeat(5_000);
    let flood = [endless, more].concat();
    let interval = Duration::from_secs(300);
    for (last, expected) in [
        (&end, interval),
        (&flood, interval),
        (&calm, interval),
        (&calm, 2 * interval),
        (&end, 4 * interval),
        (&end, 4 * interval),
    ] {
        assert_eq!(ping_interval(&pace, last).await, expected);
    }
    for _ in 0..100 {
        pace.slow_down();
    }
    assert_eq!(pace.interval(), 64 * interval);
}

#[tokio::test(start_paused = true)]
async fn an_address_that_does_not_answer_does_not_take_the_time_of_the_others() {
    let addresses = || (1..=3).map(|last| SocketAddr::from(([10, 0, 0, last], 1)));
    let start = Instant::now();
    let opened = first_to_open(
        addresses().collect(),
        async |address: SocketAddr| match address.ip().to_string().as_str() {
            "10.0.0.1" => std::future::pending().await,
            "10.0.0.2" => Err(ConnectError::Closed),
            _ => Ok(address),
        },
    );
    let (address, opened) = opened.await.expect("one answers");
    assert_eq!(
        (address, opened.ip().to_string().as_str()),
        (opened, "10.0.0.3")
    );
    assert_eq!(start.elapsed(), NEXT_ADDRESS_AFTER);
    // All of them are tried, and one that is slow may still be the first.
    let slow = first_to_open(addresses().collect(), async |address: SocketAddr| {
        tokio::time::sleep(2 * NEXT_ADDRESS_AFTER).await;
        Ok(address)
    });
    let (address, _) = slow.await.expect("all answer");
    assert_eq!(Some(address), addresses().next());
    let failing = first_to_open(addresses().collect(), async |_| {
        Err::<(), _>(ConnectError::Closed)
    });
    assert!(matches!(failing.await, Err(ConnectError::Closed)));
}
