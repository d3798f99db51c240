//! What a handler's failure looks like to the caller: a class name and arguments, as Python's
//! exceptions have them, written into the request's status (Jina 3.13, recording
//! `grpc/23-executor_direct_error`).

use std::{any::Any, error::Error as StdError, fmt, sync::Arc};

use flowgate_proto::{
    jina::{
        HeaderProto,
        status_proto::{ExceptionProto, StatusCode},
    },
    python,
};
use tokio::task::JoinError;

/// An Executor's error. Any `std` error becomes one by `?`: its type is the name, its text the
/// argument; what caused it goes to the log only.
///
/// ```
/// let error = executor_fn::Error::new("ValueError", "boom").arg(42);
/// assert_eq!(error.to_string(), "ValueError('boom', 42)");
/// ```
#[derive(Clone)]
pub struct Error {
    name: String,
    args: Vec<Arg>,
    source: Option<Arc<dyn StdError + Send + Sync>>,
    is_panic: bool,
}

/// One argument of an [`Error`].
#[derive(Clone, Debug, PartialEq)]
pub enum Arg {
    /// Quoted in the description, bare in the list of arguments.
    Text(String),
    /// A whole number.
    Integer(i64),
    /// Any other number.
    Float(f64),
}

impl Error {
    /// An error of the class `name`, `ValueError` for example, with its first argument.
    pub fn new(name: impl Into<String>, arg: impl Into<Arg>) -> Self {
        Self {
            name: name.into(),
            args: vec![arg.into()],
            source: None,
            is_panic: false,
        }
    }

    /// A `ValueError`: the request asks for something that cannot be.
    pub fn value(message: impl Into<String>) -> Self {
        Self::new("ValueError", message.into())
    }

    /// One more argument.
    #[must_use]
    pub fn arg(mut self, arg: impl Into<Arg>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// The class name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What a handler's panic becomes.
    pub(crate) fn panicked(payload: &(dyn Any + Send)) -> Self {
        let text = payload
            .downcast_ref::<&str>()
            .copied()
            .or_else(|| payload.downcast_ref::<String>().map(String::as_str));
        Self {
            is_panic: true,
            ..Self::new("Panic", text.unwrap_or("a panic without a message"))
        }
    }

    /// Whether the handler, or a task that it waited for, panicked.
    pub(crate) const fn is_panic(&self) -> bool {
        self.is_panic
    }

    /// Puts the error into `header.status`. As in Jina, arguments and stacks are added to those of
    /// a status that the request came with.
    pub(crate) fn write(&self, header: &mut HeaderProto, executor: &str) {
        let endpoint = header.exec_endpoint.clone().unwrap_or_default();
        let status = header.status.get_or_insert_default();
        status.code = StatusCode::Error.into();
        status.description = self.to_string();
        let exception: &mut ExceptionProto = status.exception.get_or_insert_default();
        exception.name.clone_from(&self.name);
        exception.args.extend(self.args.iter().map(Arg::to_string));
        exception.stacks.extend([
            format!("in Executor {executor}, endpoint {endpoint:?}\n"),
            format!("{self}\n"),
        ]);
        executor.clone_into(&mut exception.executor);
    }

    /// The error and what caused it, for the log.
    pub(crate) fn chain(&self) -> String {
        let mut chain = self.to_string();
        let mut cause = self.source.as_deref().and_then(StdError::source);
        while let Some(error) = cause {
            chain.push_str(": ");
            chain.push_str(&error.to_string());
            cause = error.source();
        }
        chain
    }
}

/// `Name('text', 42)`: Python's `repr` of an exception.
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}(", self.name)?;
        for (position, arg) in self.args.iter().enumerate() {
            let comma = if position == 0 { "" } else { ", " };
            match arg {
                Arg::Text(text) => write!(f, "{comma}{}", python_repr(text))?,
                Arg::Integer(_) | Arg::Float(_) => write!(f, "{comma}{arg}")?,
            }
        }
        f.write_str(")")
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.chain())
    }
}

// `Error` itself is no `std` error, or this could not be: the same choice as anyhow's.
impl<E: StdError + Send + Sync + 'static> From<E> for Error {
    fn from(error: E) -> Self {
        let ended: Option<&JoinError> = (&error as &dyn Any).downcast_ref();
        Self {
            is_panic: ended.is_some_and(JoinError::is_panic),
            name: short_name(std::any::type_name::<E>()).to_owned(),
            args: vec![Arg::Text(error.to_string())],
            source: Some(Arc::new(error)),
        }
    }
}

impl fmt::Display for Arg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Integer(number) => write!(f, "{number}"),
            Self::Float(number) => f.write_str(&python::format_float(*number)),
        }
    }
}

impl From<&str> for Arg {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Arg {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<i64> for Arg {
    fn from(number: i64) -> Self {
        Self::Integer(number)
    }
}

impl From<f64> for Arg {
    fn from(number: f64) -> Self {
        Self::Float(number)
    }
}

/// Text as Python's `repr` quotes it.
#[must_use]
pub fn python_repr(text: &str) -> String {
    let quote = if text.contains('\'') && !text.contains('"') {
        '"'
    } else {
        '\''
    };
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push(quote);
    for character in text.chars() {
        match character {
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\\' => quoted.push_str("\\\\"),
            _ if character == quote => quoted.extend(['\\', quote]),
            _ if is_printable(character) => quoted.push(character),
            _ => quoted.push_str(&match u32::from(character) {
                code @ ..0x100 => format!("\\x{code:02x}"),
                code @ ..0x1_0000 => format!("\\u{code:04x}"),
                code => format!("\\U{code:08x}"),
            }),
        }
    }
    quoted.push(quote);
    quoted
}

/// Python's `str.isprintable`, for one character. Rust's `Debug` goes by the same categories; it would
/// escape marks too if they stood first.
fn is_printable(character: char) -> bool {
    match character {
        ' '..='~' => true,
        _ => format!("a{character}").escape_debug().count() == 2,
    }
}

/// `Name` of `path::to::Name<of::Something>`.
fn short_name(path: &str) -> &str {
    let plain = path.split('<').next().unwrap_or(path);
    plain.rsplit("::").next().unwrap_or(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_reads_as_pythons_repr() {
        // As a Jina 3.13 Executor answers ValueError("boom", 42, 'it\'s "q"').
        let error = Error::new("ValueError", "boom").arg(42).arg("it's \"q\"");
        assert_eq!(error.to_string(), r#"ValueError('boom', 42, 'it\'s "q"')"#);
        assert_eq!(Error::value("it's").to_string(), r#"ValueError("it's")"#);
        assert_eq!(python_repr("a\n\u{1}\\é"), r"'a\n\x01\\é'");
        // Printed by Python; the mark behind the e and the emoji stay.
        assert_eq!(
            python_repr("\u{7f}\u{a0}\u{200b}\u{3000}e\u{301}\u{1f600}\u{e0001}\u{feff}"),
            "'\\x7f\\xa0\\u200b\\u3000e\u{301}\u{1f600}\\U000e0001\\ufeff'"
        );
    }

    #[test]
    fn numbers_look_like_pythons() {
        let numbers = [1e16, f64::NAN, 1e-7, 42.0, f64::NEG_INFINITY];
        let error = Error::new("ValueError", 1.5);
        let error = numbers.into_iter().fold(error, Error::arg);
        let description = "ValueError(1.5, 1e+16, nan, 1e-07, 42.0, -inf)";
        assert_eq!(error.to_string(), description);
    }

    #[test]
    fn any_error_becomes_ours_by_its_type() {
        let error: Error = "x".parse::<u8>().expect_err("no number").into();
        assert_eq!(
            error.to_string(),
            "ParseIntError('invalid digit found in string')"
        );
    }
}
