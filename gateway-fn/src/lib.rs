//! The Gateway of a Jina Flow: a client's request in, through the Flow's graph of Executors, one answer out.
//!
//! A request's life reads off the modules in this order: a [`host`] owns the sockets and hands what comes in to
//! [`inbound`], which turns a client protocol into a [`flowgate_proto::DataRequest`]; the [`gateway`] walks it
//! through the pure graph of [`flow`], sending it to Executors by [`outbound`]; the answer goes back the same way.
//! [`config`] makes all of it out of a Flow YAML, once, at start.

pub mod host;

pub mod inbound;

pub mod gateway;

pub mod flow;

pub mod outbound;

pub mod error;

pub mod config;

pub mod telemetry;

pub mod cli;
