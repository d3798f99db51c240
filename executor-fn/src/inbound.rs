//! How requests come in.

pub mod grpc;

pub mod invoke;
