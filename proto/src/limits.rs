//! AWS limits that the design depends on, each with the AWS document that states it (read in November 2026).

use std::time::Duration;

/// The largest payload of a synchronous invocation, request or response, after JSON escaping (AWS Lambda quotas).
pub const MAX_INVOKE_PAYLOAD_BYTES: usize = 6 << 20;

/// The longest timeout that a function can have (AWS Lambda quotas).
pub const MAX_FUNCTION_TIMEOUT: Duration = Duration::from_secs(900);

/// How long a function may take to start before Lambda restarts it (AWS Lambda, "Lambda runtime environment
/// lifecycle", Init phase).
pub const INIT_TIMEOUT: Duration = Duration::from_secs(10);

/// The largest payload of an asynchronous invocation (AWS Lambda quotas).
pub const MAX_ASYNC_INVOKE_PAYLOAD_BYTES: usize = 1 << 20;

/// The largest streamed response (AWS Lambda quotas).
pub const MAX_STREAMED_RESPONSE_BYTES: usize = 200 << 20;

/// The largest JSON, request or response, between an Application Load Balancer and a function (Elastic Load Balancing,
/// Lambda functions as targets).
pub const MAX_ALB_PAYLOAD_BYTES: usize = 1 << 20;

/// How long an Application Load Balancer waits for a response by default (Elastic Load Balancing, Application Load
/// Balancers, connection idle timeout).
pub const DEFAULT_ALB_IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// How long VPC Lattice waits for a response by default (VPC Lattice, `idleTimeoutSeconds` of a service).
pub const DEFAULT_VPC_LATTICE_IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// The largest message of a WebSocket API, and the largest message posted to `@connections` (API Gateway quotas).
pub const MAX_WEBSOCKET_MESSAGE_BYTES: usize = 128 << 10;

/// The largest frame of a WebSocket API; a client sends a larger message in several frames (API Gateway quotas).
pub const MAX_WEBSOCKET_FRAME_BYTES: usize = 32 << 10;

/// How long a REST API waits for its integration at most, unless the account's quota is raised (API Gateway quotas).
pub const MAX_REST_API_TIMEOUT: Duration = Duration::from_secs(29);

/// How long an HTTP API waits for its integration at most (API Gateway quotas).
pub const MAX_HTTP_API_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a WebSocket API waits for its integration at most (API Gateway quotas).
pub const MAX_WEBSOCKET_API_TIMEOUT: Duration = Duration::from_secs(29);

/// How long a WebSocket API keeps an idle connection (API Gateway quotas).
pub const WEBSOCKET_IDLE_TIMEOUT: Duration = Duration::from_secs(600);

/// How long a WebSocket API keeps any connection (API Gateway quotas).
pub const MAX_WEBSOCKET_CONNECTION_DURATION: Duration = Duration::from_secs(7200);

/// The largest request line and headers of an HTTP API together (API Gateway quotas).
pub const MAX_HTTP_API_HEADER_BYTES: usize = 10_240;

/// The largest request or response of an HTTP API (API Gateway quotas).
pub const MAX_HTTP_API_PAYLOAD_BYTES: usize = 10 << 20;
