//! How the process is run: who owns the sockets, what comes in on them, and how it ends.

pub mod container;

pub mod lambda;
