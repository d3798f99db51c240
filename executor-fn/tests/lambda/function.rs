//! Runs the program `executor-fn` as a process, as Lambda does, and inspects the command that it starts.

use std::{
    fs,
    path::Path,
    process::{Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader},
    process::{Child, Command},
    time::timeout,
};

use crate::runtime_api::RuntimeApi;

pub(crate) const BIN: &str = env!("CARGO_BIN_EXE_executor-fn");

/// Far longer than any step of a test takes on a machine that is not overloaded.
const TEST_TIMEOUT: Duration = Duration::from_secs(60);

/// A running function. Dropping it stops it as Lambda does, and asserts that its command has ended.
pub(crate) struct Function(Child);

impl Function {
    pub(crate) fn start(api: &RuntimeApi, arguments: &[&str], env: &[(&str, &str)]) -> Self {
        Self::start_with(api, arguments, env, Stdio::null())
    }

    /// Starts a function and returns its log until it ends.
    pub(crate) async fn log(api: &RuntimeApi, env: &[(&str, &str)]) -> String {
        let mut function = Self::start_with(api, &[], env, Stdio::piped());
        let mut output = function.0.stderr.take().expect("piped");
        let mut log = String::new();
        let read = timeout(TEST_TIMEOUT, output.read_to_string(&mut log)).await;
        read.expect("in time").expect("text");
        log
    }

    fn start_with(api: &RuntimeApi, arguments: &[&str], env: &[(&str, &str)], log: Stdio) -> Self {
        let mut program = Command::new(BIN);
        program.args(arguments);
        Self::start_program(program, api, env, log)
    }

    /// Starts another program than `executor-fn`: a test of this binary, marked as ignored.
    pub(crate) fn start_test(test: &str, api: &RuntimeApi, env: &[(&str, &str)]) -> Self {
        let mut program = Command::new(std::env::current_exe().expect("this program"));
        program.args(["--exact", test, "--ignored", "--nocapture"]);
        program.stdout(Stdio::null());
        Self::start_program(program, api, env, Stdio::null())
    }

    fn start_program(
        mut program: Command,
        api: &RuntimeApi,
        env: &[(&str, &str)],
        log: Stdio,
    ) -> Self {
        let child = program
            .env("AWS_LAMBDA_RUNTIME_API", api.address.to_string())
            .env("AWS_LAMBDA_FUNCTION_NAME", "executor-fn")
            .env("AWS_LAMBDA_FUNCTION_VERSION", "1")
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128")
            .envs(env.iter().copied())
            .stderr(log)
            .kill_on_drop(true)
            .spawn();
        Self(child.expect("the program starts"))
    }

    /// The process of the command.
    pub(crate) fn command(&self) -> Pid {
        let pid = self.pid().expect("the function runs");
        children(pid).into_iter().next().expect("a child")
    }

    /// Sends SIGTERM, as Lambda does before it ends a function.
    pub(crate) fn terminate(&self) {
        let pid = self.pid().expect("the function runs");
        kill_process(pid, Signal::TERM).expect("the function runs");
    }

    pub(crate) async fn exit_code(&mut self) -> Option<i32> {
        let status = timeout(TEST_TIMEOUT, self.0.wait()).await.expect("in time");
        status.expect("a status").code()
    }

    /// The process id; `None` when the function has ended.
    fn pid(&self) -> Option<Pid> {
        let id = i32::try_from(self.0.id()?).expect("a process id");
        Pid::from_raw(id)
    }

    fn wait(&mut self) {
        let start = Instant::now();
        while start.elapsed() < TEST_TIMEOUT && matches!(self.0.try_wait(), Ok(None)) {
            thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Function {
    fn drop(&mut self) {
        let Some(pid) = self.pid() else { return };
        let commands = children(pid);
        // Fails if it has just ended.
        let _ = kill_process(pid, Signal::TERM);
        self.wait();
        let orphan = commands.into_iter().find(|command| exists(*command));
        assert!(
            orphan.is_none() || thread::panicking(),
            "the command still runs: {orphan:?}"
        );
    }
}

/// Returns the child processes of a process.
fn children(process: Pid) -> Vec<Pid> {
    let tasks = format!("/proc/{}/task", process.as_raw_nonzero());
    // A thread or the whole process may end meanwhile.
    let tasks = fs::read_dir(tasks).into_iter().flatten().flatten();
    let children = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    let children: String = children.collect();
    let pids = children.split_whitespace();
    pids.filter_map(|pid| Pid::from_raw(pid.parse().expect("a number")))
        .collect()
}

pub(crate) fn kill(process: Pid) {
    kill_process(process, Signal::KILL).expect("the process runs");
}

pub(crate) fn exists(process: Pid) -> bool {
    Path::new("/proc")
        .join(process.as_raw_nonzero().to_string())
        .exists()
}

/// Runs the program outside of Lambda until it ends.
pub(crate) async fn run_outside_of_lambda(arguments: &[&str]) -> Output {
    let output = Command::new(BIN)
        .args(arguments)
        .env_remove("AWS_LAMBDA_RUNTIME_API")
        .kill_on_drop(true)
        .output();
    let output = timeout(TEST_TIMEOUT, output).await.expect("in time");
    output.expect("the program starts")
}

/// Returns the first line that the program prints outside of Lambda.
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
    let line = timeout(TEST_TIMEOUT, output.lines().next_line()).await;
    child.kill().await.expect("it runs");
    line.expect("in time").expect("text").expect("a line")
}
