//! An Executor that answers each call with frames of HTTP/2 as a test spells them, valid or not.

use std::{collections::HashMap, io, net::SocketAddr, sync::Arc};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_util::task::AbortOnDropHandle;

/// A call that has arrived completely.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawCall {
    /// The number of the connection, from 0 on.
    pub connection: usize,
    /// The stream of the call.
    pub stream: u32,
    /// The gRPC frame of its message.
    pub body: Vec<u8>,
}

impl RawCall {
    /// Whether the message contains this text.
    #[must_use]
    pub fn contains(&self, text: &str) -> bool {
        let text = text.as_bytes();
        self.body.windows(text.len()).any(|part| part == text)
    }

    /// Returns the frames of an answer with this gRPC frame and the status OK.
    #[must_use]
    pub fn answer(&self, message: &[u8]) -> Vec<u8> {
        [self.head(), self.data(message), self.trailers("0")].concat()
    }

    /// Returns the frame of the answer's headers.
    #[must_use]
    pub fn head(&self) -> Vec<u8> {
        // `:status: 200` is in the static table of HPACK.
        let block = [
            &[0x88],
            literal("content-type", "application/grpc").as_slice(),
        ]
        .concat();
        frame(HEADERS, END_HEADERS, self.stream, &block)
    }

    /// Returns a frame with bytes of the answer.
    #[must_use]
    pub fn data(&self, bytes: &[u8]) -> Vec<u8> {
        frame(DATA, 0, self.stream, bytes)
    }

    /// Returns the frame of the answer's trailers, with this value of `grpc-status`.
    #[must_use]
    pub fn trailers(&self, status: &str) -> Vec<u8> {
        let block = literal("grpc-status", status);
        frame(HEADERS, END_HEADERS | END_STREAM, self.stream, &block)
    }

    /// Returns a GOAWAY of this reason, by which this call and later ones were not processed.
    #[must_use]
    pub fn go_away(&self, reason: u32) -> Vec<u8> {
        let last = self.stream.saturating_sub(2);
        let payload = [last.to_be_bytes(), reason.to_be_bytes()].concat();
        frame(GO_AWAY, 0, 0, &payload)
    }
}

/// An empty message in its gRPC frame.
pub const EMPTY_MESSAGE: [u8; 5] = [0; 5];

/// The endpoints of an Executor that serves all of them, in their gRPC frame.
const ENDPOINTS: &[u8] = b"\0\0\0\0\x0a\x0a\x08/default";

/// The Executor. It stops when this is dropped.
#[derive(Debug)]
pub struct RawExecutor {
    address: SocketAddr,
    _serving: AbortOnDropHandle<()>,
}

impl RawExecutor {
    /// Answers each call with the frames that `answer` returns; discovery of the endpoints, whose message is empty, with the
    /// default one.
    ///
    /// # Panics
    /// When no port is free.
    pub async fn start(answer: impl Fn(&RawCall) -> Vec<u8> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("0.0.0.0:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound socket");
        let answer = Arc::new(answer);
        let serving = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            for connection in 0.. {
                let Ok((stream, _)) = listener.accept().await else {
                    return;
                };
                let answer = Arc::clone(&answer);
                connections.spawn(async move { serve(stream, connection, &*answer).await });
            }
        });
        Self {
            address,
            _serving: AbortOnDropHandle::new(serving),
        }
    }

    /// Returns its port.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.address.port()
    }
}

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GO_AWAY: u8 = 7;

/// The same bit as [`END_STREAM`], in frames of the connection.
const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// Serves a connection until it ends.
async fn serve(
    mut connection: TcpStream,
    number: usize,
    answer: &(dyn Fn(&RawCall) -> Vec<u8> + Send + Sync),
) -> io::Result<()> {
    connection.read_exact(&mut [0; 24]).await?;
    connection.write_all(&frame(SETTINGS, 0, 0, &[])).await?;
    let mut bodies: HashMap<u32, Vec<u8>> = HashMap::new();
    loop {
        let mut head = [0; 9];
        connection.read_exact(&mut head).await?;
        let [a, b, c, kind, flags, stream @ ..] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        connection.read_exact(&mut payload).await?;
        let stream = u32::from_be_bytes(stream);
        let reply = match kind {
            PING if flags & ACK == 0 => frame(PING, ACK, 0, &payload),
            SETTINGS if flags & ACK == 0 => frame(SETTINGS, ACK, 0, &[]),
            DATA => {
                let body = bodies.entry(stream).or_default();
                body.extend(payload);
                if flags & END_STREAM == 0 {
                    continue;
                }
                let call = RawCall {
                    connection: number,
                    stream,
                    body: bodies.remove(&stream).unwrap_or_default(),
                };
                match call.body == EMPTY_MESSAGE {
                    true => call.answer(ENDPOINTS),
                    false => answer(&call),
                }
            }
            _ => continue,
        };
        connection.write_all(&reply).await?;
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(payload.len())
        .unwrap_or(u32::MAX)
        .to_be_bytes();
    [&len[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Encodes a header that is not in the table of HPACK, and does not get into it.
fn literal(name: &str, value: &str) -> Vec<u8> {
    let text = |text: &str| [&[u8::try_from(text.len()).unwrap_or(0)], text.as_bytes()].concat();
    [vec![0], text(name), text(value)].concat()
}
