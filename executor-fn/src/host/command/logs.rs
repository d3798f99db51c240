//! What a command prints -> events of our log, line by line.

use flowgate_proto::with_causes;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, BufReader};

/// Bytes of a line; more of it is the next event's. A traceback's longest lines fit.
const LINE_BYTES: u64 = 16 << 10;

/// Forwards lines until nobody can print any more. The target is `command`, so that a filter finds them; the
/// level says nothing about them, as Python logs everything to one stream.
pub(super) async fn forward(output: impl AsyncRead + Unpin, stream: &'static str) {
    let mut output = BufReader::new(output);
    let mut line = Vec::new();
    loop {
        line.clear();
        match (&mut output)
            .take(LINE_BYTES)
            .read_until(b'\n', &mut line)
            .await
        {
            Ok(1..) => {
                let text = String::from_utf8_lossy(&line);
                let text = text.trim_end();
                if !text.is_empty() {
                    tracing::info!(target: "command", stream, "{text}");
                }
            }
            Ok(0) => return,
            Err(error) => {
                tracing::warn!(
                    error = %with_causes(&error),
                    stream,
                    "the command's output is lost"
                );
                return;
            }
        }
    }
}
