//! The long-running home of the Gateway: the command line `flowgate`, and the container that serves gRPC, HTTP and
//! WebSocket until it is stopped.

pub mod cli;

pub mod container;
