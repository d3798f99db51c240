//! An emulator of API Gateway and Lambda for one machine: the library behind `flowgate local`.
//!
//! An [`Emulator`] listens on up to three ports:
//!
//! - The **HTTP API** (`http_api`) turns each request into an event of payload format 2.0, invokes the function and
//!   turns its response into the HTTP response.
//! - The **WebSocket API** (`websocket_api`) invokes the function for `$connect`, for each message by its route, and
//!   for `$disconnect`. Under `/@connections` the function sends messages to clients and closes connections.
//! - **Lambda's APIs** (`lambda_api`) let functions invoke each other, and let a runtime that the user started fetch
//!   its invocations.
//!
//! Behind both APIs is one function (`function`). It is either at another Lambda Invoke endpoint, such as
//! `cargo lambda watch`, or run by the emulator, which then queues its invocations, starts a process of its bootstrap
//! whenever no process is idle, and serves Lambda's Runtime API to each process. A test or a debugger can take the place
//! of the bootstrap.
//!
//! Limits, error texts and close codes are AWS's. The crate uses nothing of the Flowgate Gateway: any Lambda function
//! works.
//!
//! ```no_run
//! use flowgate_local::{Emulator, FunctionOptions, Options, RuntimeSource, StartError, Target};
//!
//! # async fn example() -> Result<(), StartError> {
//! let bootstrap = RuntimeSource::Bootstrap("target/lambda/hello/bootstrap".into());
//! let function = FunctionOptions::new("hello", bootstrap);
//! let emulator = Emulator::start(Options::new(Target::Functions(vec![function]))).await?;
//! println!("http://{}", emulator.addresses().http);
//! emulator.stop().await;
//! # Ok(())
//! # }
//! ```

mod options;

mod server;

mod http_api;

mod websocket_api;

mod lambda_api;

mod function;

mod decode;

mod event_stream;

mod proxy_response;

mod response;

mod stage;

mod aws;

mod shutdown;

use std::net::SocketAddr;

pub use options::{
    FunctionOptions, Options, RouteResponses, RouteSelection, RuntimeSource, Signatures,
    StartError, Target, Timeouts,
};

use self::{
    function::{Functions, Integration, RuntimeEnv},
    http_api::HttpApi,
    lambda_api::LambdaApi,
    server::Server,
    shutdown::Shutdown,
    websocket_api::WebSocketApi,
};

/// A running emulator. It serves until [`Emulator::stop`] or until it is dropped.
#[derive(Debug)]
pub struct Emulator {
    addresses: Addresses,
    shutdown: Shutdown,
}

/// The addresses on which an [`Emulator`] listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// The HTTP API.
    pub http: SocketAddr,
    /// The WebSocket API and its `@connections`.
    pub websocket: SocketAddr,
    /// Lambda's Invoke API and Runtime API; absent if the function is at another endpoint.
    pub lambda: Option<SocketAddr>,
}

impl Emulator {
    /// Binds the ports and starts to serve.
    ///
    /// # Errors
    ///
    /// A port cannot be bound, or an option is invalid.
    pub async fn start(options: Options) -> Result<Self, StartError> {
        options.check()?;
        let http = Server::bind(options.host, options.http_port).await?;
        let websocket = Server::bind(options.host, options.websocket_port).await?;
        let lambda = match options.target {
            Target::Endpoint { .. } => None,
            Target::Functions(_) => Some(Server::bind(options.host, options.lambda_port).await?),
        };
        let addresses = Addresses {
            http: http.address,
            websocket: websocket.address,
            lambda: lambda.as_ref().map(|server| server.address),
        };
        let emulator = Self {
            addresses,
            shutdown: Shutdown::default(),
        };
        let integration = emulator.serve_functions(&options, lambda);
        emulator.serve_apis(&options, &integration, http, websocket);
        Ok(emulator)
    }

    /// Returns the addresses on which the emulator listens.
    #[must_use]
    pub const fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// Closes open WebSockets with code 1001, ends the functions' processes, and waits until all have ended.
    pub async fn stop(self) {
        self.shutdown.stop().await;
    }

    /// Serves Lambda's APIs if the emulator runs the functions. Returns the function behind the HTTP and WebSocket
    /// APIs.
    fn serve_functions(&self, options: &Options, server: Option<Server>) -> Integration {
        let functions = match &options.target {
            Target::Endpoint { url, function } => return Integration::endpoint(url, function),
            Target::Functions(functions) => functions,
        };
        let (websocket, prefix) = (self.addresses.websocket, options.path_prefix());
        let env = RuntimeEnv {
            lambda: self.addresses.lambda,
            connections_url: format!("http://{websocket}{prefix}"),
            shutdown: self.shutdown.clone(),
        };
        let functions = Functions::new(functions, options.max_queued, &env);
        let integration = functions.integration();
        if let Some(server) = server {
            let delays = options.timeouts.retry_delays;
            let api = LambdaApi::new(functions, delays, self.shutdown.clone());
            let stopping = self.shutdown.stopping.clone();
            let serving = server.serve(options.max_connections, stopping, move |request, _| {
                let api = api.clone();
                async move { api.handle(request).await }
            });
            self.shutdown.tasks.spawn(serving);
        }
        integration
    }

    fn serve_apis(
        &self,
        options: &Options,
        integration: &Integration,
        http: Server,
        websocket: Server,
    ) {
        let Shutdown { stopping, tasks } = &self.shutdown;
        let max_connections = options.max_connections;
        let api = HttpApi::new(integration.clone(), options, http.address);
        let serving = http.serve(max_connections, stopping.clone(), move |request, client| {
            let api = api.clone();
            async move { api.handle(request, client).await }
        });
        tasks.spawn(serving);
        // An open WebSocket counts as a connection of the port. The other half is for handshakes and `@connections`.
        let max_connections = max_connections.saturating_mul(2);
        let shutdown = self.shutdown.clone();
        let api = WebSocketApi::new(integration.clone(), options, websocket.address, shutdown);
        let serving = websocket.serve(max_connections, stopping.clone(), move |request, client| {
            let api = api.clone();
            async move { api.handle(request, client).await }
        });
        tasks.spawn(serving);
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        self.shutdown.stopping.cancel();
    }
}

#[cfg(test)]
mod tests;
