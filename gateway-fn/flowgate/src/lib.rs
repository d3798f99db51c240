//! Runs the Gateway as a long-running process: the command line `flowgate`, and the server that it starts for gRPC, HTTP
//! and WebSocket clients.

pub mod cli;

pub mod container;
