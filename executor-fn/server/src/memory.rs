//! Finds how much memory the process may use: that of its cgroups, or of the machine.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// The memory that this process may use, in bytes: the lowest limit of its cgroup and the cgroups around it, and no more than
/// the machine has. `None` if the system does not say.
#[must_use]
pub fn available_memory() -> Option<usize> {
    let machine = fs::read_to_string("/proc/meminfo").ok();
    let machine = machine.as_deref().and_then(total_memory);
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let limits = limit_files(&groups).into_iter().filter_map(|file| {
        // `max` stands for no limit in version 2; version 1 then reports a number larger than any memory.
        fs::read_to_string(file).ok()?.trim().parse().ok()
    });
    limits.chain(machine).min()
}

/// Returns the files that may hold a limit, by the content of `/proc/self/cgroup` (man 7 cgroups): those of the process's
/// cgroup and of all cgroups around it, up to the root of the mount. In a container the root is often the container's own
/// cgroup, while the path is that on the host: only the last of these files exists then.
fn limit_files(groups: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for line in groups.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else {
            continue;
        };
        let (root, name) = if controllers.is_empty() {
            (Path::new("/sys/fs/cgroup"), "memory.max")
        } else if controllers.split(',').any(|name| name == "memory") {
            let root = Path::new("/sys/fs/cgroup/memory");
            (root, "memory.limit_in_bytes")
        } else {
            continue;
        };
        let below_root = Path::new(path.trim_start_matches('/'));
        let groups = below_root.ancestors();
        files.extend(groups.map(|group| root.join(group).join(name)));
    }
    files
}

/// Returns `MemTotal` of `/proc/meminfo`, which is in KiB.
fn total_memory(meminfo: &str) -> Option<usize> {
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kibibytes: usize = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_of_the_machine_is_read() {
        let meminfo = "MemTotal:       24689244 kB\nMemFree:         1000 kB\n";
        assert_eq!(total_memory(meminfo), Some(24_689_244 << 10));
        assert_eq!(total_memory("MemFree: 1 kB\n"), None);
    }

    #[test]
    fn the_limits_of_all_cgroups_around_the_process_count() {
        let files = |groups| {
            let files = limit_files(groups).into_iter();
            files
                .map(|file| file.to_string_lossy().into_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(
            files("0::/system.slice/flowgate.service\n"),
            [
                "/sys/fs/cgroup/system.slice/flowgate.service/memory.max",
                "/sys/fs/cgroup/system.slice/memory.max",
                "/sys/fs/cgroup/memory.max",
            ]
        );
        assert_eq!(files("0::/\n"), ["/sys/fs/cgroup/memory.max"]);
        assert_eq!(
            files("5:cpu,cpuacct:/a\n4:memory:/docker/1:2\n"),
            [
                "/sys/fs/cgroup/memory/docker/1:2/memory.limit_in_bytes",
                "/sys/fs/cgroup/memory/docker/memory.limit_in_bytes",
                "/sys/fs/cgroup/memory/memory.limit_in_bytes",
            ]
        );
        assert!(files("garbage\n").is_empty());
    }
}
