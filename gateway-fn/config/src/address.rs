//! The address of an Executor: a URI whose scheme is the transport. Parses text into an [`Address`] and formats it.

use std::{fmt, net::Ipv6Addr, str::FromStr};

use super::diagnostic::suggestion;

/// The address of one replica of an Executor. Displayed as its URI.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// `grpc://host:port`, or `grpcs://host:port` with TLS.
    Grpc {
        /// A name or an IP address; an IPv6 address without its brackets.
        host: String,
        /// The TCP port.
        port: u16,
        /// Whether the connection is encrypted.
        tls: bool,
    },
    /// `inproc://name`: an Executor compiled into the Gateway.
    InProcess {
        /// The name it is registered under.
        name: String,
    },
    /// `lambda://function`: a Lambda function that is invoked directly.
    Lambda {
        /// A function's name with an optional `:qualifier`, or its ARN.
        function: String,
    },
}

/// An invalid address. It does not quote the text, which may be the value of a variable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid address: expected {expected}")]
pub struct AddressError {
    /// What a valid address has.
    pub expected: String,
}

impl Address {
    /// The name of the built-in Executor that returns its request unchanged, as Jina's `BaseExecutor` does.
    pub const PASS_THROUGH: &str = "pass_through";

    /// The address of the built-in Executor that returns its request unchanged.
    #[must_use]
    pub fn pass_through() -> Self {
        Self::InProcess {
            name: Self::PASS_THROUGH.to_owned(),
        }
    }

    /// Returns `host:port` of an address that has one, in the form of URIs and of Jina's error texts.
    #[must_use]
    pub fn authority(&self) -> Option<String> {
        match self {
            Self::Grpc { host, port, .. } if host.contains(':') => Some(format!("[{host}]:{port}")),
            Self::Grpc { host, port, .. } => Some(format!("{host}:{port}")),
            Self::InProcess { .. } | Self::Lambda { .. } => None,
        }
    }

    /// Parses an address. The keys `port` and `tls` complete a text without a port or scheme.
    ///
    /// # Errors
    /// If the text is not a valid address.
    pub fn parse(text: &str, port: Option<u16>, tls: bool) -> Result<Self, AddressError> {
        if text.starts_with("arn:") {
            return parse_lambda(text);
        }
        let Some((scheme, rest)) = text.split_once("://") else {
            return parse_grpc(text, port, tls, None);
        };
        match scheme {
            "grpc" => parse_grpc(rest, port, false, None),
            "grpcs" => parse_grpc(rest, port, true, Some(443)),
            "http" | "ws" => parse_grpc(rest, port, false, Some(80)),
            "https" | "wss" => parse_grpc(rest, port, true, Some(443)),
            "inproc" => parse_in_process(rest),
            "lambda" => parse_lambda(rest),
            _ => invalid(format!(
                "one of the schemes {}{}",
                SCHEMES.join(", "),
                suggestion(scheme, SCHEMES)
            )),
        }
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        Self::parse(text, None, false)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Grpc { tls, .. } => {
                let scheme = if *tls { "grpcs" } else { "grpc" };
                write!(f, "{scheme}://{}", self.authority().unwrap_or_default())
            }
            Self::InProcess { name } => write!(f, "inproc://{name}"),
            Self::Lambda { function } => write!(f, "lambda://{function}"),
        }
    }
}

fn parse_grpc(
    text: &str,
    port: Option<u16>,
    tls: bool,
    default_port: Option<u16>,
) -> Result<Address, AddressError> {
    let (host, own_port) = split_host_port(text.strip_suffix('/').unwrap_or(text));
    let host = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host);
    let is_name = !host.is_empty()
        && host
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte));
    if !is_name && host.parse::<Ipv6Addr>().is_err() {
        return invalid("a host name or IP address, then `:` and a port, and nothing after it");
    }
    let port = match own_port {
        Some(text) => {
            Some(
                self::port(text)
                    .filter(|port| *port > 0)
                    .ok_or_else(|| AddressError {
                        expected: EXPECTED_PORT.to_owned(),
                    })?,
            )
        }
        None => port.or(default_port),
    };
    match port {
        Some(port) => Ok(Address::Grpc {
            host: host.to_owned(),
            port,
            tls,
        }),
        None => invalid("a port, like `host:port` or in the key `port`"),
    }
}

/// Splits `host:port`; an IPv6 address has a port only after brackets.
fn split_host_port(text: &str) -> (&str, Option<&str>) {
    if text.parse::<Ipv6Addr>().is_ok() || text.ends_with(']') {
        return (text, None);
    }
    text.rsplit_once(':')
        .map_or((text, None), |(host, port)| (host, Some(port)))
}

/// Parses a TCP port.
pub(super) fn port(text: &str) -> Option<u16> {
    text.bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| text.parse().ok())?
}

fn parse_in_process(name: &str) -> Result<Address, AddressError> {
    if !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
    {
        return Ok(Address::InProcess {
            name: name.to_owned(),
        });
    }
    invalid("`inproc://` and the name of a compiled-in Executor (letters, digits, `_`, `-`, `.`)")
}

/// Parses `name`, `name:qualifier`, or a function's ARN with or without a qualifier.
fn parse_lambda(text: &str) -> Result<Address, AddressError> {
    let parts: Vec<&str> = text.split(':').collect();
    let is_valid = match parts.as_slice() {
        [name] => is_function(name),
        [name, qualifier] => is_function(name) && is_qualifier(qualifier),
        [
            "arn",
            partition,
            "lambda",
            region,
            account,
            "function",
            rest @ ..,
        ] => {
            let function = match rest {
                [name] => is_function(name),
                [name, qualifier] => is_function(name) && is_qualifier(qualifier),
                _ => false,
            };
            partition.starts_with("aws") && is_region(region) && is_account(account) && function
        }
        _ => false,
    };
    if is_valid {
        return Ok(Address::Lambda {
            function: text.to_owned(),
        });
    }
    invalid(
        "`lambda://name`, `lambda://name:qualifier` or a function's ARN (arn:aws:lambda:REGION:ACCOUNT:function:NAME)",
    )
}

fn is_function(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}

fn is_qualifier(qualifier: &str) -> bool {
    let is_alias = (1..=128).contains(&qualifier.len())
        && qualifier
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    is_alias || qualifier == "$LATEST"
}

fn is_region(region: &str) -> bool {
    region.contains('-')
        && region
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

fn is_account(account: &str) -> bool {
    account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit())
}

fn invalid<T>(expected: impl Into<String>) -> Result<T, AddressError> {
    Err(AddressError {
        expected: expected.into(),
    })
}

pub(super) const EXPECTED_PORT: &str = "a port from 1 to 65535";

const SCHEMES: [&str; 8] = [
    "grpc", "grpcs", "lambda", "inproc", "http", "https", "ws", "wss",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_parsed_and_formatted() {
        for (text, uri) in [
            ("h:1", "grpc://h:1"),
            ("grpc://h:1", "grpc://h:1"),
            (
                "grpcs://index.example.com:443",
                "grpcs://index.example.com:443",
            ),
            ("grpcs://h", "grpcs://h:443"),
            ("https://h:8443/", "grpcs://h:8443"),
            ("wss://h", "grpcs://h:443"),
            ("ws://h:1", "grpc://h:1"),
            ("http://h", "grpc://h:80"),
            ("enc_rep-0:8081", "grpc://enc_rep-0:8081"),
            ("[::1]:9001", "grpc://[::1]:9001"),
            ("inproc://greet", "inproc://greet"),
            ("lambda://clip-encoder:live", "lambda://clip-encoder:live"),
            ("lambda://f:$LATEST", "lambda://f:$LATEST"),
            (
                "arn:aws:lambda:eu-west-1:123456789012:function:f:1",
                "lambda://arn:aws:lambda:eu-west-1:123456789012:function:f:1",
            ),
        ] {
            assert_eq!(
                text.parse::<Address>()
                    .map(|address| address.to_string())
                    .as_deref(),
                Ok(uri),
                "{text}"
            );
        }
    }

    #[test]
    fn port_and_tls_complete_a_host() {
        let parsed =
            |text: &str| Address::parse(text, Some(5), true).map(|address| address.to_string());
        assert_eq!(parsed("h").as_deref(), Ok("grpcs://h:5"));
        assert_eq!(parsed("::1").as_deref(), Ok("grpcs://[::1]:5"));
        assert_eq!(parsed("h:6").as_deref(), Ok("grpcs://h:6"));
        assert_eq!(parsed("grpc://h").as_deref(), Ok("grpc://h:5"));
    }

    #[test]
    fn invalid_addresses_are_rejected() {
        for text in [
            "",
            "h",
            "h:",
            "h:0",
            "h:+1",
            "h:65536",
            "h:1/path",
            "$HOST:1",
            "a b:1",
            "grp://h:1",
            "grpc://",
            ":1",
            "[::1:1",
            "inproc://",
            "inproc://a b",
            "lambda://",
            "lambda://a b",
            "lambda://f:",
            "arn:aws:s3:::bucket",
            "arn:aws:lambda:eu-west-1:1:function:f",
            "user@h:1",
        ] {
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
        let expected = "grp://h:1"
            .parse::<Address>()
            .map_err(|error| error.expected);
        assert!(expected.is_err_and(|expected| expected.contains("did you mean `grpc`?")));
    }
}
