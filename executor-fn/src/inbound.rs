//! How requests come in.

pub mod grpc;
