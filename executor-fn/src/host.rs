//! Where an Executor runs.

pub mod container;
