//! Percent-encodes the pieces of a path and query that front doors have decoded, and separates prefixes from paths.

use std::{collections::HashMap, fmt::Write as _};

/// The part of a URI that a text belongs to, which decides what is percent-encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// A path; escapes in it stay unchanged.
    Path,
    /// A query or a piece of one; escapes in it stay unchanged.
    RawQuery,
    /// A decoded name or value of a query.
    QueryValue,
}

/// Percent-encodes the bytes that this part of a URI does not allow.
pub(super) fn encode(text: &str, part: Part) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if is_allowed(byte, part) {
            encoded.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

fn is_allowed(byte: u8, part: Part) -> bool {
    let allowed: &[u8] = match part {
        Part::Path => b"/%!$&'()*+,;=:@",
        Part::RawQuery => b"/%!$&'()*+,;=:@?[]",
        Part::QueryValue => b"!*():@/?,;",
    };
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || allowed.contains(&byte)
}

/// Removes a prefix that consists of whole segments.
pub(super) fn strip_prefix<'a>(path: &'a str, prefix: &str) -> Option<&'a str> {
    match path.strip_prefix(prefix)? {
        "" => Some("/"),
        rest if rest.starts_with('/') => Some(rest),
        _ => None,
    }
}

/// Puts the parameters into a route's template, which makes `/post` of `/{proxy+}`. Returns `None` when one is missing.
pub(super) fn fill_template(
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
    // `/` would be a suffix of every path that ends with it.
    (filled.len() > 1).then_some(filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_a_uri_does_not_allow_are_escaped() {
        assert_eq!(encode("/a b/%20/ü", Part::Path), "/a%20b/%20/%C3%BC");
        assert_eq!(encode("a=1&b=%20", Part::RawQuery), "a=1&b=%20");
        assert_eq!(encode("a&b=%", Part::QueryValue), "a%26b%3D%25");
    }

    #[test]
    fn a_prefix_ends_with_a_segment() {
        assert_eq!(strip_prefix("/prod/post", "/prod"), Some("/post"));
        assert_eq!(strip_prefix("/prod", "/prod"), Some("/"));
        assert_eq!(strip_prefix("/production", "/prod"), None);
    }

    #[test]
    fn a_template_is_filled_in() {
        let parameters = HashMap::from([("proxy".to_owned(), Some("a/b".to_owned()))]);
        assert_eq!(
            fill_template("/x/{proxy+}", &parameters).as_deref(),
            Some("/x/a/b")
        );
        assert_eq!(fill_template("/{id}", &parameters), None);
        assert_eq!(fill_template("/", &parameters), None);
    }
}
