//! The harness of the suites: whole Flows on free ports, clients that see raw answers, recordings of Jina to hold them
//! against.

pub mod client;

pub mod executors;

pub mod flow;

pub mod golden;
