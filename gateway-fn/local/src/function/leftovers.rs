//! Ends the processes that a function leaves behind. Those in a process group of their own, such as the command of an
//! Executor, outlive a function that is killed; on Lambda the execution environment ends with all of them.

use std::{fs, path::Path};

use rustix::process::{Pid, Signal, kill_process};

/// A process can start another one while the processes are listed, so they are listed until none is left, this often at
/// most.
const MAX_ROUNDS: usize = 10;

/// Kills every process that has the variable `name` with this value, which no other process has. Does nothing on systems
/// without `/proc`.
pub(super) async fn kill(name: &str, value: &str) {
    let entry = format!("{name}={value}").into_bytes();
    let killed = tokio::task::spawn_blocking(move || {
        for _ in 0..MAX_ROUNDS {
            let processes = processes_with(&entry);
            if processes.is_empty() {
                return;
            }
            for process in processes {
                tracing::info!(
                    process = process.as_raw_nonzero().get(),
                    "killing a process that the function left behind"
                );
                // Fails if it has exited.
                let _ = kill_process(process, Signal::KILL);
            }
        }
    });
    if killed.await.is_err() {
        tracing::warn!("the processes that a function left behind may still run");
    }
}

/// Returns the processes whose environment has this entry. Those of other users cannot be read; zombies have none.
fn processes_with(entry: &[u8]) -> Vec<Pid> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    processes
        .filter_map(|process| {
            let id = process.file_name().to_str()?.parse().ok()?;
            has_entry(&process.path(), entry)
                .then(|| Pid::from_raw(id))
                .flatten()
        })
        .collect()
}

fn has_entry(process: &Path, entry: &[u8]) -> bool {
    let environment = fs::read(process.join("environ")).unwrap_or_default();
    let mut entries = environment.split(|byte| *byte == 0);
    entries.any(|found| found == entry)
}
