//! Writes JSON tokens into one buffer, in the style of HTTP or WebSocket: separators, strings, numbers.
//! It does not know what the values represent.

use super::write_error::WriteError;
use crate::{
    decode_limits::MAX_UNBACKED_VALUES,
    python::{nonfinite_name, write_finite},
};

/// The protocol that determines the JSON style. Jina writes both styles with Python's json module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JsonStyle {
    /// No spaces, UTF-8, camelCase keys, `null` for unset fields. `NaN`, `Infinity` and `-Infinity` are
    /// strings, because JSON has no such numbers (Jina 3.13 responds with 500).
    Http,
    /// A space after each comma and colon, ASCII with escapes, snake_case keys. Unset fields are omitted
    /// except in documents. `NaN` and `Infinity` are written without quotes.
    WebSocket,
}

/// How deep lists and objects may be nested: a protobuf message of 100 levels gives 200.
const MAX_DEPTH: usize = 512;

/// A buffer of JSON text.
pub(super) struct Writer {
    bytes: Vec<u8>,
    style: JsonStyle,
    /// Whether characters outside of ASCII are written as `\uXXXX`.
    is_ascii: bool,
    depth: usize,
    /// How many values without bytes in the message may still be written.
    unbacked_values_left: usize,
    whole_doubles: WholeDoubles,
}

/// How whole numbers of a `Struct`, whose numbers are all doubles, are written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum WholeDoubles {
    /// `1.0`
    AsDoubles,
    /// `1`
    AsIntegers,
}

impl Writer {
    pub(super) fn new(style: JsonStyle) -> Self {
        Self {
            bytes: Vec::with_capacity(1024),
            style,
            is_ascii: style == JsonStyle::WebSocket,
            depth: 0,
            unbacked_values_left: MAX_UNBACKED_VALUES,
            whole_doubles: WholeDoubles::AsDoubles,
        }
    }

    /// Creates a writer that writes whole numbers of a `Struct` as integers.
    pub(super) fn with_integers(style: JsonStyle) -> Self {
        Self {
            whole_doubles: WholeDoubles::AsIntegers,
            ..Self::new(style)
        }
    }

    /// Creates a writer that writes characters outside of ASCII unescaped.
    pub(super) fn unescaped(style: JsonStyle) -> Self {
        Self {
            is_ascii: false,
            ..Self::new(style)
        }
    }

    pub(super) const fn style(&self) -> JsonStyle {
        self.style
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    pub(super) fn into_string(self) -> String {
        // Only valid strings were written, so that the lossy conversion never happens.
        String::from_utf8(self.bytes)
            .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
    }

    /// Writes `open`, the output of `write_content`, and `close`. Nesting too deep is an error.
    pub(super) fn write_enclosed(
        &mut self,
        [open, close]: [u8; 2],
        write_content: impl FnOnce(&mut Self) -> Result<(), WriteError>,
    ) -> Result<(), WriteError> {
        if self.depth == MAX_DEPTH {
            return Err(WriteError::TooDeep);
        }
        self.depth += 1;
        self.bytes.push(open);
        write_content(self)?;
        self.bytes.push(close);
        self.depth -= 1;
        Ok(())
    }

    pub(super) fn write_object(
        &mut self,
        write_content: impl FnOnce(&mut Self) -> Result<(), WriteError>,
    ) -> Result<(), WriteError> {
        self.write_enclosed(*b"{}", write_content)
    }

    /// Writes a list of `items`, each by `write_item`.
    pub(super) fn write_list<T>(
        &mut self,
        items: impl IntoIterator<Item = T>,
        write_item: impl Fn(&mut Self, T) -> Result<(), WriteError>,
    ) -> Result<(), WriteError> {
        self.write_enclosed(*b"[]", |out| {
            for item in items {
                out.write_separator();
                write_item(out, item)?;
            }
            Ok(())
        })
    }

    /// Writes the comma before an item of a list or an entry of an object, unless it is the first.
    pub(super) fn write_separator(&mut self) {
        // No value ends in an opening bracket: a string ends in its quote.
        if !matches!(self.bytes.last(), Some(b'[' | b'{')) {
            self.bytes.push(b',');
            self.write_space();
        }
    }

    fn write_space(&mut self) {
        if self.style == JsonStyle::WebSocket {
            self.bytes.push(b' ');
        }
    }

    /// Writes a key that needs no escapes, with its comma and colon.
    pub(super) fn write_key(&mut self, key: &str) {
        self.write_separator();
        self.bytes.push(b'"');
        self.bytes.extend_from_slice(key.as_bytes());
        self.bytes.extend_from_slice(b"\":");
        self.write_space();
    }

    /// Writes any key, with its comma and colon.
    pub(super) fn write_escaped_key(&mut self, key: &str) {
        self.write_separator();
        self.write_text(key);
        self.bytes.push(b':');
        self.write_space();
    }

    pub(super) fn open_list(&mut self) {
        self.bytes.push(b'[');
    }

    pub(super) fn close_list(&mut self) {
        self.bytes.push(b']');
    }

    pub(super) fn write_null(&mut self) {
        self.bytes.extend_from_slice(b"null");
    }

    pub(super) fn write_bool(&mut self, truth: bool) {
        let word: &[u8] = if truth { b"true" } else { b"false" };
        self.bytes.extend_from_slice(word);
    }

    pub(super) fn write_integer(&mut self, n: impl Into<i128>) {
        // Writing to a vector cannot fail.
        let _ = serde_json::to_writer(&mut self.bytes, &n.into());
    }

    /// Writes the items of a list of doubles.
    pub(super) fn write_doubles(&mut self, items: impl ExactSizeIterator<Item = f64>) {
        // Most doubles are written with 17 digits, a sign or a zero, and a point; then follows a comma.
        self.bytes.reserve(items.len().saturating_mul(20));
        for (n, item) in items.enumerate() {
            if n > 0 {
                self.bytes.push(b',');
                self.write_space();
            }
            self.write_double(item);
        }
    }

    /// Writes a double as Python does.
    pub(super) fn write_double(&mut self, x: f64) {
        if x.is_finite() {
            write_finite(x, &mut self.bytes);
            return;
        }
        let word = nonfinite_name(x);
        match self.style {
            JsonStyle::Http => self.write_text(word),
            JsonStyle::WebSocket => self.bytes.extend_from_slice(word.as_bytes()),
        }
    }

    /// Writes a double of a `Struct`. NaN and infinities are strings in both styles, as in protobuf's JSON.
    pub(super) fn write_struct_double(&mut self, x: f64) {
        if !x.is_finite() {
            self.write_text(nonfinite_name(x));
        } else if self.whole_doubles == WholeDoubles::AsIntegers && is_integer(x) {
            self.write_integer(x as i128);
        } else {
            write_finite(x, &mut self.bytes);
        }
    }

    pub(super) fn write_text(&mut self, text: &str) {
        self.bytes.push(b'"');
        let mut plain_from = 0;
        for (at, byte) in text.bytes().enumerate() {
            let escape = match byte {
                b' ' | b'!' | b'#'..=b'[' | b']'..=b'~' => continue,
                0x7f.. if !self.is_ascii => continue,
                other => other,
            };
            if at < plain_from {
                continue;
            }
            self.bytes
                .extend_from_slice(&text.as_bytes()[plain_from..at]);
            plain_from = at + self.write_escape(escape, &text[at..]);
        }
        self.bytes.extend_from_slice(&text.as_bytes()[plain_from..]);
        self.bytes.push(b'"');
    }

    /// Writes the escape of the first character of `text`, whose first byte is `byte`. Returns the character's length.
    fn write_escape(&mut self, byte: u8, text: &str) -> usize {
        let short = match byte {
            b'"' => b'"',
            b'\\' => b'\\',
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            0x08 => b'b',
            0x0c => b'f',
            _ => {
                let character = text.chars().next().unwrap_or_default();
                for unit in character.encode_utf16(&mut [0; 2]) {
                    self.bytes
                        .extend_from_slice(format!("\\u{unit:04x}").as_bytes());
                }
                return character.len_utf8();
            }
        };
        self.bytes.extend_from_slice(&[b'\\', short]);
        1
    }

    /// Writes ASCII text that needs no escapes: base64, times.
    pub(super) fn write_plain(&mut self, text: &str) {
        self.bytes.push(b'"');
        self.bytes.extend_from_slice(text.as_bytes());
        self.bytes.push(b'"');
    }

    /// Writes text, or `null` when it is empty.
    pub(super) fn write_text_or_null(&mut self, text: &str) {
        if text.is_empty() {
            self.write_null();
        } else {
            self.write_text(text);
        }
    }

    /// Reserves `count` values for which the message has no bytes. Returns `false` when the response has too many.
    pub(super) const fn reserve_unbacked(&mut self, count: usize) -> bool {
        match self.unbacked_values_left.checked_sub(count) {
            Some(left) => {
                self.unbacked_values_left = left;
                true
            }
            None => false,
        }
    }
}

/// Whether a whole number fits in a signed or unsigned 64-bit integer.
fn is_integer(x: f64) -> bool {
    const MIN: f64 = i64::MIN as f64;
    const END: f64 = 2.0 * -MIN;
    (MIN..END).contains(&x) && x.fract() == 0.0
}
