//! Matches request paths against route paths with parameters, as FastAPI (Starlette 0.22) does.

use std::{borrow::Cow, collections::BTreeSet};

use percent_encoding::percent_decode_str;

/// The path of a route, with parameters such as `{name}` or `{name:kind}`. Data routes ignore the values.
#[derive(Debug)]
pub(super) struct PathTemplate {
    template: String,
    /// The parts of the path; empty when it has no parameters.
    parts: Vec<Part>,
}

#[derive(Debug)]
enum Part {
    Literal(String),
    Parameter(Kind),
}

/// What a parameter matches.
#[derive(Clone, Copy, Debug)]
enum Kind {
    /// One or more characters except `/`.
    Str,
    /// Zero or more characters except line breaks.
    Path,
    /// Digits.
    Int,
    /// Digits, with or without a fraction.
    Float,
    /// Lower-case hexadecimal digits in the groups of a UUID.
    Uuid,
}

impl PathTemplate {
    /// Parses a path. One that FastAPI would reject matches literally.
    pub(super) fn new(path: &str) -> Self {
        let (parts, template) = parse(path).unzip();
        Self {
            template: template.unwrap_or_else(|| path.to_owned()),
            parts: parts.unwrap_or_default(),
        }
    }

    /// Whether the template matches the whole of a request's decoded path.
    pub(super) fn matches(&self, path: &str) -> bool {
        if self.parts.is_empty() {
            return self.template == path;
        }
        // Every position that the parts so far can end at: linear in the path, whatever the template.
        let start = BTreeSet::from([0]);
        let ends = self
            .parts
            .iter()
            .fold(start, |starts, part| part.ends(path, &starts));
        ends.contains(&path.len())
    }

    /// Returns the path as OpenAPI writes it: parameters without their kind.
    pub(super) fn template(&self) -> &str {
        &self.template
    }
}

/// Splits a path with parameters into its parts and the template without kinds. Returns `None` for a path without
/// parameters and for one that FastAPI would reject.
fn parse(path: &str) -> Option<(Vec<Part>, String)> {
    let (mut rest, mut parts, mut template) = (path, Vec::new(), String::new());
    while let Some((literal, after)) = rest.split_once('{') {
        let (parameter, tail) = after.split_once('}')?;
        let (name, kind) = parameter.split_once(':').unwrap_or((parameter, "str"));
        parts.push(Part::Literal(literal.to_owned()));
        parts.push(Part::Parameter(Kind::from_name(kind)?));
        template += &format!("{literal}{{{name}}}");
        rest = tail;
    }
    if parts.is_empty() {
        return None;
    }
    parts.push(Part::Literal(rest.to_owned()));
    Some((parts, template + rest))
}

impl Kind {
    fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "str" => Self::Str,
            "path" => Self::Path,
            "int" => Self::Int,
            "float" => Self::Float,
            "uuid" => Self::Uuid,
            _ => return None,
        })
    }
}

impl Part {
    /// Returns every position at which this part can end when it starts at one of `starts`.
    fn ends(&self, path: &str, starts: &BTreeSet<usize>) -> BTreeSet<usize> {
        match self {
            Self::Literal(literal) => literal_ends(path, starts, literal),
            Self::Parameter(Kind::Str) => run_ends(path, starts, |letter| letter != '/'),
            Self::Parameter(Kind::Path) => {
                &run_ends(path, starts, |letter| letter != '\n') | starts
            }
            Self::Parameter(Kind::Int) => digit_ends(path, starts),
            Self::Parameter(Kind::Float) => {
                let whole = digit_ends(path, starts);
                let fraction = digit_ends(path, &literal_ends(path, &whole, "."));
                &whole | &fraction
            }
            Self::Parameter(Kind::Uuid) => starts
                .iter()
                .map(|start| (start, start + UUID_FORM.len()))
                .filter(|(start, end)| path.get(**start..*end).is_some_and(is_uuid))
                .map(|(_, end)| end)
                .collect(),
        }
    }
}

fn literal_ends(path: &str, starts: &BTreeSet<usize>, literal: &str) -> BTreeSet<usize> {
    starts
        .iter()
        .filter(|start| path[**start..].starts_with(literal))
        .map(|start| start + literal.len())
        .collect()
}

fn digit_ends(path: &str, starts: &BTreeSet<usize>) -> BTreeSet<usize> {
    run_ends(path, starts, |letter| letter.is_ascii_digit())
}

/// Returns the ends of all runs of one or more matching characters that begin at one of `starts`.
fn run_ends(
    path: &str,
    starts: &BTreeSet<usize>,
    is_match: impl Fn(char) -> bool,
) -> BTreeSet<usize> {
    let mut is_inside = false;
    let ends = path.char_indices().filter_map(|(at, letter)| {
        is_inside = (is_inside || starts.contains(&at)) && is_match(letter);
        is_inside.then(|| at + letter.len_utf8())
    });
    ends.collect()
}

/// The form of a UUID; `x` is a hexadecimal digit.
const UUID_FORM: &str = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";

fn is_uuid(text: &str) -> bool {
    text.bytes()
        .zip(UUID_FORM.bytes())
        .all(|(byte, form)| match form {
            b'-' => byte == b'-',
            _ => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
        })
}

/// Decodes `%XX` in a request's path. Invalid sequences stay unchanged, and bytes that are not UTF-8 are replaced.
pub(crate) fn decode(path: &str) -> Cow<'_, str> {
    percent_decode_str(path).decode_utf8_lossy()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_path_matches_itself_only() {
        let path = PathTemplate::new("/index");
        assert!(path.matches("/index"));
        assert!(!path.matches("/Index") && !path.matches("/index/") && !path.matches("/index.x"));
    }

    #[test]
    fn parameters_match_what_they_match_in_fastapi() {
        let path = PathTemplate::new("/with/{name:path}/{other}.json");
        assert_eq!(path.template(), "/with/{name}/{other}.json");
        assert!(path.matches("/with/a/b/c.json") && path.matches("/with//c.json"));
        assert!(!path.matches("/with/a.json") && !path.matches("/with/a/b/cxjson"));
        let uuid = "0123abcd-0123-abcd-0123-0123456789ab";
        for (template, path, expected) in [
            ("/{n:int}", "/12", true),
            ("/{n:int}", "/1x", false),
            ("/{n:int}", "/", false),
            ("/{n:float}", "/1", true),
            ("/{n:float}", "/1.25", true),
            ("/{n:float}", "/1.", false),
            ("/{n:float}.{m}", "/1.2.x", true),
            ("/{n:uuid}", &format!("/{uuid}"), true),
            ("/{n:uuid}/x", &format!("/{uuid}/x"), true),
            ("/{n:uuid}", &format!("/{}", uuid.to_uppercase()), false),
            ("/{n:uuid}", "/0123abcd", false),
            ("/{n}", "/ü", true),
            ("/{n}", "/a/b", false),
            ("/{n}{m}", "/ab", true),
            ("/{n}{m}", "/a", false),
            ("/{n:path}", "/", true),
            ("/{n:path}", "/a\nb", false),
        ] {
            let matches = PathTemplate::new(template).matches(path);
            assert_eq!(matches, expected, "{template} {path}");
        }
    }

    #[test]
    fn a_path_that_fastapi_rejects_is_literal() {
        for path in ["/{n:what}", "/{open", "/a{"] {
            assert!(PathTemplate::new(path).matches(path), "{path}");
            assert_eq!(PathTemplate::new(path).template(), path);
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
