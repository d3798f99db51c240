//! The Lambda function `gateway-fn`, which serves the Gateway of a Flow.

use std::process::ExitCode;

fn main() -> ExitCode {
    gateway::host::lambda::run()
}
