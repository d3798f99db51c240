//! The Flow as pure data and functions: which node is ready, what is merged, who is skipped.
//! Nothing here knows of sockets, clocks or tasks.

pub mod endpoints;

pub mod filter;

pub mod graph;

pub mod parameters;

mod pyregex;

pub mod reduce;

pub mod target;

pub mod walk;

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    /// The graph is pure: what it may not know of never appears among its imports.
    #[test]
    fn the_flow_knows_no_runtime_socket_or_cloud() {
        let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
        let mut read = 0;
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).expect("the sources are there") {
                let path = entry.expect("a readable folder").path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.extension().is_some_and(|ending| ending == "rs") {
                    read += 1;
                    let text = fs::read_to_string(&path).expect("a readable file");
                    for word in [
                        "tokio",
                        "tonic",
                        "hyper",
                        "axum",
                        "aws_",
                        "std::net",
                        "SystemTime",
                    ] {
                        let found = text.lines().find(|line| line.contains(word));
                        assert!(found.is_none(), "{}: {found:?}", path.display());
                    }
                }
            }
        }
        assert!(read > 10, "the sources were found");
    }
}
