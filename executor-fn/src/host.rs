//! Where an Executor runs.

pub mod container;

pub mod program;
