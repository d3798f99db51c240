//! All suites in one binary, because linking dominates the time that the tests take.

mod auth;

mod bad_answers;

mod budget;

mod conditions;

mod connect;

mod connections;

mod decode_limits;

mod executor_tls;

mod golden;

mod golden_grpc;

mod golden_http;

mod golden_websocket;

mod http1;

mod introspection;

mod lambda_executors;

mod limits;

mod one_port;

mod outbound;

mod readme;

mod replicas;

mod shutdown;

mod slow_grpc;

mod slow_grpc_methods;

mod stream_limits;

mod streaming;

mod tls;

mod websocket;

mod websocket_frames;

mod websocket_limits;

mod workers;
