//! All suites in one binary: linking it once is most of the time that tests take.

mod golden;

mod golden_grpc;

mod golden_http;

mod golden_websocket;

mod limits;

mod one_port;

mod replicas;

mod shutdown;

mod streaming;

mod tls;

mod websocket;
