//! The key `auth` -> who may call. Its values may be secrets, so errors name places and kinds, never values.

mod open;

use std::{fmt, path::PathBuf, time::Duration};

use http::{HeaderName, Uri};
use ring::digest;

pub use open::OpenRoutes;

use super::{MAX_MILLISECONDS, Protocol};
use crate::{
    diagnostic::{Place, Report},
    node::{Node, Value},
    section::{Commas, Entry, Section, has_user, read_strictly},
};

/// How callers are authenticated. By default they are not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthConfig {
    /// The header with the API key; `x-api-key` by default. `authorization: Bearer` is accepted for API keys too.
    pub api_key_header: HeaderName,
    /// The API keys that are accepted.
    pub api_keys: Vec<ApiKeyConfig>,
    /// The JSON Web Tokens that are accepted.
    pub jwt: Option<JwtConfig>,
    /// The protocols that require authentication; all by default. A WebSocket API of API Gateway authenticates in its
    /// route `$connect`, which must have the function as its integration.
    pub protocols: Vec<Protocol>,
    /// The routes that need no authentication, in addition to the health checks of HTTP and gRPC.
    pub open: OpenRoutes,
}

/// One API key, or a file with several, under a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKeyConfig {
    /// The name in logs.
    pub name: String,
    /// Where the key is.
    pub source: ApiKeySource,
}

/// Where an API key is.
#[derive(Clone, PartialEq, Eq)]
pub enum ApiKeySource {
    /// The SHA-256 of the key; the key itself is not stored.
    Sha256([u8; 32]),
    /// A file with one key per line.
    File(PathBuf),
}

/// Which JSON Web Tokens are accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JwtConfig {
    /// The required value of the claim `iss`.
    pub issuer: String,
    /// The claim `aud` has to contain one of these; empty, written `any`, accepts every audience.
    pub audience: Vec<String>,
    /// Where the issuer's public keys are.
    pub jwks: JwksSource,
    /// How far the issuer's clock may be off. A minute by default, at most ten.
    pub leeway: Duration,
    /// How long the issuer's keys are used before they are fetched again. Ten minutes by default, from a minute to a day.
    pub cache: Duration,
    /// How much longer the keys are used while they cannot be fetched. An hour by default, at most a day.
    pub stale: Duration,
    /// The scopes that the claim `scope` (or `scp`) has to contain, all of them.
    pub scopes: Vec<String>,
}

/// Where a JSON Web Key Set is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JwksSource {
    /// A local file.
    File(PathBuf),
    /// An `https://` URL, or `http://` for localhost or where the Flow allows it.
    Url(Uri),
}

impl AuthConfig {
    /// Whether authentication is enabled.
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
            protocols: ALL_PROTOCOLS.to_vec(),
            open: OpenRoutes::default(),
        }
    }
}

impl fmt::Debug for ApiKeySource {
    /// Leaves the digest out, because a weak key can be guessed from it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sha256(_) => f.write_str("Sha256(..)"),
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
        }
    }
}

pub(super) fn read(section: &Section<'_>, report: &mut Report) -> AuthConfig {
    // An empty `auth:` is a mistake, and must not silently leave authentication off.
    if section.find(&["auth"]).is_none() {
        if let Some((key, _)) = section
            .find_even_null("auth")
            .filter(|(_, node)| node.is_null())
        {
            let place = section.place().key(&key.text, key.line);
            report.error(&place, "nothing", NO_CREDENTIALS);
        }
        return AuthConfig::default();
    }
    section
        .subsection("auth", report, |section, report| {
            let before = report.error_count();
            let config = AuthConfig {
                api_key_header: header(section, report),
                api_keys: api_keys(section, report),
                jwt: section.subsection("jwt", report, jwt).flatten(),
                open: section
                    .subsection("open", report, open::read)
                    .unwrap_or_default(),
                protocols: protocols(section, report),
            };
            if !config.is_enabled() && report.error_count() == before {
                report.error(&section.place(), "no credentials", NO_CREDENTIALS);
            }
            config
        })
        .unwrap_or_default()
}

fn header(section: &Section<'_>, report: &mut Report) -> HeaderName {
    let default = AuthConfig::default().api_key_header;
    let Some(entry) = section.find(&["api_key_header"]) else {
        return default;
    };
    let name = entry.node.text().and_then(|text| text.parse().ok());
    name.filter(|name: &HeaderName| !NOT_FOR_API_KEYS.contains(&name.as_str()))
        .or_else(|| {
            let expected = "a header name other than authorization, cookie and host (`authorization: Bearer` is \
                            accepted anyway)";
            entry.invalid(expected, report)
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
            let expected = format!("a list of 1 to {MAX_API_KEYS} maps, each with {API_KEY_FORM}");
            report.error(&entry.place, entry.node.kind(), expected);
            return Vec::new();
        }
    };
    let mut keys: Vec<ApiKeyConfig> = Vec::with_capacity(items.len());
    for (index, item) in items.iter().enumerate() {
        let place = entry.place.item(index, item.line);
        let Some(key) = api_key(&place, item, report) else {
            continue;
        };
        if keys.iter().any(|other| other.name == key.name) {
            report.error(
                &place,
                "a name that another key has",
                "a different name for each key",
            );
        }
        keys.push(key);
    }
    keys
}

fn api_key(place: &Place, item: &Node, report: &mut Report) -> Option<ApiKeyConfig> {
    let Value::Map(entries) = &item.value else {
        report.error(place, item.kind(), format!("a map with {API_KEY_FORM}"));
        return None;
    };
    read_strictly(place.clone(), entries, report, |section, report| {
        let is_name = |name: &String| {
            let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
            (1..=64).contains(&name.len()) && name.bytes().all(is_plain)
        };
        let name = section.find(&["name"]).and_then(|entry| entry.node.text());
        let sources: Vec<_> = ["key", "sha256", "file"]
            .into_iter()
            .filter_map(|kind| Some((kind, section.find(&[kind])?)))
            .collect();
        let Some(name) = name.filter(is_name) else {
            let expected = "a `name` for logs, of up to 64 letters, digits, `-`, `_` and `.`";
            report.error(place, "no valid name", expected);
            return None;
        };
        let [(kind, entry)] = sources.as_slice() else {
            let expected = "one of key, sha256 and file";
            report.error(place, format!("{} of them", sources.len()), expected);
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
    })
}

/// Returns the digest of a key. A key that YAML reads as a number would no longer be what was written.
fn key(entry: &Entry<'_>, report: &mut Report) -> Option<[u8; 32]> {
    let expected = match (&entry.node.value, entry.node.text()) {
        (Value::Text(_), Some(text)) if text.contains('$') => {
            "a key without `$`, which starts a variable (or the variable to be set)".to_owned()
        }
        (Value::Text(_), Some(text)) if text.len() < MIN_API_KEY_BYTES => {
            format!("a key of at least {MIN_API_KEY_BYTES} bytes: a shorter one can be guessed")
        }
        (Value::Text(_), Some(text)) if !is_visible_ascii(&text) => {
            "a key of visible ASCII characters: headers allow no others".to_owned()
        }
        (Value::Text(_), Some(text)) => return Some(sha256_digest(text.as_bytes())),
        _ => "a key as a string, in quotes".to_owned(),
    };
    report.error(&entry.place, entry.node.kind(), expected);
    None
}

fn sha256(entry: &Entry<'_>, report: &mut Report) -> Option<[u8; 32]> {
    let digest = entry.node.text().as_deref().and_then(parse_hex);
    if digest.is_none() {
        let expected = "the SHA-256 of a key, 64 hexadecimal digits";
        report.error(&entry.place, entry.node.kind(), expected);
    }
    digest
}

fn parse_hex(text: &str) -> Option<[u8; 32]> {
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
    let issuer = required_text(section, "issuer", report);
    let jwks_text = required_text(section, "jwks", report);
    let allow_http = section.flag(&["allow_http"], report);
    let jwks = jwks_text.and_then(|text| jwks_source(section, &text, allow_http, report));
    let audience = audience(section, report);
    let scopes = scopes(section, report);
    let mut time = |name, range, default| {
        let time = section.milliseconds(name, range, report);
        time.unwrap_or(default)
    };
    let [leeway, cache, stale] = [
        time("leeway", 0..=10 * MINUTE, Duration::from_mins(1)),
        time("cache", MINUTE..=MAX_MILLISECONDS, Duration::from_mins(10)),
        time("stale", 0..=MAX_MILLISECONDS, Duration::from_hours(1)),
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

fn required_text(section: &Section<'_>, name: &'static str, report: &mut Report) -> Option<String> {
    let Some(entry) = section.find(&[name]) else {
        let found = format!("no {name}");
        report.error(&section.place(), found, format!("the key `{name}`"));
        return None;
    };
    let variables = entry.node.variables.as_ref();
    if variables.is_some_and(|variables| !variables.unset.is_empty()) {
        return entry.invalid("a string", report);
    }
    section.text(&[name], report)
}

fn audience(section: &Section<'_>, report: &mut Report) -> Vec<String> {
    let entry = section.find(&["audience"]);
    if entry.is_some_and(|entry| entry.node.text().as_deref() == Some("any")) {
        return Vec::new();
    }
    let audience = texts(section, "audience", report);
    if audience.is_empty() {
        let expected = "`audience: [NAME]`, which a token's `aud` must contain, or `audience: any` (which accepts the \
                        issuer's tokens for other services too)";
        report.error(&section.place(), "no audience", expected);
    }
    audience
}

/// Reads scopes with the characters of RFC 6749, section 3.3: a response to a client that lacks a scope quotes it in a
/// header.
fn scopes(section: &Section<'_>, report: &mut Report) -> Vec<String> {
    let items = section.items(&["scopes"], Commas::Keep, report);
    let mut scopes = Vec::with_capacity(items.len());
    for item in items {
        if !is_visible_ascii(&item.text) || item.text.contains(['"', '\\']) {
            let expected =
                "a scope of visible ASCII characters, without spaces, quotes and backslashes";
            item.entry.invalid::<()>(expected, report);
        }
        scopes.push(item.text);
    }
    scopes
}

fn texts(section: &Section<'_>, name: &'static str, report: &mut Report) -> Vec<String> {
    let items = section.items(&[name], Commas::Keep, report);
    items.into_iter().map(|item| item.text).collect()
}

/// Reads a URL or a path. A host that answers in place of the issuer decides who may call, so plain HTTP is allowed
/// only for localhost, unless the Flow allows more.
fn jwks_source(
    section: &Section<'_>,
    jwks: &str,
    allow_http: bool,
    report: &mut Report,
) -> Option<JwksSource> {
    let entry = section.find(&["jwks"])?;
    if !jwks.contains("://") {
        return Some(JwksSource::File(jwks.into()));
    }
    let expected = "an https:// URL without user and password, or the path of a file (http:// only for localhost, or with \
                    `allow_http: true`)";
    let url: Option<Uri> = jwks.parse().ok();
    let is_allowed = |url: &Uri| {
        let host = url.host().unwrap_or_default();
        let is_local = ["localhost", "127.0.0.1", "[::1]"].contains(&host);
        match url.scheme_str() {
            Some("https") => !has_user(jwks),
            Some("http") => !has_user(jwks) && (is_local || allow_http),
            _ => false,
        }
    };
    // Neither a user and password nor the value of a variable may be shown.
    let found = match (&url, &entry.node.variables) {
        (Some(url), None) => format!(
            "a URL that is not allowed here ({}://{})",
            url.scheme_str().unwrap_or_default(),
            url.host().unwrap_or_default()
        ),
        _ => "a URL that is not allowed here".to_owned(),
    };
    let source = url.filter(is_allowed).map(JwksSource::Url);
    if source.is_none() {
        report.error(&entry.place, found, expected);
    }
    source
}

fn protocols(section: &Section<'_>, report: &mut Report) -> Vec<Protocol> {
    let Some(entry) = section.find(&["protocols"]) else {
        return ALL_PROTOCOLS.to_vec();
    };
    let items = section.items(&["protocols"], Commas::Split, report);
    let protocols: Option<Vec<_>> = items
        .iter()
        .map(|item| Protocol::from_name(&item.text))
        .collect();
    protocols
        .filter(|protocols| !protocols.is_empty())
        .or_else(|| entry.invalid("one or more of grpc, http, websocket", report))
        .unwrap_or_default()
}

/// Returns the SHA-256 of an API key.
pub fn sha256_digest(key: &[u8]) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest::digest(&digest::SHA256, key).as_ref());
    bytes
}

/// Whether a text consists of visible ASCII characters, so that a header can carry it unchanged.
pub fn is_visible_ascii(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// The least length of an API key: even if only half of the bytes are random, there are too many to guess.
pub const MIN_API_KEY_BYTES: usize = 16;

/// The most API keys, because each is compared with every request's.
pub const MAX_API_KEYS: usize = 1000;

/// Milliseconds.
const MINUTE: i64 = 60_000;

const ALL_PROTOCOLS: [Protocol; 3] = [Protocol::Grpc, Protocol::Http, Protocol::WebSocket];

const NO_CREDENTIALS: &str = "api_keys, jwt or both (or no `auth` at all)";

const API_KEY_FORM: &str = "a name and one of key, sha256 and file";

const NOT_FOR_API_KEYS: [&str; 3] = ["authorization", "cookie", "host"];
