//! The graph of a Flow as pure data and functions: which node is ready, which requests are merged, which nodes are skipped.
//! It opens no sockets, reads no clocks and starts no tasks (`clippy.toml` and `.ci/structure` check that).

pub mod endpoints;

pub mod filter;

pub mod graph;

pub mod parameters;

mod pyregex;

pub mod reduce;

pub mod target;

pub mod walk;
