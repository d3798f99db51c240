//! The processes of functions: what they leave behind, and the variables that they get.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use http::Method;
use serde_json::Value;

use super::{options_on_free_ports, send};
use crate::{Emulator, FunctionOptions, RuntimeSource};

/// A directory with a bootstrap, which is removed at the end of the test.
struct Directory(PathBuf);

impl Directory {
    fn with_bootstrap(script: &str) -> Self {
        let name = format!("flowgate-local-{}", uuid::Uuid::new_v4().simple());
        let directory = std::env::temp_dir().join(name);
        fs::create_dir(&directory).expect("created");
        let bootstrap = directory.join("bootstrap");
        fs::write(&bootstrap, script).expect("written");
        fs::set_permissions(&bootstrap, fs::Permissions::from_mode(0o755)).expect("changed");
        Self(directory)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.0.join(name)).expect("written by the bootstrap")
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Invokes a function with this bootstrap once. Returns Lambda's error object.
async fn invoke(directory: &Directory) -> Value {
    let bootstrap = RuntimeSource::Bootstrap(directory.0.join("bootstrap"));
    let options = options_on_free_ports(FunctionOptions::new("function", bootstrap));
    let emulator = Emulator::start(options).await.expect("started");
    let lambda = emulator.addresses().lambda.expect("it runs functions");
    let path = "/2015-03-31/functions/function/invocations";
    let response = send(lambda, Method::POST, path, &[], "1").await;
    emulator.stop().await;
    serde_json::from_slice(response.body()).expect("JSON")
}

/// Whether a process has ended, or was killed and waits for its parent.
fn has_ended(process: &str) -> bool {
    let stat = fs::read_to_string(Path::new("/proc").join(process).join("stat"));
    stat.map_or(true, |stat| stat.contains(") Z "))
}

#[tokio::test]
async fn a_command_that_outlives_its_function_is_ended() {
    // As the command of an Executor that is killed: in a session of its own, so that no signal for the function reaches it.
    let script = "#!/bin/sh\n\
        setsid sh -c 'echo $$ > command; exec sleep 1000' &\n\
        while [ ! -s command ]; do sleep 0.01; done\n\
        kill -KILL $$\n";
    let directory = Directory::with_bootstrap(script);
    assert_eq!(invoke(&directory).await["errorType"], "Runtime.ExitError");
    let command = directory.read("command");
    let ended = async {
        while !has_ended(command.trim()) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let ended = tokio::time::timeout(Duration::from_secs(10), ended).await;
    assert!(ended.is_ok(), "process {command} still runs");
}

#[tokio::test]
async fn a_function_sees_that_it_is_emulated() {
    let script = "#!/bin/sh\nprintf '%s %s' \"$AWS_SAM_LOCAL\" \"$AWS_LAMBDA_LOG_STREAM_NAME\" > variables\n";
    let directory = Directory::with_bootstrap(script);
    invoke(&directory).await;
    let variables = directory.read("variables");
    assert!(variables.starts_with("true local/[$LATEST]"), "{variables}");
}
