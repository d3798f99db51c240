//! How long a process takes from its start to its first answer.

use std::{
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};

use super::{ClientError, call};

const METHOD: &str = "/jina.JinaSingleDataRequestRPC/process_single_data";

/// A process that takes longer to answer has failed.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// How often the client tries to connect. It bounds the error of the measurement.
const RETRY_INTERVAL: Duration = Duration::from_micros(200);

/// Starts the command and calls its port until it answers with `grpc-status: 0`, then ends it.
///
/// # Errors
/// When the process cannot be started or does not answer in time.
pub async fn first_answer(
    port: u16,
    message: Bytes,
    command: &[String],
) -> Result<Duration, ClientError> {
    let (program, arguments) = command.split_first().ok_or("no command")?;
    let started = Instant::now();
    let child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let _ended_on_return = EndOnDrop(child);
    while started.elapsed() < START_TIMEOUT {
        if answers(port, &message).await.unwrap_or(false) {
            return Ok(started.elapsed());
        }
        // The timer of the runtime is not precise enough, and nothing else runs on this thread.
        std::thread::sleep(RETRY_INTERVAL);
    }
    Err("the process does not answer".into())
}

/// Ends the process, and with SIGTERM also what it started.
struct EndOnDrop(Child);

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        let pid = self.0.id().to_string();
        // A process that has ended by itself needs no signal.
        let _signal = Command::new("kill").arg(pid).status();
        let _exit = self.0.wait();
    }
}

async fn answers(port: u16, message: &[u8]) -> Result<bool, ClientError> {
    let mut sender = call::connect(port).await?;
    let body = Full::new(call::framed(message)?);
    let response = sender.send_request(call::request(METHOD, body)?).await?;
    let (head, body) = response.into_parts();
    let collected = body.collect().await?;
    let status = collected
        .trailers()
        .and_then(|trailers| trailers.get("grpc-status"))
        .or_else(|| head.headers.get("grpc-status"));
    Ok(status.is_some_and(|status| status == "0"))
}
