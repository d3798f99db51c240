//! The status in any trailers of a peer is passed on with the same meaning, in trailers of a bounded size.

use flowgate_grpc::{from_headers, to_trailers};
use http::{HeaderMap, HeaderName, HeaderValue};

/// The largest trailers that gRPC's own clients accept by default, in bytes.
const MAX_BYTES: usize = 8 << 10;

/// Reads lines of `name:value`; lines that are not a valid header are skipped.
pub(crate) fn check(input: &[u8]) {
    let mut headers = HeaderMap::new();
    for line in input.split(|byte| *byte == b'\n').take(100) {
        let colon = line.iter().position(|byte| *byte == b':');
        let (name, value) = line.split_at(colon.unwrap_or(line.len()));
        if let (Ok(name), Some(Ok(value))) = (
            HeaderName::from_bytes(name),
            value.get(1..).map(HeaderValue::from_bytes),
        ) {
            headers.append(name, value);
        }
    }
    let Some(status) = from_headers(&headers) else {
        return;
    };
    let trailers = to_trailers(&status);
    let size: usize = trailers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len())
        .sum();
    assert!(size <= MAX_BYTES, "{size} bytes of trailers");
    let read = from_headers(&trailers).expect("a status");
    assert_eq!(read.code(), status.code());
    if read.message() == status.message() {
        assert_eq!(to_trailers(&read), trailers, "trailers stay what they are");
        return;
    }
    let shortened = read.message().strip_suffix("...").expect("a mark");
    assert!(status.message().starts_with(shortened));
}
