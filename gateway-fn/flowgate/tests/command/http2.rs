//! Tests what the log says of clients that abuse HTTP/2.

use std::io::{Read as _, Write as _};

use super::{Served, TcpStream};

/// The header block of `GET http://a/` (RFC 7541): three entries of the static table, and one name of it with a value.
const HEADERS: &[u8] = b"\x82\x86\x84\x41\x01a";

/// Encodes a frame.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("short").to_be_bytes();
    let head = [&length[1..], &[kind, flags]].concat();
    [&head, &stream.to_be_bytes()[..], payload].concat()
}

#[test]
fn a_client_that_resets_too_many_requests_is_named_in_the_log() {
    let mut served = Served::start("jtype: Flow\ngateway: {protocol: grpc, port: 0}\n");
    let port = served.urls[0].rsplit(':').next().expect("a port").parse();
    let address = ("127.0.0.1", port.expect("a number"));
    let mut client = TcpStream::connect(address).expect("listening");
    let own_address = client.local_addr().expect("connected");
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend(frame(4, 0, 0, b""));
    for request in 0..1000 {
        let stream = 2 * request + 1;
        // The end of the headers and of the stream, and then its reset.
        bytes.extend(frame(1, 5, stream, HEADERS));
        bytes.extend(frame(3, 0, stream, &8_u32.to_be_bytes()));
    }
    client.write_all(&bytes).expect("sent");
    let mut rest = Vec::new();
    // A reset is an error.
    let _ = client.read_to_end(&mut rest);
    let line = served.wait_for("client reset too many requests");
    assert!(line.contains(&own_address.to_string()), "{line}");
}
