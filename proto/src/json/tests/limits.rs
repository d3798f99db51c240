//! Bodies that would become too large are refused while they are parsed.

use std::fmt::Write as _;

use super::*;
use crate::{DecodeLimits, LimitExceeded};

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

#[test]
fn numbers_fit_in_the_default_limit_of_any_message() {
    let numbers = vec!["1"; 100_000].join(",");
    let body = format!(r#"{{"data":[{{"tensor":[{numbers}]}}]}}"#);
    // The document itself and the two keys take less than a kilobyte.
    assert_eq!(
        read(&body, DecodeLimits::for_messages(body.len() + 1000)),
        Ok(1)
    );
}

#[test]
fn a_value_takes_24_bytes() {
    assert_eq!(size_of::<Json>(), 24);
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
