//! Client protocols -> [`flowgate_proto::DataRequest`], and the answer back. Each adapter holds a Gateway and
//! translates; none knows the graph.

pub mod connect;

mod dialect;

pub mod grpc;

pub mod grpc_web;

pub mod http;

mod services;

pub mod websocket;

pub use dialect::Dialect;
pub use services::{Services, StartError};
