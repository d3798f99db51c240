//! Bodies that would become too large are refused while they are parsed.

use std::{
    fmt::Write as _,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};

use super::*;
use crate::{DecodeLimits, DecodedMemory, LimitExceeded, Value};

fn limits(max_documents: usize, max_decoded_bytes: usize) -> DecodeLimits {
    DecodeLimits {
        max_documents,
        max_decoded_bytes,
    }
}

/// Returns the number of documents in the request, or the limit that it exceeds.
fn read(body: &str, limits: DecodeLimits) -> Result<usize, LimitExceeded> {
    let body = match parse_request(body.as_bytes(), limits) {
        Ok(body) => body,
        Err(error) => match error.kind {
            SyntaxErrorKind::TooLarge(exceeded) => return Err(exceeded),
            _ => panic!("{error}"),
        },
    };
    match read_request(body, EndpointFrom::Body) {
        Ok(request) => Ok(request.documents.into_vec().expect("documents").len()),
        Err(ReadError::TooLarge(exceeded)) => Err(exceeded),
        Err(ReadError::Invalid(errors)) => panic!("{errors:?}"),
    }
}

/// All forms in which documents come, with `count` documents.
fn bodies(count: usize) -> [String; 4] {
    let list = |count: usize| vec!["{}"; count].join(",");
    [
        format!(r#"{{"data":[{}]}}"#, list(count)),
        format!(r#"{{"data":{{"docs":[{}]}}}}"#, list(count)),
        format!(r#"{{"data":[{{"chunks":[{}]}}]}}"#, list(count - 1)),
        format!(
            r#"{{"data":{{"docs":[{{"matches":[{}]}}]}}}}"#,
            list(count - 1)
        ),
    ]
}

#[test]
fn documents_are_counted_in_every_form() {
    let limits = limits(10, usize::MAX);
    for body in bodies(10) {
        assert!(read(&body, limits).is_ok(), "{body}");
    }
    for body in bodies(11) {
        assert_eq!(
            read(&body, limits),
            Err(LimitExceeded::Documents { limit: 10 })
        );
    }
}

/// The rest of the text is not parsed any more: it is not even JSON.
#[test]
fn parsing_ends_at_the_limit() {
    let exceeded = Err(LimitExceeded::Documents { limit: 3 });
    assert_eq!(
        read(r#"{"data":[{},{},{},{},"#, limits(3, usize::MAX)),
        exceeded
    );
    let exceeded = Err(LimitExceeded::DecodedBytes { limit: 1000 });
    let numbers = "1,".repeat(1000);
    for body in [
        format!(r#"{{"data":[{{"tensor":[{numbers}"#),
        format!(r#"{{"parameters":{{"a":[{numbers}"#),
        format!("[{}", "null,".repeat(1000)),
        format!(r#"{{"data":[{{"text":"{}","#, "x".repeat(1000)),
    ] {
        assert_eq!(read(&body, limits(3, 1000)), exceeded, "{body}");
    }
    let mut keys = String::from(r#"{"parameters":{"#);
    for n in 0..1000 {
        let _ = write!(keys, r#""{n}":0,"#);
    }
    assert_eq!(read(&keys, limits(3, 1000)), exceeded);
}

/// Each element of an array of strings takes as much memory as the longest.
#[test]
fn arrays_of_strings_count_with_their_padding() {
    let empty = vec![r#""""#; 1000].join(",");
    let body = format!(
        r#"{{"data":[{{"tensor":["{}",{empty}]}}]}}"#,
        "x".repeat(1000)
    );
    assert_eq!(read(&body, limits(10, 10 << 20)), Ok(1));
    let limit = 2 << 20;
    assert_eq!(
        read(&body, limits(10, limit)),
        Err(LimitExceeded::DecodedBytes { limit })
    );
}

/// While an array is converted, its numbers exist twice.
#[test]
fn numbers_fit_in_the_default_limit_of_any_message() {
    let numbers = vec!["1"; 1000].join(",");
    let document = format!(r#"{{"tensor":[{numbers}]}}"#);
    let many = format!(r#"{{"data":[{}]}}"#, vec![document; 100].join(","));
    let numbers = vec!["0.5"; 100_000].join(",");
    let large = format!(r#"{{"data":[{{"tensor":[{numbers}]}}]}}"#);
    for (body, documents) in [(many, 100), (large, 1)] {
        // Besides its array, each document takes about a kilobyte.
        let limits = DecodeLimits::for_messages(body.len() + documents * 400);
        assert_eq!(read(&body, limits), Ok(documents));
    }
}

#[test]
fn a_value_takes_24_bytes_and_32_as_protobuf() {
    assert_eq!(size_of::<Json>(), 24);
    assert_eq!(size_of::<Value>(), 32);
}

/// Memory for up to a number of bytes, which records the most that it held.
#[derive(Debug)]
struct Recorder {
    limit: usize,
    held: AtomicUsize,
    most: AtomicUsize,
}

impl Recorder {
    fn new(limit: usize) -> Self {
        Self {
            limit,
            held: AtomicUsize::new(0),
            most: AtomicUsize::new(0),
        }
    }

    /// Reads the body, and returns the most bytes that were held, and those that were held at the end.
    fn read(self, body: &str) -> Result<(usize, usize), SyntaxErrorKind> {
        let body = parse_request_counted(body.as_bytes(), DecodeLimits::default(), &self);
        read_request(body.map_err(|error| error.kind)?, EndpointFrom::Body).map_err(|error| {
            match error {
                ReadError::TooLarge(exceeded) => SyntaxErrorKind::TooLarge(exceeded),
                ReadError::Invalid(errors) => panic!("{errors:?}"),
            }
        })?;
        Ok((self.most.into_inner(), self.held.into_inner()))
    }
}

impl DecodedMemory for Recorder {
    fn hold(&self, bytes: usize) -> bool {
        if bytes > self.limit {
            return false;
        }
        self.held.store(bytes, Relaxed);
        self.most.fetch_max(bytes, Relaxed);
        true
    }
}

/// Bodies of `count` values, with the bytes that a value takes at least at the end, and while it is read.
fn expensive_bodies(count: usize) -> [(String, usize, usize); 6] {
    let list = |item: &str| vec![item; count].join(",");
    let value = size_of::<Value>();
    let mut keys = String::from("\"x\":0");
    for n in 0..count {
        let _ = write!(keys, ",\"{n}\":0");
    }
    [
        (
            format!(r#"{{"data":[],"parameters":{{"a":[{}]}}}}"#, list("[]")),
            value,
            value + 24,
        ),
        (
            format!(r#"{{"data":[],"parameters":{{"a":[{}]}}}}"#, list("1")),
            value,
            value + 8,
        ),
        (
            format!(r#"{{"data":[],"parameters":{{"a":[{}]}}}}"#, list("[\"\"]")),
            2 * value,
            2 * value + 48,
        ),
        (
            format!(r#"{{"data":[],"parameters":{{{keys}}}}}"#),
            value + 24,
            value + 24 + 40,
        ),
        // A list of pairs is an object; the last of each key stays.
        (
            format!(r#"{{"data":[],"parameters":[{}]}}"#, list("\"ab\"")),
            0,
            24 + 48,
        ),
        (
            format!(r#"{{"data":[{{"tags":{{"a":[{}]}}}}]}}"#, list("[]")),
            value,
            value + 24,
        ),
    ]
}

#[test]
fn values_count_as_what_they_take() {
    let count = 10_000;
    for (body, at_end, at_most) in expensive_bodies(count) {
        let start = &body[..60];
        let (most, held) = Recorder::new(usize::MAX).read(&body).expect("no limit");
        assert!(held >= count * at_end, "{start}: {held}");
        assert!(most >= count * at_most, "{start}: {most}");
        // Not far more either.
        assert!(held <= 4 * count * at_end + 1000, "{start}: {held}");
        assert!(most <= 6 * count * at_most, "{start}: {most}");
    }
}

/// Nothing is parsed after the place at which the memory ends.
#[test]
fn reading_ends_where_the_shared_memory_ends() {
    let no_room = SyntaxErrorKind::TooLarge(LimitExceeded::NoRoom);
    for (body, _, at_most) in expensive_bodies(10_000) {
        let result = Recorder::new(10_000 * at_most).read(&body);
        assert_eq!(result, Err(no_room), "{}", &body[..60]);
    }
    let unfinished = format!("[{}", "[],".repeat(1000));
    assert_eq!(Recorder::new(1000).read(&unfinished), Err(no_room));
}

/// Of each document only what it takes itself counts for the next ones.
#[test]
fn the_tree_of_a_document_does_not_count_beside_the_next_ones() {
    let numbers = vec!["0.5"; 1000].join(",");
    let document = format!(r#"{{"tensor":[{numbers}]}}"#);
    let body = |count| format!(r#"{{"data":[{}]}}"#, vec![&document[..]; count].join(","));
    let (_, one) = Recorder::new(usize::MAX).read(&body(1)).expect("no limit");
    let (most, hundred) = Recorder::new(usize::MAX)
        .read(&body(100))
        .expect("no limit");
    assert_eq!(hundred, 100 * one);
    // What is held ahead is a sixteenth.
    assert!(most < hundred / 8 * 9, "{most} of {hundred}");
}

#[test]
fn lists_of_numbers_are_read_as_lists_of_any_values() {
    for (text, items) in [
        ("[1,2,3]", Some(3)),
        ("[0.5,NaN]", Some(2)),
        ("[1,2.5]", Some(2)),
        ("[1,true]", Some(2)),
        ("[]", Some(0)),
        ("1", None),
    ] {
        assert_eq!(json(text).items().map(Items::len), items, "{text}");
    }
    assert_eq!(
        json("[1,2]"),
        Json::List([Json::Int(1), Json::Int(2)].into())
    );
    assert_eq!(
        json("[1,2.5]"),
        Json::List([Json::Int(1), Json::Float(2.5)].into())
    );
    assert_ne!(json("[1]"), json("[1.0]"));
}
