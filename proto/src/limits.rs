//! AWS's limits that the design rests on, each with the document that states it (read in November 2026).

use std::time::Duration;

/// Bytes of a synchronous invocation's payload, each way, after JSON escaping (AWS Lambda quotas).
pub const INVOKE_BYTES: usize = 6 << 20;

/// The longest that a function may run (AWS Lambda quotas).
pub const FUNCTION_TIMEOUT: Duration = Duration::from_secs(900);

/// The longest that a function may take to start before Lambda starts it anew (AWS Lambda, "Lambda runtime environment
/// lifecycle", Init phase).
pub const INIT_TIMEOUT: Duration = Duration::from_secs(10);

/// Bytes of an asynchronous invocation's event (AWS Lambda quotas).
pub const ASYNC_INVOKE_BYTES: usize = 1 << 20;

/// Bytes of a streamed response (AWS Lambda quotas).
pub const STREAMED_RESPONSE_BYTES: usize = 200 << 20;

/// Bytes of a request's or an answer's JSON between an Application Load Balancer and a function (Elastic Load
/// Balancing, Lambda functions as targets).
pub const ALB_BYTES: usize = 1 << 20;

/// How long an Application Load Balancer waits for an answer unless it is set (Elastic Load Balancing, Application Load
/// Balancers, connection idle timeout).
pub const ALB_TIMEOUT: Duration = Duration::from_secs(60);

/// Bytes of one message of a WebSocket API, and of one to `@connections` (API Gateway quotas).
pub const WEBSOCKET_MESSAGE_BYTES: usize = 128 << 10;

/// Bytes of one frame of a WebSocket API; a client's larger message comes in several (API Gateway quotas).
pub const WEBSOCKET_FRAME_BYTES: usize = 32 << 10;

/// The longest that a REST API waits for its integration, unless the account's quota is raised (API Gateway quotas).
pub const REST_API_TIMEOUT: Duration = Duration::from_secs(29);

/// The longest that an HTTP API waits for its integration (API Gateway quotas).
pub const HTTP_API_TIMEOUT: Duration = Duration::from_secs(30);

/// The longest that a WebSocket API waits for its integration (API Gateway quotas).
pub const WEBSOCKET_TIMEOUT: Duration = Duration::from_secs(29);

/// How long a WebSocket API keeps a connection on which nothing is said (API Gateway quotas).
pub const WEBSOCKET_IDLE: Duration = Duration::from_secs(600);

/// How long a WebSocket API keeps a connection at all (API Gateway quotas).
pub const WEBSOCKET_DURATION: Duration = Duration::from_secs(7200);

/// Bytes of the request line and headers of an HTTP API (API Gateway quotas).
pub const HTTP_API_HEADER_BYTES: usize = 10_240;

/// Bytes of an HTTP API's request or answer (API Gateway quotas).
pub const HTTP_API_BYTES: usize = 10 << 20;
