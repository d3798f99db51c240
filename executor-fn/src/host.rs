//! Where an Executor runs.

pub mod command;

pub mod container;

pub(crate) mod lambda;

pub mod program;
