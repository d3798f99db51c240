//! `flowgate local`: API Gateway and Lambda on the laptop. Clients of an HTTP API or a WebSocket API in, events to a
//! function out, with AWS's limits, texts and close codes. The function is any that a Lambda Invoke endpoint knows, or
//! a bootstrap that is started here, which may then invoke others and push to connections as it would on AWS.

mod answer;

mod connections;

mod function;

mod http_api;

mod lambda_api;

mod moment;

mod options;

mod runtime_api;

mod server;

mod websocket_api;

use std::{net::SocketAddr, sync::Arc};

use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use options::{
    Function, Options, RouteResponses, RouteSelection, Signatures, Source, StartError, Target,
    Times,
};

use self::{
    connections::Connections,
    function::{Front, Functions},
    http_api::HttpApi,
    lambda_api::LambdaApi,
    server::Server,
    websocket_api::WebSocketApi,
};

/// A laptop's API Gateway and Lambda, serving until [`Local::stop`] or until it is dropped.
#[derive(Debug)]
pub struct Local {
    addresses: Addresses,
    stopping: CancellationToken,
    tasks: TaskTracker,
}

/// Where a [`Local`] listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// The HTTP API.
    pub http: SocketAddr,
    /// The WebSocket API and its `@connections`.
    pub websocket: SocketAddr,
    /// Lambda's Invoke API and the Runtime API of functions that are started by hand; none in front of an endpoint.
    pub lambda: Option<SocketAddr>,
}

impl Local {
    /// Binds the ports and serves.
    ///
    /// # Errors
    ///
    /// A port cannot be had, or the options do not hold.
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
        let local = Self {
            addresses,
            stopping: CancellationToken::new(),
            tasks: TaskTracker::new(),
        };
        local.serve(options, http, websocket, lambda);
        Ok(local)
    }

    /// Where it listens.
    #[must_use]
    pub const fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// Closes what is open (WebSockets with 1001), ends the bootstraps, and waits until all is done.
    pub async fn stop(self) {
        self.stopping.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }

    fn serve(&self, options: Options, http: Server, websocket: Server, lambda: Option<Server>) {
        let tasks = &self.tasks;
        let options = Arc::new(options);
        let most = options.max_connections;
        let front = match &options.target {
            Target::Endpoint { url, function } => Front::endpoint(url, function),
            Target::Functions(functions) => {
                let functions = Functions::new(functions, &options, self);
                if let Some(server) = lambda {
                    let api = LambdaApi::new(functions.clone(), options.times.retries, self);
                    tasks.spawn(server.serve(most, self, move |request, _| {
                        let api = api.clone();
                        async move { api.answer(request).await }
                    }));
                }
                functions.front()
            }
        };
        let api = HttpApi::new(front.clone(), &options, self.addresses.http);
        tasks.spawn(http.serve(most, self, move |request, peer| {
            let api = api.clone();
            async move { api.answer(request, peer).await }
        }));
        let connections = Connections::new(&options);
        let api = WebSocketApi::new(front, connections, &options, self);
        tasks.spawn(websocket.serve(most, self, move |request, peer| {
            let api = api.clone();
            async move { api.answer(request, peer).await }
        }));
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        self.stopping.cancel();
    }
}

#[cfg(test)]
mod tests;
