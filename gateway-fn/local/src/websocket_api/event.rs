//! Builds the events of a WebSocket. Their format follows recorded events (fixtures of aws_lambda_events;
//! aws/chalice#2060): a message's event has no headers, and the event of `$disconnect` has four, three of them empty.

use flowgate_server::http1::RequestBody;
use http::{Request, header};
use serde_json::{Map, Value, json};
use time::UtcDateTime;

use super::{close::Close, connections::Connection};
use crate::{
    aws::{self, new_id},
    decode::{header_text, query_lists, query_parameters},
    stage::Stage,
};

pub(super) fn connect(
    stage: &Stage,
    connection: &Connection,
    request_id: &str,
    request: &Request<RequestBody>,
) -> Value {
    let headers = headers(stage, connection, request);
    let last_values = headers.iter().map(|(name, values)| {
        let value = values.last().cloned().unwrap_or_default();
        (name.clone(), Value::from(value))
    });
    let context = request_context(stage, connection, "$connect", "CONNECT", request_id);
    let mut event = json!({
        "headers": last_values.collect::<Map<_, _>>(),
        "multiValueHeaders": to_object(&headers),
        "requestContext": context,
        "isBase64Encoded": false,
    });
    let query = request.uri().query().unwrap_or_default();
    let parameters = query_lists(query);
    if !parameters.is_empty() {
        event["multiValueQueryStringParameters"] = to_object(&parameters).into();
        event["queryStringParameters"] = query_parameters(query).into();
    }
    event
}

pub(super) fn message(
    stage: &Stage,
    connection: &Connection,
    route: &str,
    request_id: &str,
    body: &str,
) -> Value {
    let mut context = request_context(stage, connection, route, "MESSAGE", request_id);
    context["messageId"] = new_id().into();
    json!({ "requestContext": context, "body": body, "isBase64Encoded": false })
}

pub(super) fn disconnect(
    stage: &Stage,
    connection: &Connection,
    host: &str,
    close: &Close,
) -> Value {
    let request_id = new_id();
    let mut context = request_context(stage, connection, "$disconnect", "DISCONNECT", &request_id);
    context["disconnectStatusCode"] = close.code.into();
    context["disconnectReason"] = close.reason.as_str().into();
    json!({
        "headers": { "Host": host, "x-api-key": "", "X-Forwarded-For": "", "x-restapi": "" },
        "multiValueHeaders": {
            "Host": [host], "x-api-key": [""], "X-Forwarded-For": [""], "x-restapi": [""],
        },
        "requestContext": context,
        "isBase64Encoded": false,
    })
}

fn request_context(
    stage: &Stage,
    connection: &Connection,
    route: &str,
    event_type: &str,
    request_id: &str,
) -> Value {
    let now = UtcDateTime::now();
    let mut identity = json!({ "sourceIp": connection.source_ip.to_string() });
    if let Some(user_agent) = &connection.user_agent {
        identity["userAgent"] = user_agent.as_str().into();
    }
    json!({
        "routeKey": route,
        "eventType": event_type,
        "extendedRequestId": request_id,
        "requestTime": aws::common_log_time(now),
        "messageDirection": "IN",
        "stage": stage.name,
        "connectedAt": aws::epoch_millis(connection.connected_at),
        "requestTimeEpoch": aws::epoch_millis(now),
        "identity": identity,
        "requestId": request_id,
        "domainName": stage.address.to_string(),
        "connectionId": connection.id,
        "apiId": "local",
    })
}

/// Returns the headers of the handshake without the connection's headers, and with the headers that API Gateway adds.
fn headers(
    stage: &Stage,
    connection: &Connection,
    request: &Request<RequestBody>,
) -> Vec<(String, Vec<String>)> {
    let received = request.headers();
    let mut headers: Vec<(String, Vec<String>)> = Vec::new();
    for name in received.keys() {
        if *name != header::CONNECTION && *name != header::UPGRADE {
            let values = received.get_all(name).iter();
            let values = values.map(|value| header_text(value).into_owned());
            headers.push((capitalize(name.as_str()), values.collect()));
        }
    }
    let added = [
        ("X-Amzn-Trace-Id", aws::new_trace(UtcDateTime::now())),
        ("X-Forwarded-For", connection.source_ip.to_string()),
        ("X-Forwarded-Port", stage.address.port().to_string()),
        ("X-Forwarded-Proto", "http".to_owned()),
    ];
    for (name, value) in added {
        headers.retain(|(known, _)| known != name);
        headers.push((name.to_owned(), vec![value]));
    }
    headers
}

/// Returns a header name as clients usually write it, such as `Sec-WebSocket-Key`: API Gateway passes names unchanged,
/// but the HTTP server has lowered their case.
fn capitalize(name: &str) -> String {
    let parts = name.split('-').map(|part| match part.split_at_checked(1) {
        _ if part == "websocket" => "WebSocket".to_owned(),
        Some((first, rest)) => first.to_ascii_uppercase() + rest,
        None => String::new(),
    });
    parts.collect::<Vec<_>>().join("-")
}

fn to_object(lists: &[(String, Vec<String>)]) -> Map<String, Value> {
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
    fn events_deserialize_as_the_type_of_aws_lambda_events() {
        let stage = Stage::new("prod", ([127, 0, 0, 1], 3001).into());
        let user_agent = Some("agent".to_owned());
        let (connection, _commands) =
            Connection::new("id=", Ipv4Addr::LOCALHOST.into(), user_agent);
        let close = Close::by_client(None);
        for (event, event_type) in [
            (
                message(&stage, &connection, "$default", "r", "hi"),
                "MESSAGE",
            ),
            (disconnect(&stage, &connection, "h", &close), "DISCONNECT"),
        ] {
            let typed: ApiGatewayWebsocketProxyRequest =
                serde_json::from_value(event.clone()).expect("AWS's type");
            let context = typed.request_context;
            assert_eq!(context.event_type.as_deref(), Some(event_type));
            assert_eq!(context.connection_id.as_deref(), Some("id="));
            assert_eq!(context.stage.as_deref(), Some("prod"));
            assert_eq!(event["requestContext"]["identity"]["userAgent"], "agent");
        }
        let event = disconnect(&stage, &connection, "h", &close);
        let context = &event["requestContext"];
        assert_eq!(context["disconnectStatusCode"], 1005);
        assert_eq!(
            context["disconnectReason"],
            "Client-side close frame status not set"
        );
    }

    #[test]
    fn header_names_are_capitalized_as_clients_write_them() {
        for (name, capitalized) in [
            ("sec-websocket-protocol", "Sec-WebSocket-Protocol"),
            ("host", "Host"),
            ("x--a", "X--A"),
        ] {
            assert_eq!(capitalize(name), capitalized);
        }
    }
}
