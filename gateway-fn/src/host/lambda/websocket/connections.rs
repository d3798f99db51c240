//! Messages to a client by `@connections`, API Gateway's way into an open WebSocket.

use std::collections::HashMap;

use aws_sdk_apigatewaymanagement::{Client, config, primitives::Blob};
use tokio::{sync::Mutex, time::Instant};

use super::{
    call::{CallError, Sdk, call},
    event::Connection,
};

/// `@connections` of every API that this process has heard of: one, but where APIs share a function.
#[derive(Debug, Default)]
pub(super) struct Connections(Mutex<HashMap<String, Client>>);

impl Connections {
    /// Sends a message, which may arrive twice.
    ///
    /// # Errors
    /// When the client is gone, or AWS does not take the message until then.
    pub(super) async fn post(
        &self,
        sdk: &Sdk,
        to: &Connection,
        message: String,
        until: Instant,
    ) -> Result<(), CallError> {
        let client = self.client(sdk, &to.endpoint).await;
        let post = client
            .post_to_connection()
            .connection_id(&to.id)
            .data(Blob::new(message));
        call(until, || post.clone().send()).await.map(|_| ())
    }

    /// Asks whether the client is there.
    ///
    /// # Errors
    /// When it is gone, or AWS does not say.
    pub(super) async fn get(
        &self,
        sdk: &Sdk,
        of: &Connection,
        until: Instant,
    ) -> Result<(), CallError> {
        let client = self.client(sdk, &of.endpoint).await;
        let get = client.get_connection().connection_id(&of.id);
        call(until, || get.clone().send()).await.map(|_| ())
    }

    /// Ends the connection.
    ///
    /// # Errors
    /// When AWS does not do it; a client that has gone by itself is no error.
    pub(super) async fn delete(
        &self,
        sdk: &Sdk,
        of: &Connection,
        until: Instant,
    ) -> Result<(), CallError> {
        let client = self.client(sdk, &of.endpoint).await;
        let delete = client.delete_connection().connection_id(&of.id);
        match call(until, || delete.clone().send()).await {
            Ok(_) | Err(CallError::Gone) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn client(&self, sdk: &Sdk, endpoint: &str) -> Client {
        let mut clients = self.0.lock().await;
        if let Some(client) = clients.get(endpoint) {
            return client.clone();
        }
        let config = config::Builder::from(sdk.config().await).endpoint_url(endpoint);
        let client = Client::from_conf(config.build());
        // Endpoints come with events.
        if clients.len() == MOST_CLIENTS {
            clients.clear();
        }
        clients.insert(endpoint.to_owned(), client.clone());
        client
    }
}

/// More APIs than share one function.
const MOST_CLIENTS: usize = 16;
