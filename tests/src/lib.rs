//! The harness of the suites: whole Flows on free ports, clients that see raw answers, Executors that keep
//! what they are sent, recordings of Jina to hold all that against.

pub mod client;

pub mod executors;

pub mod flow;

pub mod gate;

pub mod golden;

pub mod lambda_api;

pub mod recorder;
