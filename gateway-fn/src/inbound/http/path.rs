//! A route's path as FastAPI reads it -> does a request's path match? `{name}` and `{name:kind}` stand for
//! what they stand for there, which the data routes then ignore.

use std::borrow::Cow;

use fancy_regex::Regex;
use percent_encoding::percent_decode_str;

/// The path of a route.
#[derive(Debug)]
pub(super) struct Path {
    template: String,
    parameters: Option<Regex>,
}

impl Path {
    pub(super) fn new(path: &str) -> Self {
        let (parameters, template) = compile(path).unzip();
        Self {
            template: template.unwrap_or_else(|| path.to_owned()),
            parameters,
        }
    }

    /// Whether a request's decoded path is this one.
    pub(super) fn matches(&self, path: &str) -> bool {
        match &self.parameters {
            None => self.template == path,
            Some(regex) => regex.is_match(path).unwrap_or(false),
        }
    }

    /// The path as OpenAPI writes it: parameters without their kind.
    pub(super) fn template(&self) -> &str {
        &self.template
    }
}

/// The regex and the template of a path with parameters; `None` for a path without, and for one that
/// FastAPI would refuse, which then matches literally.
fn compile(path: &str) -> Option<(Regex, String)> {
    let (mut rest, mut regex, mut template) = (path, r"\A".to_owned(), String::new());
    while let Some((literal, after)) = rest.split_once('{') {
        let (parameter, tail) = after.split_once('}')?;
        let (name, kind) = parameter.split_once(':').unwrap_or((parameter, "str"));
        regex += &fancy_regex::escape(literal);
        regex += class(kind)?;
        template += &format!("{literal}{{{name}}}");
        rest = tail;
    }
    if template.is_empty() {
        return None;
    }
    let regex = regex + &fancy_regex::escape(rest) + r"\z";
    Some((Regex::new(&regex).ok()?, template + rest))
}

/// What a parameter of a kind matches (Starlette 0.22).
fn class(kind: &str) -> Option<&'static str> {
    Some(match kind {
        "str" => "[^/]+",
        "path" => ".*",
        "int" => "[0-9]+",
        "float" => r"[0-9]+(?:\.[0-9]+)?",
        "uuid" => "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
        _ => return None,
    })
}

/// A request's path with its `%XX` decoded; sequences that are none stay, and what is no UTF-8 is replaced.
pub(crate) fn decode(path: &str) -> Cow<'_, str> {
    percent_decode_str(path).decode_utf8_lossy()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_path_matches_itself_only() {
        let path = Path::new("/index");
        assert!(path.matches("/index"));
        assert!(!path.matches("/Index") && !path.matches("/index/") && !path.matches("/index.x"));
    }

    #[test]
    fn parameters_match_what_they_match_in_fastapi() {
        let path = Path::new("/with/{name:path}/{other}.json");
        assert_eq!(path.template(), "/with/{name}/{other}.json");
        assert!(path.matches("/with/a/b/c.json") && path.matches("/with//c.json"));
        assert!(!path.matches("/with/a.json") && !path.matches("/with/a/b/cxjson"));
        assert!(Path::new("/{n:int}").matches("/12") && !Path::new("/{n:int}").matches("/1x"));
    }

    #[test]
    fn a_path_that_fastapi_refuses_is_literal() {
        for path in ["/{n:what}", "/{open", "/a{"] {
            assert!(Path::new(path).matches(path), "{path}");
            assert_eq!(Path::new(path).template(), path);
        }
    }

    #[test]
    fn percent_signs_decode_where_they_can() {
        for (path, decoded) in [
            ("/in%64ex", "/index"),
            ("/%C3%bc", "/ü"),
            ("/%", "/%"),
            ("/%4", "/%4"),
            ("/%zz%41", "/%zzA"),
            ("/%+1", "/%+1"),
            ("/%ff", "/\u{fffd}"),
        ] {
            assert_eq!(decode(path), decoded, "{path}");
        }
    }
}
