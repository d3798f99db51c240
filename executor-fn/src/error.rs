//! The error of a handler: a class name and arguments, like a Python exception. It reaches the client in the
//! status of the request, as Jina 3.13 writes it (recording `grpc/23-executor_direct_error`).

use std::{any::Any, error::Error as StdError, fmt, sync::Arc};

use flowgate_proto::{
    jina::{
        HeaderProto,
        status_proto::{ExceptionProto, StatusCode},
    },
    python,
};

/// An Executor's error. `?` converts any `std` error: its type becomes the name and its text the argument.
/// The causes of that error are logged, and the client does not see them.
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
}

/// One argument of an [`Error`].
#[derive(Clone, Debug, PartialEq)]
pub enum Arg {
    /// A text. The error's description quotes it.
    Text(String),
    /// A whole number.
    Integer(i64),
    /// Any other number.
    Float(f64),
}

impl Error {
    /// Creates an error of the class `name`, `KeyError` for example, with its first argument.
    pub fn new(name: impl Into<String>, arg: impl Into<Arg>) -> Self {
        Self {
            name: name.into(),
            args: vec![arg.into()],
            source: None,
        }
    }

    /// Creates a `ValueError`: a document or a parameter of the request is invalid.
    pub fn value_error(message: impl Into<String>) -> Self {
        Self::new("ValueError", message.into())
    }

    /// Adds an argument.
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

    /// Creates the error for a handler's panic with this payload.
    pub(crate) fn from_panic(payload: &(dyn Any + Send)) -> Self {
        Self::new("Panic", Self::panic_text(payload))
    }

    /// Returns the message of a panic with this payload.
    pub(crate) fn panic_text(payload: &(dyn Any + Send)) -> &str {
        let text = payload
            .downcast_ref::<&str>()
            .copied()
            .or_else(|| payload.downcast_ref::<String>().map(String::as_str));
        text.unwrap_or("a panic without a message")
    }

    /// Writes the error into `header.status`. As in Jina, its arguments and stacks are appended if the request
    /// already has a status.
    pub(crate) fn write_status(&self, header: &mut HeaderProto, executor: &str) {
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

    /// The error and its causes, for the log.
    pub(crate) fn with_causes(&self) -> String {
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

/// Formats as Python's `repr` of an exception: `Name('text', 42)`.
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
        f.write_str(&self.with_causes())
    }
}

// `Error` does not implement `std::error::Error`, which would conflict with this conversion; anyhow does the same.
impl<E: StdError + Send + Sync + 'static> From<E> for Error {
    fn from(error: E) -> Self {
        Self {
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

/// Quotes a text as Python's `repr` does.
fn python_repr(text: &str) -> String {
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

/// Whether Python prints the character unescaped (`str.isprintable`). Rust's `Debug` follows the same Unicode
/// categories, except that it escapes a combining mark at the start of a text: hence the letter before it.
fn is_printable(character: char) -> bool {
    match character {
        ' '..='~' => true,
        _ => format!("a{character}").escape_debug().count() == 2,
    }
}

/// Returns `Name` of `path::to::Name<of::Something>`.
fn short_name(path: &str) -> &str {
    let without_generics = path.split('<').next().unwrap_or(path);
    without_generics
        .rsplit("::")
        .next()
        .unwrap_or(without_generics)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_looks_like_pythons_repr() {
        // As a Jina 3.13 Executor answers ValueError("boom", 42, 'it\'s "q"').
        let error = Error::new("ValueError", "boom").arg(42).arg("it's \"q\"");
        assert_eq!(error.to_string(), r#"ValueError('boom', 42, 'it\'s "q"')"#);
        assert_eq!(
            Error::value_error("it's").to_string(),
            r#"ValueError("it's")"#
        );
        assert_eq!(python_repr("a\n\u{1}\\é"), r"'a\n\x01\\é'");
        // As Python 3.10 prints it: the combining mark after the e and the emoji are not escaped.
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
    fn a_std_error_has_the_name_of_its_type() {
        let error: Error = "x".parse::<u8>().expect_err("no number").into();
        assert_eq!(
            error.to_string(),
            "ParseIntError('invalid digit found in string')"
        );
    }
}
