//! Rejects HTTP/1 requests whose head does not define exactly one host and one length of the body: a proxy in front might
//! read such a request as two, or two as one.
//!
//! A line of a head may end with LF alone, as RFC 9112, section 2.2, allows, because clients written by hand send that.
//! Nothing can be smuggled by it: a proxy either takes it for the end of a line too, or must not forward it, because no
//! field may contain one (RFC 9110, section 5.5). hyper refuses a CR without LF, and LF alone in the lines of chunks.

use http::{Request, Version, header};

/// Whether the request must be answered with 400: `host` is missing or repeated, or `transfer-encoding` is not `chunked`, or
/// may come beside `content-length`, which hyper removes from the headers.
pub(crate) fn is_ambiguous<B>(request: &Request<B>, may_have_content_length: bool) -> bool {
    let headers = request.headers();
    let mut hosts = headers.get_all(header::HOST).iter();
    let has_host = hosts.next().is_some();
    if hosts.next().is_some() || (!has_host && request.version() == Version::HTTP_11) {
        return true;
    }
    let mut encodings = headers.get_all(header::TRANSFER_ENCODING).iter();
    let Some(encoding) = encodings.next() else {
        return false;
    };
    let is_chunked = encoding
        .as_bytes()
        .trim_ascii()
        .eq_ignore_ascii_case(b"chunked");
    !is_chunked || encodings.next().is_some() || may_have_content_length
}

/// Finds the header `content-length` in the bytes of one request's head, as they arrive.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct HeadScan {
    line: Line,
    has_content_length: bool,
    is_too_long: bool,
}

/// Where in a line of the head the last byte was.
#[derive(Clone, Copy, Debug, Default)]
enum Line {
    /// In a line that does not begin with the name. The first line of a head has no header.
    #[default]
    Other,
    /// After this many bytes of the name.
    Name(usize),
    /// In the value, whose digits so far are this number.
    Value(u64),
    /// After the head.
    Ended,
}

/// The longest body that hyper can count. It answers larger numbers that fit in 64 bits as if the head were too large.
const MAX_LENGTH: u64 = u64::MAX - 2;

/// The name with the colon, which follows it without a space.
const NAME: &[u8] = b"content-length:";

impl HeadScan {
    /// Reads the next bytes.
    pub(crate) fn read(&mut self, mut bytes: &[u8]) {
        while let Some(first) = bytes.first() {
            match self.line {
                Line::Ended => return,
                Line::Name(0) if matches!(first, b'\r' | b'\n') => self.line = Line::Ended,
                Line::Name(matched) if NAME[matched].eq_ignore_ascii_case(first) => {
                    bytes = &bytes[1..];
                    self.has_content_length |= matched + 1 == NAME.len();
                    self.line = match self.has_content_length {
                        true => Line::Value(0),
                        false => Line::Name(matched + 1),
                    };
                }
                Line::Value(length) => {
                    bytes = &bytes[1..];
                    self.line = match first {
                        b' ' | b'\t' if length == 0 => Line::Value(0),
                        b'0'..=b'9' => {
                            let digit = u64::from(first - b'0');
                            Line::Value(length.saturating_mul(10).saturating_add(digit))
                        }
                        _ => {
                            self.is_too_long = length > MAX_LENGTH;
                            Line::Ended
                        }
                    };
                }
                Line::Name(_) => self.line = Line::Other,
                Line::Other => {
                    let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else {
                        return;
                    };
                    bytes = &bytes[end + 1..];
                    self.line = Line::Name(0);
                }
            }
        }
    }

    pub(crate) const fn has_content_length(self) -> bool {
        self.has_content_length
    }

    /// Whether `content-length` is a number that no body can have.
    pub(crate) const fn is_too_long(self) -> bool {
        self.is_too_long
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(headers: &[(&str, &str)]) -> Request<()> {
        let mut request = Request::builder();
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).expect("a request")
    }

    #[test]
    fn a_request_has_one_host_and_one_length() {
        let chunked = ("transfer-encoding", "Chunked");
        let host = ("host", "a");
        for (headers, expected) in [
            (&[host][..], false),
            (&[host, chunked], false),
            (&[("host", "")], false),
            (&[], true),
            (&[host, host], true),
            (&[host, ("transfer-encoding", "gzip, chunked")], true),
            (&[host, ("transfer-encoding", "chunked, chunked")], true),
            (&[host, chunked, chunked], true),
        ] {
            assert_eq!(
                is_ambiguous(&request(headers), false),
                expected,
                "{headers:?}"
            );
        }
        assert!(is_ambiguous(&request(&[host, chunked]), true));
        assert!(!is_ambiguous(&request(&[host]), true));
        let mut old = request(&[]);
        *old.version_mut() = Version::HTTP_10;
        assert!(!is_ambiguous(&old, false), "HTTP/1.0 knows no host");
    }

    #[test]
    fn a_length_that_no_body_can_have_is_found() {
        for (length, expected) in [
            ("5", false),
            ("18446744073709551613", false),
            ("18446744073709551614", true),
            (" \t18446744073709551616 ", true),
            ("99999999999999999999999999999", true),
            ("00000000000000000000000000005", false),
            ("x", false),
        ] {
            let head = format!("POST / HTTP/1.1\r\ncontent-length:{length}\r\n\r\n");
            for size in 1..=head.len() {
                let mut scan = HeadScan::default();
                for part in head.as_bytes().chunks(size) {
                    scan.read(part);
                }
                assert_eq!(scan.is_too_long(), expected, "{head} by {size}");
            }
        }
    }

    #[test]
    fn a_content_length_is_found_however_the_head_is_cut() {
        for (head, expected) in [
            (
                "POST / HTTP/1.1\r\nhost: a\r\nContent-Length: 5\r\n\r\n",
                true,
            ),
            ("POST / HTTP/1.1\ncontent-LENGTH:5\n\n", true),
            ("POST / HTTP/1.1\r\nx: content-length: 5\r\n\r\n", false),
            ("POST / HTTP/1.1\r\nx-content-length: 5\r\n\r\n", false),
            (
                "POST / HTTP/1.1\r\ncontent-lengths: 5\r\ncontent-\r\n\r\n",
                false,
            ),
            ("content-length: 5", false),
            (
                "POST / HTTP/1.1\r\nhost: a\r\n\r\ncontent-length: 5\r\n",
                false,
            ),
        ] {
            for size in 1..=head.len() {
                let mut scan = HeadScan::default();
                for part in head.as_bytes().chunks(size) {
                    scan.read(part);
                }
                assert_eq!(scan.has_content_length(), expected, "{head} by {size}");
            }
        }
    }
}
