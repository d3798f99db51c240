//! JSON text in one of Jina's two forms, streamed into one buffer: separators, strings, numbers.

use prost::DecodeError;

use super::write_array::ArrayError;
use crate::{
    DocumentsError,
    python::{finite, nonfinite},
};

/// Which of Jina's protocols the text is for. Both are what Python's json module prints there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// No blanks, text as UTF-8, camelCase keys, `null` for what is unset. JSON has no NaN, so that
    /// `NaN`, `Infinity` and `-Infinity` are strings (Jina 3.13 answers 500).
    Http,
    /// A blank behind each comma and colon, text as ASCII with escapes, snake_case keys, what is
    /// unset left out (but for documents), `NaN` and `Infinity` bare.
    WebSocket,
}

/// Why an answer could not be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The documents cannot be decoded.
    #[error("the documents of the answer cannot be read")]
    Documents(#[from] DocumentsError),
    /// The parameters cannot be decoded.
    #[error("the parameters of the answer cannot be read")]
    Parameters(#[source] DecodeError),
    /// A tensor or an embedding is not what it says it is.
    #[error("the {field} of document {document} cannot be written as JSON")]
    Array {
        /// The document's id.
        document: String,
        /// `tensor` or `embedding`.
        field: &'static str,
        /// What is wrong with it.
        source: ArrayError,
    },
    /// Documents or values lie in one another deeper than protobuf lets them come.
    #[error("the answer is nested too deep")]
    TooDeep,
}

/// How many elements and lists one answer may have that no byte of it stands for: those of sparse
/// arrays, and lists without elements.
const MAX_HOLLOW: usize = 4 << 20;

/// How deep lists and objects may lie in one another: a protobuf message of 100 levels makes 200.
const MAX_DEPTH: usize = 512;

/// The buffer.
pub(super) struct Writer {
    bytes: Vec<u8>,
    form: Form,
    depth: usize,
    /// Elements and lists without bytes that may still be written.
    hollow: usize,
    whole_doubles: WholeDoubles,
}

/// How the whole numbers of a `Struct` look, all of whose numbers are doubles.
#[derive(Clone, Copy, PartialEq, Eq)]
enum WholeDoubles {
    /// `1.0`
    AsDoubles,
    /// `1`
    AsIntegers,
}

impl Writer {
    pub(super) fn new(form: Form) -> Self {
        Self {
            bytes: Vec::with_capacity(1024),
            form,
            depth: 0,
            hollow: MAX_HOLLOW,
            whole_doubles: WholeDoubles::AsDoubles,
        }
    }

    /// A writer that writes the whole numbers of a `Struct` as integers.
    pub(super) fn with_integers(form: Form) -> Self {
        Self {
            whole_doubles: WholeDoubles::AsIntegers,
            ..Self::new(form)
        }
    }

    pub(super) const fn form(&self) -> Form {
        self.form
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    pub(super) fn into_string(self) -> String {
        // Only whole strings were put in, so that this never takes the lossy way.
        String::from_utf8(self.bytes)
            .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
    }

    /// Writes `open`, what `inside` writes, and `close`; too many in one another are an error.
    pub(super) fn enclosed(
        &mut self,
        [open, close]: [u8; 2],
        inside: impl FnOnce(&mut Self) -> Result<(), WriteError>,
    ) -> Result<(), WriteError> {
        if self.depth == MAX_DEPTH {
            return Err(WriteError::TooDeep);
        }
        self.depth += 1;
        self.bytes.push(open);
        inside(self)?;
        self.bytes.push(close);
        self.depth -= 1;
        Ok(())
    }

    pub(super) fn object(
        &mut self,
        inside: impl FnOnce(&mut Self) -> Result<(), WriteError>,
    ) -> Result<(), WriteError> {
        self.enclosed(*b"{}", inside)
    }

    /// A list of `items`, each written by `write`.
    pub(super) fn list<T>(
        &mut self,
        items: impl IntoIterator<Item = T>,
        write: impl Fn(&mut Self, T) -> Result<(), WriteError>,
    ) -> Result<(), WriteError> {
        self.enclosed(*b"[]", |out| {
            for item in items {
                out.item();
                write(out, item)?;
            }
            Ok(())
        })
    }

    /// What goes before an item of a list or an entry of an object: a comma, unless it is the first.
    pub(super) fn item(&mut self) {
        // A value never ends in an opening bracket, not even a string: it ends in its quote.
        if !matches!(self.bytes.last(), Some(b'[' | b'{')) {
            self.bytes.push(b',');
            self.blank();
        }
    }

    fn blank(&mut self) {
        if self.form == Form::WebSocket {
            self.bytes.push(b' ');
        }
    }

    /// A key that needs no escapes, with the comma before and the colon behind it.
    pub(super) fn key(&mut self, key: &str) {
        self.item();
        self.bytes.push(b'"');
        self.bytes.extend_from_slice(key.as_bytes());
        self.bytes.extend_from_slice(b"\":");
        self.blank();
    }

    /// Any key.
    pub(super) fn text_key(&mut self, key: &str) {
        self.item();
        self.text(key);
        self.bytes.push(b':');
        self.blank();
    }

    pub(super) fn open(&mut self) {
        self.bytes.push(b'[');
    }

    pub(super) fn close(&mut self) {
        self.bytes.push(b']');
    }

    pub(super) fn null(&mut self) {
        self.bytes.extend_from_slice(b"null");
    }

    pub(super) fn boolean(&mut self, truth: bool) {
        let word: &[u8] = if truth { b"true" } else { b"false" };
        self.bytes.extend_from_slice(word);
    }

    pub(super) fn integer(&mut self, n: impl Into<i128>) {
        self.bytes
            .extend_from_slice(n.into().to_string().as_bytes());
    }

    /// A double as Python prints it.
    pub(super) fn double(&mut self, x: f64) {
        if x.is_finite() {
            finite(x, &mut self.bytes);
            return;
        }
        let word = nonfinite(x);
        match self.form {
            Form::Http => self.text(word),
            Form::WebSocket => self.bytes.extend_from_slice(word.as_bytes()),
        }
    }

    /// A double of a `Struct`: what is not finite is a string in either form, as in proto JSON.
    pub(super) fn proto_double(&mut self, x: f64) {
        if !x.is_finite() {
            self.text(nonfinite(x));
        } else if self.whole_doubles == WholeDoubles::AsIntegers && is_integer(x) {
            self.integer(x as i128);
        } else {
            finite(x, &mut self.bytes);
        }
    }

    pub(super) fn text(&mut self, text: &str) {
        self.bytes.push(b'"');
        let mut plain_from = 0;
        for (at, byte) in text.bytes().enumerate() {
            let escape = match byte {
                b' ' | b'!' | b'#'..=b'[' | b']'..=b'~' => continue,
                0x80.. if self.form == Form::Http => continue,
                0x7f if self.form == Form::Http => continue,
                other => other,
            };
            if at < plain_from {
                continue;
            }
            self.bytes
                .extend_from_slice(&text.as_bytes()[plain_from..at]);
            plain_from = at + self.escape(escape, &text[at..]);
        }
        self.bytes.extend_from_slice(&text.as_bytes()[plain_from..]);
        self.bytes.push(b'"');
    }

    /// Escapes the first character of `text`, whose first byte is `byte`; answers its length.
    fn escape(&mut self, byte: u8, text: &str) -> usize {
        let short = match byte {
            b'"' => b'"',
            b'\\' => b'\\',
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            0x08 => b'b',
            0x0c => b'f',
            _ => {
                let letter = text.chars().next().unwrap_or_default();
                for unit in letter.encode_utf16(&mut [0; 2]) {
                    self.bytes
                        .extend_from_slice(format!("\\u{unit:04x}").as_bytes());
                }
                return letter.len_utf8();
            }
        };
        self.bytes.extend_from_slice(&[b'\\', short]);
        1
    }

    /// Text that is ASCII and free of what needs escapes: base64, times.
    pub(super) fn plain(&mut self, text: &str) {
        self.bytes.push(b'"');
        self.bytes.extend_from_slice(text.as_bytes());
        self.bytes.push(b'"');
    }

    /// Text, or `null` for none.
    pub(super) fn text_or_null(&mut self, text: &str) {
        if text.is_empty() {
            self.null();
        } else {
            self.text(text);
        }
    }

    /// Takes `count` of the elements that no byte stands for; `false` when there are not as many.
    pub(super) const fn take_hollow(&mut self, count: usize) -> bool {
        match self.hollow.checked_sub(count) {
            Some(left) => {
                self.hollow = left;
                true
            }
            None => false,
        }
    }
}

/// Whether it is a whole number that 64 bits hold, with or without a sign.
fn is_integer(x: f64) -> bool {
    const MIN: f64 = i64::MIN as f64;
    const BEYOND: f64 = 2.0 * -MIN;
    (MIN..BEYOND).contains(&x) && x.fract() == 0.0
}
