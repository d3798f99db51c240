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
