//! The pieces of a request's path and query, as front doors give them -> as they stand in a URI.

use std::{collections::HashMap, fmt::Write as _};

/// What a text is part of, which decides what in it has to be escaped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// A path; escapes in it stay as they are.
    Path,
    /// A query or piece of one; escapes in it stay as they are.
    RawQuery,
    /// A decoded name or value of a query.
    QueryValue,
}

/// The text with everything escaped that cannot stand there as it is.
pub(super) fn encoded(text: &str, part: Part) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if stays(byte, part) {
            encoded.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

fn stays(byte: u8, part: Part) -> bool {
    let also: &[u8] = match part {
        Part::Path => b"/%!$&'()*+,;=:@",
        Part::RawQuery => b"/%!$&'()*+,;=:@?[]",
        Part::QueryValue => b"!*():@/?,;",
    };
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || also.contains(&byte)
}

/// The path without a prefix that ends where one of its segments does.
pub(super) fn without<'a>(path: &'a str, prefix: &str) -> Option<&'a str> {
    match path.strip_prefix(prefix)? {
        "" => Some("/"),
        rest if rest.starts_with('/') => Some(rest),
        _ => None,
    }
}

/// A route's template with the parameters put in, `/{proxy+}` as `/post`; `None` when one has no value.
pub(super) fn filled_in(
    template: &str,
    parameters: &HashMap<String, Option<String>>,
) -> Option<String> {
    let segments = template.split('/').map(|segment| {
        let name = segment
            .strip_prefix('{')
            .and_then(|name| name.strip_suffix('}'));
        match name {
            None => Some(segment),
            Some(name) => {
                let name = name.strip_suffix('+').unwrap_or(name);
                parameters.get(name)?.as_deref()
            }
        }
    });
    let filled = segments.collect::<Option<Vec<_>>>()?.join("/");
    // `/` alone would match the end of any path.
    (filled.len() > 1).then_some(filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_stand_in_a_uri_is_escaped() {
        assert_eq!(encoded("/a b/%20/ü", Part::Path), "/a%20b/%20/%C3%BC");
        assert_eq!(encoded("a=1&b=%20", Part::RawQuery), "a=1&b=%20");
        assert_eq!(encoded("a&b=%", Part::QueryValue), "a%26b%3D%25");
    }

    #[test]
    fn a_prefix_ends_with_a_segment() {
        assert_eq!(without("/prod/post", "/prod"), Some("/post"));
        assert_eq!(without("/prod", "/prod"), Some("/"));
        assert_eq!(without("/production", "/prod"), None);
    }

    #[test]
    fn a_template_is_filled_in() {
        let parameters = HashMap::from([("proxy".to_owned(), Some("a/b".to_owned()))]);
        assert_eq!(
            filled_in("/x/{proxy+}", &parameters).as_deref(),
            Some("/x/a/b")
        );
        assert_eq!(filled_in("/{id}", &parameters), None);
        assert_eq!(filled_in("/", &parameters), None);
    }
}
