//! The test harness: complete Flows on free ports, clients that return raw responses, Executors that record
//! their requests, and the recordings of Jina to compare with.

pub mod client;

pub mod executors;

pub mod flow;

pub mod frames;

pub mod gate;

pub mod golden;

pub mod lambda_api;

pub mod raw_executor;

pub mod recorder;
