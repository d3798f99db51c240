//! Sends messages to WebSocket clients by `@connections`, the API Gateway Management API.

mod call;

use std::collections::HashMap;

use aws_sdk_apigatewaymanagement::{Client, config, primitives::Blob};
use tokio::{sync::Mutex, time::Instant};

use self::call::call;
use super::event::Connection;
use crate::aws::{self, SdkConfig};

pub(super) use self::call::ConnectionsError;

/// The clients of `@connections`: one for each API, and usually a function serves one.
#[derive(Debug)]
pub(super) struct Connections {
    endpoints: Endpoints,
    config: AwsConfig,
    clients: Mutex<HashMap<String, Client>>,
}

/// The configuration of AWS clients.
#[derive(Debug)]
pub(super) enum AwsConfig {
    /// The configuration from the environment, read when the first client is made.
    Environment,
    #[cfg(test)]
    Fixed(Box<SdkConfig>),
}

/// Where `@connections` is. Calls are signed and carry responses, and an event may contain anything. So the host comes
/// from the settings, or is built from the API's id and the function's own region.
#[derive(Debug, Default)]
pub(super) struct Endpoints {
    /// The URL from the settings.
    pub(super) url: Option<String>,
    /// The function's region, which is the API's too.
    pub(super) region: Option<String>,
}

impl AwsConfig {
    async fn load(&self) -> &SdkConfig {
        match self {
            Self::Environment => aws::sdk_config().await,
            #[cfg(test)]
            Self::Fixed(config) => config,
        }
    }
}

impl Endpoints {
    /// Returns the URL for a connection.
    ///
    /// # Errors
    /// When there is no URL in the settings, and no region or no valid API id and stage either.
    fn url_for(&self, connection: &Connection) -> Result<String, ConnectionsError> {
        let Connection { api_id, stage, .. } = connection;
        if let Some(url) = &self.url {
            return Ok(url.clone());
        }
        let region = self.region.as_deref();
        let region = region.ok_or(ConnectionsError::NoRegion)?;
        let is_name = |text: &str| {
            !text.is_empty()
                && text
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
        };
        let suffix = dns_suffix(region);
        match is_name(api_id) && is_name(stage) {
            true => Ok(format!(
                "https://{api_id}.execute-api.{region}.{suffix}/{stage}"
            )),
            false => Err(ConnectionsError::UnknownEndpoint),
        }
    }
}

/// Returns the DNS suffix of the region's partition (AWS General Reference, "Amazon API Gateway endpoints").
fn dns_suffix(region: &str) -> &'static str {
    match region.split_once('-') {
        Some(("cn", _)) => "amazonaws.com.cn",
        Some(("eusc", _)) => "amazonaws.eu",
        _ => "amazonaws.com",
    }
}

impl Connections {
    pub(super) fn new(endpoints: Endpoints, config: AwsConfig) -> Self {
        Self {
            endpoints,
            config,
            clients: Mutex::default(),
        }
    }

    /// Sends a message, which may arrive twice.
    ///
    /// # Errors
    /// When the client has disconnected, or AWS does not accept the message before the deadline.
    pub(super) async fn post(
        &self,
        connection: &Connection,
        message: String,
        deadline: Instant,
    ) -> Result<(), ConnectionsError> {
        let client = self.client(connection).await?;
        let post = client
            .post_to_connection()
            .connection_id(&connection.id)
            .data(Blob::new(message));
        call(deadline, || post.clone().send()).await.map(|_| ())
    }

    /// Checks that the client is connected.
    ///
    /// # Errors
    /// When it has disconnected, or AWS does not answer before the deadline.
    pub(super) async fn get(
        &self,
        connection: &Connection,
        deadline: Instant,
    ) -> Result<(), ConnectionsError> {
        let client = self.client(connection).await?;
        let get = client.get_connection().connection_id(&connection.id);
        call(deadline, || get.clone().send()).await.map(|_| ())
    }

    /// Closes the connection.
    ///
    /// # Errors
    /// When AWS does not close it before the deadline; a client that has disconnected is not an error.
    pub(super) async fn delete(
        &self,
        connection: &Connection,
        deadline: Instant,
    ) -> Result<(), ConnectionsError> {
        let client = self.client(connection).await?;
        let delete = client.delete_connection().connection_id(&connection.id);
        match call(deadline, || delete.clone().send()).await {
            Ok(_) | Err(ConnectionsError::Gone) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn client(&self, connection: &Connection) -> Result<Client, ConnectionsError> {
        let endpoint = self.endpoints.url_for(connection)?;
        let mut clients = self.clients.lock().await;
        if let Some(client) = clients.get(&endpoint) {
            return Ok(client.clone());
        }
        // FIPS and dual stack would each choose another host, and the SDK refuses them beside a URL.
        let config = config::Builder::from(self.config.load().await)
            .endpoint_url(&endpoint)
            .use_fips(false)
            .use_dual_stack(false);
        let client = Client::from_conf(config.build());
        // The SDK would report this like a broken connection.
        if client.config().region().is_none() {
            return Err(ConnectionsError::NoRegion);
        }
        // The keys come from events, so their number must be bounded.
        if clients.len() == MAX_CLIENTS {
            clients.clear();
        }
        clients.insert(endpoint, client.clone());
        Ok(client)
    }
}

/// More APIs than share one function.
const MAX_CLIENTS: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_comes_from_the_settings_or_from_the_api_and_region() {
        let endpoint = |region: Option<&str>, api_id: &str, stage: &str| {
            let connection = Connection {
                id: "c".to_owned(),
                api_id: api_id.to_owned(),
                stage: stage.to_owned(),
            };
            let mut endpoints = Endpoints {
                url: Some("http://127.0.0.1:1/prod".to_owned()),
                region: region.map(str::to_owned),
            };
            let url = endpoints.url_for(&connection).ok();
            assert_eq!(url, endpoints.url, "the setting comes first");
            endpoints.url = None;
            let url = endpoints.url_for(&connection);
            url.unwrap_or_else(|error| format!("{error:?}"))
        };
        assert_eq!(
            endpoint(Some("us-east-1"), "a1", "prod"),
            "https://a1.execute-api.us-east-1.amazonaws.com/prod"
        );
        assert_eq!(
            endpoint(Some("cn-north-1"), "a1", "prod"),
            "https://a1.execute-api.cn-north-1.amazonaws.com.cn/prod"
        );
        assert_eq!(endpoint(None, "a1", "prod"), "NoRegion");
        for api_id in ["", "evil.example/", "a1@evil.example#", "a:1"] {
            let url = endpoint(Some("us-east-1"), api_id, "prod");
            assert_eq!(url, "UnknownEndpoint", "{api_id}");
        }
        let url = endpoint(Some("us-east-1"), "a1", "../x");
        assert_eq!(url, "UnknownEndpoint");
    }
}
