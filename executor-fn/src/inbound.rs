//! How requests reach an Executor: gRPC calls, or direct Lambda invocations. Both pass them to `dispatch`.

pub(crate) mod grpc;

pub mod invoke;

pub use grpc::grpc_timeout;
