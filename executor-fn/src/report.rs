//! A line for each invocation, in the form of Lambda's REPORT, under `cargo lambda watch`: Lambda and other emulators write
//! it themselves.

use std::time::Instant;

/// Writes a line for each invocation to standard error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReportLines {
    memory_mb: i32,
}

/// An invocation whose line is written when this is dropped.
#[derive(Debug)]
#[must_use]
pub struct InvocationReport {
    request_id: String,
    start: Instant,
    memory_mb: i32,
}

impl ReportLines {
    /// Returns the lines of a function under `cargo lambda watch`, which sets no log stream, as Lambda (except with SnapStart)
    /// and `sam local` do; `None` elsewhere.
    #[must_use]
    pub fn for_environment(env: &dyn Fn(&str) -> Option<String>) -> Option<Self> {
        let is_set = |name| env(name).is_some_and(|value| !value.is_empty());
        let is_watched = is_set("AWS_LAMBDA_FUNCTION_NAME")
            && !is_set("AWS_LAMBDA_LOG_STREAM_NAME")
            && env("AWS_LAMBDA_INITIALIZATION_TYPE").is_none_or(|kind| kind != "snap-start")
            && !is_set("AWS_SAM_LOCAL");
        let memory = env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE")?;
        let memory_mb = memory.parse().ok().filter(|_| is_watched)?;
        Some(Self { memory_mb })
    }

    /// Starts the time of an invocation.
    pub fn begin(self, request_id: &str) -> InvocationReport {
        InvocationReport {
            request_id: request_id.to_owned(),
            start: Instant::now(),
            memory_mb: self.memory_mb,
        }
    }
}

impl InvocationReport {
    fn line(&self, milliseconds: f64) -> String {
        format!(
            "REPORT RequestId: {}\tDuration: {milliseconds:.2} ms\tBilled Duration: {:.0} ms\tMemory Size: {} MB",
            self.request_id,
            milliseconds.ceil(),
            self.memory_mb
        )
    }
}

impl Drop for InvocationReport {
    #[expect(
        clippy::print_stderr,
        reason = "Lambda's own line is no log event either"
    )]
    fn drop(&mut self) {
        eprintln!("{}", self.line(self.start.elapsed().as_secs_f64() * 1e3));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(variables: &[(&str, &str)]) -> Option<ReportLines> {
        ReportLines::for_environment(&|name| {
            let mut variables = variables.iter();
            let (_, value) = variables.find(|(key, _)| *key == name)?;
            Some((*value).to_owned())
        })
    }

    #[test]
    fn only_a_watched_function_reports_its_invocations() {
        let name = ("AWS_LAMBDA_FUNCTION_NAME", "f");
        let memory = ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "4096");
        let watched = lines(&[name, memory]).expect("watched");
        let line = watched.begin("r").line(12.34);
        assert_eq!(
            line,
            "REPORT RequestId: r\tDuration: 12.34 ms\tBilled Duration: 13 ms\tMemory Size: 4096 MB"
        );
        assert_eq!(lines(&[memory]), None);
        assert_eq!(lines(&[name, memory, ("AWS_SAM_LOCAL", "true")]), None);
        let stream = ("AWS_LAMBDA_LOG_STREAM_NAME", "s");
        assert_eq!(lines(&[name, memory, stream]), None);
        let snapshot = ("AWS_LAMBDA_INITIALIZATION_TYPE", "snap-start");
        assert_eq!(lines(&[name, memory, snapshot]), None);
    }
}
