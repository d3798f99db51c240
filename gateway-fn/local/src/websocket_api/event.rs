//! What happens on a WebSocket -> the event for the function, in the form that API Gateway's events were recorded in
//! (aws_lambda_events' fixtures; aws/chalice#2060): a message's has no headers, an end's has four, two of them empty.

use std::net::SocketAddr;

use http::{Request, header};
use hyper::body::Incoming;
use serde_json::{Map, Value, json};

use super::session::End;
use crate::{
    connections::Connection,
    http_api::{query_lists, query_parameters, text},
    moment::{self, Moment},
};

/// Makes the events of one API.
#[derive(Debug)]
pub(super) struct Events {
    stage: String,
    domain: String,
    port: u16,
}

impl Events {
    pub(super) fn new(stage: &str, address: SocketAddr) -> Self {
        Self {
            stage: stage.to_owned(),
            domain: address.to_string(),
            port: address.port(),
        }
    }

    pub(super) fn connect(
        &self,
        connection: &Connection,
        request_id: &str,
        request: &Request<Incoming>,
    ) -> Value {
        let lists = self.headers(connection, request);
        let last = lists.iter().map(|(name, values)| {
            let value = values.last().cloned().unwrap_or_default();
            (name.clone(), Value::from(value))
        });
        let context = self.context(connection, "$connect", "CONNECT", request_id);
        let mut event = json!({
            "headers": last.collect::<Map<_, _>>(),
            "multiValueHeaders": as_object(&lists),
            "requestContext": context,
            "isBase64Encoded": false,
        });
        let query = request.uri().query().unwrap_or_default();
        let parameters = query_lists(query);
        if !parameters.is_empty() {
            event["multiValueQueryStringParameters"] = as_object(&parameters).into();
            event["queryStringParameters"] = query_parameters(query).into();
        }
        event
    }

    pub(super) fn message(
        &self,
        connection: &Connection,
        route: &str,
        request_id: &str,
        body: &str,
    ) -> Value {
        let mut context = self.context(connection, route, "MESSAGE", request_id);
        context["messageId"] = moment::id().into();
        json!({ "requestContext": context, "body": body, "isBase64Encoded": false })
    }

    pub(super) fn disconnect(&self, connection: &Connection, host: &str, end: &End) -> Value {
        let id = moment::id();
        let mut context = self.context(connection, "$disconnect", "DISCONNECT", &id);
        context["disconnectStatusCode"] = end.code.into();
        context["disconnectReason"] = end.reason.as_str().into();
        json!({
            "headers": { "Host": host, "x-api-key": "", "X-Forwarded-For": "", "x-restapi": "" },
            "multiValueHeaders": {
                "Host": [host], "x-api-key": [""], "X-Forwarded-For": [""], "x-restapi": [""],
            },
            "requestContext": context,
            "isBase64Encoded": false,
        })
    }

    fn context(&self, connection: &Connection, route: &str, kind: &str, id: &str) -> Value {
        let now = Moment::now();
        let mut identity = json!({ "sourceIp": connection.source.to_string() });
        if let Some(agent) = &connection.user_agent {
            identity["userAgent"] = agent.as_str().into();
        }
        json!({
            "routeKey": route,
            "eventType": kind,
            "extendedRequestId": id,
            "requestTime": now.common_log(),
            "messageDirection": "IN",
            "stage": self.stage,
            "connectedAt": connection.connected_at.millis(),
            "requestTimeEpoch": now.millis(),
            "identity": identity,
            "requestId": id,
            "domainName": self.domain,
            "connectionId": connection.id,
            "apiId": "local",
        })
    }

    /// The handshake's, without those of the connection, and those that API Gateway adds.
    fn headers(
        &self,
        connection: &Connection,
        request: &Request<Incoming>,
    ) -> Vec<(String, Vec<String>)> {
        let mut lists: Vec<(String, Vec<String>)> = Vec::new();
        for name in request.headers().keys() {
            if *name != header::CONNECTION && *name != header::UPGRADE {
                let values = request.headers().get_all(name).iter();
                let values = values.map(|value| text(value).into_owned()).collect();
                lists.push((capitalized(name.as_str()), values));
            }
        }
        let added = [
            ("X-Amzn-Trace-Id", Moment::now().trace()),
            ("X-Forwarded-For", connection.source.to_string()),
            ("X-Forwarded-Port", self.port.to_string()),
            ("X-Forwarded-Proto", "http".to_owned()),
        ];
        for (name, value) in added {
            lists.retain(|(known, _)| known != name);
            lists.push((name.to_owned(), vec![value]));
        }
        lists
    }
}

/// `sec-websocket-key` -> `Sec-WebSocket-Key`: clients write them so, and API Gateway passes them as they are.
fn capitalized(name: &str) -> String {
    let parts = name.split('-').map(|part| match part.split_at_checked(1) {
        _ if part == "websocket" => "WebSocket".to_owned(),
        Some((first, rest)) => first.to_ascii_uppercase() + rest,
        None => String::new(),
    });
    parts.collect::<Vec<_>>().join("-")
}

fn as_object(lists: &[(String, Vec<String>)]) -> Map<String, Value> {
    let entries = lists.iter();
    entries
        .map(|(name, values)| (name.clone(), values.clone().into()))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use aws_lambda_events::apigw::ApiGatewayWebsocketProxyRequest;

    use super::*;

    #[test]
    fn events_read_as_awss_own_type() {
        let events = Events::new("prod", ([127, 0, 0, 1], 3001).into());
        let agent = Some("agent".to_owned());
        let (connection, _orders) = Connection::new(
            "id=".to_owned(),
            Moment::now(),
            Ipv4Addr::LOCALHOST.into(),
            agent,
        );
        let end = End::without_status();
        for (event, kind) in [
            (
                events.message(&connection, "$default", "r", "hi"),
                "MESSAGE",
            ),
            (events.disconnect(&connection, "h", &end), "DISCONNECT"),
        ] {
            let typed: ApiGatewayWebsocketProxyRequest =
                serde_json::from_value(event.clone()).expect("AWS's type");
            let context = typed.request_context;
            assert_eq!(context.event_type.as_deref(), Some(kind));
            assert_eq!(context.connection_id.as_deref(), Some("id="));
            assert_eq!(context.stage.as_deref(), Some("prod"));
            assert_eq!(event["requestContext"]["identity"]["userAgent"], "agent");
        }
        let event = events.disconnect(&connection, "h", &end);
        let context = &event["requestContext"];
        assert_eq!(context["disconnectStatusCode"], 1005);
        assert_eq!(
            context["disconnectReason"],
            "Client-side close frame status not set"
        );
    }

    #[test]
    fn header_names_are_written_as_clients_write_them() {
        for (name, written) in [
            ("sec-websocket-protocol", "Sec-WebSocket-Protocol"),
            ("host", "Host"),
            ("x--a", "X--A"),
        ] {
            assert_eq!(capitalized(name), written);
        }
    }
}
