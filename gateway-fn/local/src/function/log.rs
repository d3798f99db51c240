//! What the terminal shows of functions: the lines that they print, and a line for each invocation as Lambda's REPORT.

use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, BufReader};

/// Maximum length of a line in a function's log; a longer line is split.
const MAX_LOG_LINE_BYTES: u64 = 64 << 10;

/// Prints the log of one function.
#[derive(Clone, Debug)]
pub(super) struct FunctionLog {
    pub(super) function: String,
    pub(super) memory_mib: u32,
}

/// How an invocation went.
#[derive(Debug)]
pub(super) struct Report<'a> {
    pub(super) request_id: &'a str,
    pub(super) duration: Duration,
    /// How long the process took to start, if it was started for this invocation.
    pub(super) init: Option<Duration>,
    /// `error` or `timeout`, if it failed.
    pub(super) status: Option<&'static str>,
}

impl FunctionLog {
    /// Prints what a process writes, line by line, until it closes its end.
    pub(super) fn forward(&self, output: Option<impl AsyncRead + Unpin + Send + 'static>) {
        let Some(output) = output else { return };
        let log = self.clone();
        tokio::spawn(async move {
            let mut output = BufReader::new(output);
            let mut line = Vec::new();
            loop {
                line.clear();
                let mut limited = (&mut output).take(MAX_LOG_LINE_BYTES);
                match limited.read_until(b'\n', &mut line).await {
                    Ok(0) | Err(_) => return,
                    Ok(_) => log.print(&String::from_utf8_lossy(&line)),
                }
            }
        });
    }

    pub(super) fn report(&self, report: &Report<'_>) {
        self.print(&self.report_line(report));
    }

    /// Returns the line that Lambda writes after each invocation.
    fn report_line(&self, report: &Report<'_>) -> String {
        let mut line = format!(
            "REPORT RequestId: {}\tDuration: {:.2} ms\tBilled Duration: {:.0} ms\tMemory Size: {} MB",
            report.request_id,
            milliseconds(report.duration),
            milliseconds(report.duration + report.init.unwrap_or_default()).ceil(),
            self.memory_mib,
        );
        if let Some(init) = report.init {
            line += &format!("\tInit Duration: {:.2} ms", milliseconds(init));
        }
        if let Some(status) = report.status {
            line += &format!("\tStatus: {status}");
        }
        line
    }

    #[expect(
        clippy::print_stderr,
        reason = "a function's log goes to the terminal unchanged"
    )]
    fn print(&self, line: &str) {
        eprintln!("[{}] {}", self.function, line.trim_end());
    }
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_has_the_fields_of_lambdas() {
        let log = FunctionLog {
            function: "f".to_owned(),
            memory_mib: 128,
        };
        let mut report = Report {
            request_id: "r",
            duration: Duration::from_micros(12_340),
            init: None,
            status: None,
        };
        let line =
            "REPORT RequestId: r\tDuration: 12.34 ms\tBilled Duration: 13 ms\tMemory Size: 128 MB";
        assert_eq!(log.report_line(&report), line);
        report.init = Some(Duration::from_millis(7));
        report.status = Some("timeout");
        let line = "REPORT RequestId: r\tDuration: 12.34 ms\tBilled Duration: 20 ms\tMemory Size: 128 MB\t\
                    Init Duration: 7.00 ms\tStatus: timeout";
        assert_eq!(log.report_line(&report), line);
    }
}
