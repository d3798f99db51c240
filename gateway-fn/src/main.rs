//! The function `gateway-fn`: the Gateway of a Flow on AWS Lambda.

use std::process::ExitCode;

fn main() -> ExitCode {
    gateway::host::lambda::run()
}
