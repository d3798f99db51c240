//! The program `executor-fn` as a process, and the command that it wraps.

use std::{fs, path::Path, process::Stdio, time::Duration};

use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
    time::timeout,
};

use crate::runtime_api::RuntimeApi;

pub(crate) const BIN: &str = env!("CARGO_BIN_EXE_executor-fn");

const PATIENCE: Duration = Duration::from_secs(60);

/// A running function; dropped, it is killed.
pub(crate) struct Function(Child);

impl Function {
    pub(crate) fn start(api: &RuntimeApi, arguments: &[&str], env: &[(&str, &str)]) -> Self {
        let child = Command::new(BIN)
            .args(arguments)
            .env("AWS_LAMBDA_RUNTIME_API", api.address.to_string())
            .env("AWS_LAMBDA_FUNCTION_NAME", "executor-fn")
            .env("AWS_LAMBDA_FUNCTION_VERSION", "1")
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128")
            .envs(env.iter().copied())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn();
        Self(child.expect("the program starts"))
    }

    /// The process that is the command.
    pub(crate) fn command(&self) -> Pid {
        let tasks = format!("/proc/{}/task", self.pid().as_raw_nonzero());
        let tasks = fs::read_dir(tasks).expect("threads");
        let children = tasks.map(|task| {
            let children = task.expect("a thread").path().join("children");
            fs::read_to_string(children).expect("its children")
        });
        let children: String = children.collect();
        let pid = children.split_whitespace().next().expect("a child");
        Pid::from_raw(pid.parse().expect("a number")).expect("a process")
    }

    /// As Lambda does before it ends a function.
    pub(crate) fn terminate(&self) {
        kill_process(self.pid(), Signal::TERM).expect("the function runs");
    }

    pub(crate) async fn exit_code(&mut self) -> Option<i32> {
        let ended = timeout(PATIENCE, self.0.wait()).await.expect("in time");
        ended.expect("a status").code()
    }

    fn pid(&self) -> Pid {
        let id = self.0.id().expect("the function runs");
        let id = i32::try_from(id).expect("a process id");
        Pid::from_raw(id).expect("a process")
    }
}

pub(crate) fn kill(process: Pid) {
    kill_process(process, Signal::KILL).expect("the process runs");
}

pub(crate) fn exists(process: Pid) -> bool {
    Path::new("/proc")
        .join(process.as_raw_nonzero().to_string())
        .exists()
}

/// The first line that the program prints where there is no Lambda.
pub(crate) async fn outside_of_lambda(arguments: &[&str]) -> String {
    let child = Command::new(BIN)
        .args(arguments)
        .env_remove("AWS_LAMBDA_RUNTIME_API")
        .env("PORT", "0")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn();
    let mut child = child.expect("the program starts");
    let output = BufReader::new(child.stdout.take().expect("its output"));
    let line = timeout(PATIENCE, output.lines().next_line()).await;
    line.expect("in time").expect("text").expect("a line")
}
