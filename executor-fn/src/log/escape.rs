//! Escapes the control characters of log lines: a peer could forge lines with a newline, and change a terminal with others.

use std::{fmt, io};

use tracing_subscriber::{
    field::RecordFields,
    fmt::{
        FormatFields, MakeWriter,
        format::{DefaultFields, Writer},
    },
};

/// Whether a character moves the cursor, ends the line, or changes the order in which a line is read.
fn is_unsafe(letter: char) -> bool {
    letter.is_control()
        || matches!(letter,
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// Writes the message and the fields of a line of text, and of the spans around it.
pub(super) struct EscapedFields;

impl<'writer> FormatFields<'writer> for EscapedFields {
    fn format_fields<R: RecordFields>(
        &self,
        mut writer: Writer<'writer>,
        fields: R,
    ) -> fmt::Result {
        let mut text = String::new();
        DefaultFields::new().format_fields(Writer::new(&mut text), fields)?;
        for letter in text.chars() {
            match is_unsafe(letter) {
                true => write!(writer, "{}", letter.escape_debug())?,
                false => writer.write_char(letter)?,
            }
        }
        Ok(())
    }
}

/// Makes writers of JSON lines. JSON escapes only the ASCII characters below the space.
pub(super) struct EscapedJson<M>(pub(super) M);

/// Writes JSON, and escapes what [`EscapedFields`] would. A call must contain whole characters, which whole lines do.
pub(super) struct EscapedJsonWriter<W>(W);

impl<'a, M: MakeWriter<'a>> MakeWriter<'a> for EscapedJson<M> {
    type Writer = EscapedJsonWriter<M::Writer>;

    fn make_writer(&'a self) -> Self::Writer {
        EscapedJsonWriter(self.0.make_writer())
    }
}

impl<W: io::Write> io::Write for EscapedJsonWriter<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(line);
        // A line ends with the only newline in it.
        let must_escape = |letter| letter != '\n' && is_unsafe(letter);
        if !text.contains(must_escape) {
            self.0.write_all(line)?;
            return Ok(line.len());
        }
        let mut escaped = String::with_capacity(text.len() + 16);
        for letter in text.chars() {
            match must_escape(letter) {
                true => escaped.push_str(&format!("\\u{:04x}", u32::from(letter))),
                false => escaped.push(letter),
            }
        }
        self.0.write_all(escaped.as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::layer::SubscriberExt as _;

    use super::super::{json_lines, text_lines};
    use super::*;

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("no panic").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Log {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().expect("no panic").clone()).expect("UTF-8")
        }
    }

    /// What a peer might send to forge a line and to change a terminal.
    const HOSTILE: &str =
        "a\u{1b}[2J\nERROR forged \r\u{7}\u{9b}31m\u{202e}gpj\u{2028}\t\0\u{7f} \"ü\"";

    /// Logs the text in every place that a line has.
    fn log_hostile() {
        let span = tracing::info_span!("call", caller = %HOSTILE);
        let _entered = span.enter();
        let error = io::Error::other(HOSTILE);
        tracing::info!(request_id = HOSTILE, detail = %HOSTILE, list = ?[HOSTILE], "{HOSTILE}");
        tracing::info!(error = &error as &dyn std::error::Error, "failed");
    }

    fn assert_harmless(log: &str) {
        assert_eq!(log.lines().count(), 2, "{log}");
        assert!(
            log.ends_with('\n') && log.contains("forged") && log.contains('ü'),
            "{log}"
        );
        for letter in log.chars() {
            assert!(letter == '\n' || !is_unsafe(letter), "{letter:?} in {log}");
        }
    }

    #[test]
    fn lines_of_text_contain_no_control_characters() {
        let log = Log::default();
        let writer = log.clone();
        let lines = text_lines(move || writer.clone(), false);
        let subscriber = tracing_subscriber::registry().with(lines);
        tracing::subscriber::with_default(subscriber, log_hostile);
        assert_harmless(&log.text());
        assert!(
            log.text().contains("detail=a\\u{1b}[2J\\nERROR forged"),
            "{}",
            log.text()
        );
    }

    #[test]
    fn lines_of_json_contain_no_control_characters_and_keep_their_values() {
        let log = Log::default();
        let writer = log.clone();
        let lines = json_lines(move || writer.clone());
        let subscriber = tracing_subscriber::registry().with(lines);
        tracing::subscriber::with_default(subscriber, log_hostile);
        assert_harmless(&log.text());
        let first = log
            .text()
            .lines()
            .next()
            .map(str::to_owned)
            .expect("a line");
        let line: serde_json::Value = serde_json::from_str(&first).expect("JSON");
        assert_eq!(line["detail"], HOSTILE);
        assert_eq!(line["message"], HOSTILE);
    }
}
