//! Messages to a client by `@connections`, API Gateway's way into an open WebSocket.

use std::collections::HashMap;

use aws_sdk_apigatewaymanagement::{Client, config, primitives::Blob};
use tokio::{sync::Mutex, time::Instant};

use super::{
    call::{ConnectionsError, Sdk, call},
    event::Connection,
};

/// `@connections` of every API that this process has heard of: one, but where APIs share a function.
#[derive(Debug, Default)]
pub(super) struct Connections {
    at: Endpoints,
    clients: Mutex<HashMap<String, Client>>,
}

/// Where `@connections` is. An event may say anything, and what is sent there is signed and holds answers: so its host
/// comes from the settings, or is made of the API's name and the function's own region.
#[derive(Debug, Default)]
pub(super) struct Endpoints {
    /// As it is set.
    pub(super) url: Option<String>,
    /// The function's, which is the API's.
    pub(super) region: Option<String>,
}

impl Endpoints {
    fn of(&self, connection: &Connection) -> Option<String> {
        let Connection { api_id, stage, .. } = connection;
        if self.url.is_some() {
            return self.url.clone();
        }
        let region = self.region.as_deref()?;
        let is_name = |text: &str| {
            !text.is_empty()
                && text
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
        };
        let suffix = suffix(region);
        (is_name(api_id) && is_name(stage))
            .then(|| format!("https://{api_id}.execute-api.{region}.{suffix}/{stage}"))
    }
}

/// Of the region's partition (AWS General Reference, "Amazon API Gateway endpoints").
fn suffix(region: &str) -> &'static str {
    match region.split_once('-') {
        Some(("cn", _)) => "amazonaws.com.cn",
        Some(("eusc", _)) => "amazonaws.eu",
        _ => "amazonaws.com",
    }
}

impl Connections {
    pub(super) fn at(at: Endpoints) -> Self {
        Self {
            at,
            clients: Mutex::default(),
        }
    }

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
    ) -> Result<(), ConnectionsError> {
        let client = self.client(sdk, to).await?;
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
    ) -> Result<(), ConnectionsError> {
        let client = self.client(sdk, of).await?;
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
    ) -> Result<(), ConnectionsError> {
        let client = self.client(sdk, of).await?;
        let delete = client.delete_connection().connection_id(&of.id);
        match call(until, || delete.clone().send()).await {
            Ok(_) | Err(ConnectionsError::Gone) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn client(&self, sdk: &Sdk, of: &Connection) -> Result<Client, ConnectionsError> {
        let endpoint = self.at.of(of).ok_or(ConnectionsError::Nowhere)?;
        let mut clients = self.clients.lock().await;
        if let Some(client) = clients.get(&endpoint) {
            return Ok(client.clone());
        }
        // Either would be a host of its own making, and the SDK refuses to have both.
        let config = config::Builder::from(sdk.config().await)
            .endpoint_url(&endpoint)
            .use_fips(false)
            .use_dual_stack(false);
        let client = Client::from_conf(config.build());
        // APIs are named by events.
        if clients.len() == MOST_CLIENTS {
            clients.clear();
        }
        clients.insert(endpoint, client.clone());
        Ok(client)
    }
}

/// More APIs than share one function.
const MOST_CLIENTS: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_is_the_apis_own_or_the_set_one() {
        let endpoint = |region: Option<&str>, api_id: &str, stage: &str| {
            let connection = Connection {
                id: "c".to_owned(),
                api_id: api_id.to_owned(),
                stage: stage.to_owned(),
            };
            let mut at = Endpoints {
                url: Some("http://127.0.0.1:1/prod".to_owned()),
                region: region.map(str::to_owned),
            };
            assert_eq!(at.of(&connection), at.url, "as it is set");
            at.url = None;
            at.of(&connection).unwrap_or_default()
        };
        assert_eq!(
            endpoint(Some("us-east-1"), "a1", "prod"),
            "https://a1.execute-api.us-east-1.amazonaws.com/prod"
        );
        assert_eq!(
            endpoint(Some("cn-north-1"), "a1", "prod"),
            "https://a1.execute-api.cn-north-1.amazonaws.com.cn/prod"
        );
        assert_eq!(endpoint(None, "a1", "prod"), "");
        for api_id in ["", "evil.example/", "a1@evil.example#", "a:1"] {
            assert_eq!(endpoint(Some("us-east-1"), api_id, "prod"), "", "{api_id}");
        }
        assert_eq!(endpoint(Some("us-east-1"), "a1", "../x"), "");
    }
}
