//! The key `auth` -> who may call. What stands here may be a secret, so that faults name places and kinds, never values.

use std::{fmt, path::PathBuf, time::Duration};

use http::{HeaderName, Uri};
use ring::digest;

use super::Protocol;
use crate::{
    diagnostic::{Place, Report},
    known,
    node::{Key, Node, Value},
    section::{Commas, Entry, Layer, Section},
};

/// Who may call. By default nothing is demanded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthConfig {
    /// The header for keys; `x-api-key` by default. `authorization: Bearer` serves for them too.
    pub api_key_header: HeaderName,
    /// The keys that open.
    pub api_keys: Vec<ApiKeyConfig>,
    /// The tokens that open.
    pub jwt: Option<JwtConfig>,
    /// Where something is demanded; everywhere by default. A WebSocket API of API Gateway asks at its route `$connect`,
    /// which must have the function as its integration.
    pub protocols: Vec<Protocol>,
    /// What needs nothing, beside the health checks of HTTP and gRPC.
    pub open: OpenRoutes,
}

/// One key, or several in a file, under a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKeyConfig {
    /// What stands in logs.
    pub name: String,
    /// Where the key is.
    pub source: ApiKeySource,
}

/// Where a key is.
#[derive(Clone, PartialEq, Eq)]
pub enum ApiKeySource {
    /// Its SHA-256: the key itself is not kept.
    Sha256([u8; 32]),
    /// A file with one key a line.
    File(PathBuf),
}

/// Which JSON Web Tokens open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JwtConfig {
    /// What `iss` must be.
    pub issuer: String,
    /// What `aud` must name one of; empty, written `any`, lets every audience pass.
    pub audience: Vec<String>,
    /// Where the issuer's public keys are.
    pub jwks: JwksSource,
    /// How far the issuer's clock may be off. A minute by default, at most ten.
    pub leeway: Duration,
    /// How long keys serve before they are asked for again. Ten minutes by default, a minute at least, a day at most.
    pub cache: Duration,
    /// How much longer they serve when they cannot be had. An hour by default, at most a day.
    pub stale: Duration,
    /// What `scope` (or `scp`) must hold, all of them.
    pub scopes: Vec<String>,
}

/// Where a JSON Web Key Set is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JwksSource {
    /// A file on this machine.
    File(PathBuf),
    /// `https://`, or `http://` to this machine or where the Flow allows it.
    Url(Uri),
}

/// Paths that need nothing, by protocol. A `/*` at the end opens all below.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpenRoutes {
    /// HTTP paths.
    pub http: Vec<String>,
    /// gRPC methods, `/package.Service/Method`.
    pub grpc: Vec<String>,
    /// WebSocket paths.
    pub websocket: Vec<String>,
}

impl AuthConfig {
    /// Whether anything is demanded.
    #[must_use]
    pub const fn is_enabled(&self) -> bool {
        !self.api_keys.is_empty() || self.jwt.is_some()
    }
}

impl Default for AuthConfig {
    fn default() -> Self {
        Self {
            api_key_header: HeaderName::from_static("x-api-key"),
            api_keys: Vec::new(),
            jwt: None,
            protocols: ALL.to_vec(),
            open: OpenRoutes::default(),
        }
    }
}

impl fmt::Debug for ApiKeySource {
    /// Without the digest: a weak key can be guessed from it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sha256(_) => f.write_str("Sha256(..)"),
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
        }
    }
}

pub(super) fn read(section: &Section<'_>, report: &mut Report) -> AuthConfig {
    let Some((place, entries)) = section.map(&["auth"], report) else {
        // A lock without anything behind its name was meant to be one.
        if let Some((key, _)) = section.raw("auth").filter(|(_, node)| node.is_null()) {
            let place = section.place().key(&key.text, key.line);
            report.error(&place, "nothing", NO_WAY_IN);
        }
        return AuthConfig::default();
    };
    let before = report.count();
    known::check_own(&place, entries, KEYS, report);
    let section = Section::new([Layer::of_file(place.clone(), entries)]);
    let config = AuthConfig {
        api_key_header: header(&section, report),
        api_keys: api_keys(&section, report),
        jwt: jwt(&section, report),
        protocols: protocols(&section, report),
        open: open(&section, report),
    };
    if !config.is_enabled() && report.count() == before {
        report.error(&place, "no way in", NO_WAY_IN);
    }
    config
}

fn header(section: &Section<'_>, report: &mut Report) -> HeaderName {
    let default = AuthConfig::default().api_key_header;
    let Some(entry) = section.find(&["api_key_header"]) else {
        return default;
    };
    let name = entry.node.text().and_then(|text| text.parse().ok());
    name.filter(|name: &HeaderName| !NO_KEY_HEADERS.contains(&name.as_str()))
        .or_else(|| {
            let expected = "a header's name (`authorization: Bearer` serves for keys anyway)";
            entry.wrong(expected, report)
        })
        .unwrap_or(default)
}

fn api_keys(section: &Section<'_>, report: &mut Report) -> Vec<ApiKeyConfig> {
    let Some(entry) = section.find(&["api_keys"]) else {
        return Vec::new();
    };
    let items = match &entry.node.value {
        Value::List(items) if (1..=MAX_API_KEYS).contains(&items.len()) => items,
        _ => {
            let expected = format!("a list of 1 to {MAX_API_KEYS} maps, each of {API_KEY_FORM}");
            report.error(&entry.place, entry.node.kind(), expected);
            return Vec::new();
        }
    };
    let mut keys: Vec<ApiKeyConfig> = Vec::with_capacity(items.len());
    for (index, item) in items.iter().enumerate() {
        let place = entry.place.item(index, item.line);
        let Value::Map(entries) = &item.value else {
            report.error(&place, item.kind(), format!("a map of {API_KEY_FORM}"));
            continue;
        };
        let Some(key) = api_key(&place, entries, report) else {
            continue;
        };
        if keys.iter().any(|other| other.name == key.name) {
            report.error(&place, "a name that another key has", "a name of its own");
        }
        keys.push(key);
    }
    keys
}

fn api_key(place: &Place, entries: &[(Key, Node)], report: &mut Report) -> Option<ApiKeyConfig> {
    known::check_own(place, entries, API_KEY, report);
    let section = Section::new([Layer::of_file(place.clone(), entries)]);
    let is_name = |name: &String| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        (1..=64).contains(&name.len()) && name.bytes().all(plain)
    };
    let name = section.find(&["name"]).and_then(|entry| entry.node.text());
    let Some(name) = name.filter(is_name) else {
        let expected = "name: what stands in logs, up to 64 letters, digits, `-`, `_` and `.`";
        report.error(place, "no name, or one that does not serve", expected);
        return None;
    };
    let given: Vec<_> = ["key", "sha256", "file"]
        .into_iter()
        .filter_map(|kind| Some((kind, section.find(&[kind])?)))
        .collect();
    let [(kind, entry)] = given.as_slice() else {
        let expected = "one of key, sha256 and file";
        report.error(place, format!("{} of them", given.len()), expected);
        return None;
    };
    let source = match *kind {
        "key" => key(entry, report).map(ApiKeySource::Sha256),
        "sha256" => sha256(entry, report).map(ApiKeySource::Sha256),
        _ => section
            .text(&["file"], report)
            .map(|path| ApiKeySource::File(path.into())),
    };
    source.map(|source| ApiKeyConfig { name, source })
}

/// The digest of a key. One that YAML has taken for a number is no longer what was written.
fn key(entry: &Entry<'_>, report: &mut Report) -> Option<[u8; 32]> {
    let expected = match (&entry.node.value, entry.node.text()) {
        (Value::Text(_), Some(text)) if text.contains('$') => {
            "a key without `$`, which stands for a variable (or the variable to be set)"
        }
        (Value::Text(_), Some(text)) if text.len() < MIN_API_KEY_BYTES => {
            "a key of at least 16 bytes: a shorter one can be guessed"
        }
        (Value::Text(_), Some(text)) if !is_visible_ascii(&text) => {
            "a key of visible ASCII characters: a header carries no others"
        }
        (Value::Text(_), Some(text)) => return Some(sha256_digest(text.as_bytes())),
        _ => "a key as text, in quotes",
    };
    report.error(&entry.place, entry.node.kind(), expected);
    None
}

fn sha256(entry: &Entry<'_>, report: &mut Report) -> Option<[u8; 32]> {
    let digest = entry.node.text().as_deref().and_then(hex);
    if digest.is_none() {
        let expected = "the SHA-256 of a key, 64 hexadecimal digits";
        report.error(&entry.place, entry.node.kind(), expected);
    }
    digest
}

fn hex(text: &str) -> Option<[u8; 32]> {
    let mut digest = [0; 32];
    if text.len() != 2 * digest.len() || !text.is_ascii() {
        return None;
    }
    for (index, byte) in digest.iter_mut().enumerate() {
        let digits = &text[2 * index..2 * index + 2];
        if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        *byte = u8::from_str_radix(digits, 16).ok()?;
    }
    Some(digest)
}

fn jwt(section: &Section<'_>, report: &mut Report) -> Option<JwtConfig> {
    let (place, entries) = section.map(&["jwt"], report)?;
    known::check_own(&place, entries, JWT, report);
    let section = Section::new([Layer::of_file(place.clone(), entries)]);
    let text = |name: &str, report: &mut Report| {
        let Some(entry) = section.find(&[name]) else {
            report.error(&place, format!("no {name}"), format!("the key {name}"));
            return None;
        };
        let set = entry.node.variables.as_ref();
        if set.is_some_and(|variables| !variables.missing.is_empty()) {
            return entry.wrong("text", report);
        }
        section.text(&[name], report)
    };
    let issuer = text("issuer", report);
    let jwks = text("jwks", report).and_then(|jwks| source(&section, &jwks, report));
    let words = |name: &str, report: &mut Report| -> Vec<String> {
        let words = section.words(&[name], Commas::Keep, report);
        words.into_iter().map(|word| word.text).collect()
    };
    let any = section
        .find(&["audience"])
        .is_some_and(|entry| entry.node.text().as_deref() == Some("any"));
    let audience = match any {
        true => Vec::new(),
        false => words("audience", report),
    };
    if audience.is_empty() && !any {
        let expected = "audience: what tokens for this Flow name in `aud` (`any` if the issuer's tokens for other \
                        services shall open too)";
        report.error(&place, "no audience", expected);
    }
    let scopes = words("scopes", report);
    // RFC 6749, section 3.3; a refusal quotes them in a header.
    if !scopes
        .iter()
        .all(|scope| is_visible_ascii(scope) && !scope.contains(['"', '\\']))
    {
        let expected = "a list of scopes, each without spaces, quotes and backslashes";
        report.error(&place, "scopes that no token can have", expected);
    }
    let mut time = |name: &str, least: i64, most: i64, default: u64| {
        let expected = format!("milliseconds from {least} to {most}");
        let found = section.whole(&[name], least..=most, &expected, report);
        let found = found.and_then(|number| u64::try_from(number).ok());
        Duration::from_millis(found.unwrap_or(default))
    };
    let [leeway, cache, stale] = [
        time("leeway", 0, 10 * MINUTE, 60_000),
        time("cache", MINUTE, DAY, 600_000),
        time("stale", 0, DAY, 3_600_000),
    ];
    Some(JwtConfig {
        issuer: issuer?,
        audience,
        jwks: jwks?,
        leeway,
        cache,
        stale,
        scopes,
    })
}

/// A URL, or a path. Who answers in the place of an issuer decides who may call, so that plain HTTP stays on this
/// machine unless told otherwise.
fn source(section: &Section<'_>, jwks: &str, report: &mut Report) -> Option<JwksSource> {
    let allow_http = section.flag(&["allow_http"], report);
    let entry = section.find(&["jwks"])?;
    if !jwks.contains("://") {
        return Some(JwksSource::File(jwks.into()));
    }
    let expected = "an https:// URL, or the path of a file (http:// for localhost, or with `allow_http: true`)";
    // In a URL with a user there is a password as well.
    let url: Option<Uri> = jwks.parse().ok();
    let is_fit = |url: &Uri| {
        let host = url.host().unwrap_or_default();
        let local = ["localhost", "127.0.0.1", "[::1]"].contains(&host);
        let plain = url
            .authority()
            .is_some_and(|name| !name.as_str().contains('@'));
        match url.scheme_str() {
            Some("https") => plain,
            Some("http") => plain && (local || allow_http),
            _ => false,
        }
    };
    let url = url.filter(is_fit).map(JwksSource::Url);
    if url.is_none() {
        report.error(&entry.place, "another URL", expected);
    }
    url
}

fn protocols(section: &Section<'_>, report: &mut Report) -> Vec<Protocol> {
    let Some(entry) = section.find(&["protocols"]) else {
        return ALL.to_vec();
    };
    let words = section.words(&["protocols"], Commas::Split, report);
    let named: Option<Vec<_>> = words
        .iter()
        .map(|word| Protocol::from_name(&word.text))
        .collect();
    named
        .filter(|protocols| !protocols.is_empty())
        .or_else(|| entry.wrong("a list of grpc, http and websocket", report))
        .unwrap_or_default()
}

fn open(section: &Section<'_>, report: &mut Report) -> OpenRoutes {
    let Some((place, entries)) = section.map(&["open"], report) else {
        return OpenRoutes::default();
    };
    known::check_own(&place, entries, OPEN, report);
    let section = Section::new([Layer::of_file(place, entries)]);
    let mut routes = |name: &str| {
        let words = section.words(&[name], Commas::Keep, report);
        let mut routes = Vec::with_capacity(words.len());
        for word in words {
            let stars = word.text.trim_end_matches("/*").contains('*');
            if !word.text.starts_with('/') || stars || word.text.ends_with("/*/*") {
                let expected = "a path that starts with `/`, with `/*` at its end for all below";
                word.entry.wrong::<()>(expected, report);
            }
            routes.push(word.text);
        }
        routes
    };
    OpenRoutes {
        http: routes("http"),
        grpc: routes("grpc"),
        websocket: routes("websocket"),
    }
}

/// A key's SHA-256.
pub fn sha256_digest(key: &[u8]) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest::digest(&digest::SHA256, key).as_ref());
    bytes
}

/// Whether a header can carry a text as it is.
pub fn is_visible_ascii(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Bytes; half of them random would still be too many guesses.
pub const MIN_API_KEY_BYTES: usize = 16;

/// Each is compared at every request.
pub const MAX_API_KEYS: usize = 1000;

/// Milliseconds.
const MINUTE: i64 = 60_000;

const DAY: i64 = 1440 * MINUTE;

const ALL: [Protocol; 3] = [Protocol::Grpc, Protocol::Http, Protocol::WebSocket];

const NO_WAY_IN: &str = "api_keys, jwt or both (or no `auth` at all)";

const API_KEY_FORM: &str = "name and one of key, sha256 and file";

const NO_KEY_HEADERS: [&str; 3] = ["authorization", "cookie", "host"];

const KEYS: &[&str] = &["api_key_header", "api_keys", "jwt", "open", "protocols"];

const API_KEY: &[&str] = &["name", "key", "sha256", "file"];

const JWT: &[&str] = &[
    "issuer",
    "audience",
    "jwks",
    "allow_http",
    "leeway",
    "cache",
    "stale",
    "scopes",
];

const OPEN: &[&str] = &["grpc", "http", "websocket"];
