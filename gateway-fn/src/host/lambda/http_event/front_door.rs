//! Builds a request by `lambda_http`, and keeps clear of its weaknesses (1.3.2). This is the only module that knows them:
//!
//! - It guesses the kind of an event by the first type that happens to parse, and one header or key that is null fails all of
//!   them. Here the kind is known by its tags, and the event of that type is built of values that have been read leniently.
//! - It panics at a `Host`, a path or a query that is not valid in a URI, and at a body that is not base64. It gets none of
//!   them: the URI and the body, which are valid, are set afterwards.
//! - It puts the stage before the path, and normalizes the path as a browser does (`/a/../b`). For the same reason it does
//!   neither here.
//! - It has no conversion for version 1 of VPC Lattice's events, whose parts make a request of version 2 without a context.

use http::HeaderMap;
use lambda_http::{
    Request, RequestExt as _,
    aws_lambda_events::{
        alb::AlbTargetGroupRequest,
        apigw::{ApiGatewayProxyRequest, ApiGatewayV2httpRequest},
        query_map::QueryMap,
        vpc_lattice::VpcLatticeRequestV2,
    },
    request::{LambdaRequest, RequestContext},
};
use serde_json::{Map, Value, json};

use super::RequestParts;
use crate::host::lambda::event::{Event, EventSource};

/// Builds the request of an HTTP event.
pub(super) fn build(event: &mut Event<'_>, parts: RequestParts, headers: HeaderMap) -> Request {
    let RequestParts {
        method,
        uri,
        raw_path,
        prefix,
        body,
        path_parameters,
        stage_variables,
    } = parts;
    let typed = match event.source {
        EventSource::LoadBalancer => LambdaRequest::Alb(AlbTargetGroupRequest::default()),
        EventSource::VpcLatticeV1 | EventSource::VpcLatticeV2 => {
            LambdaRequest::VpcLatticeV2(VpcLatticeRequestV2::default())
        }
        EventSource::HttpApi | EventSource::FunctionUrl { .. } => {
            let mut typed = ApiGatewayV2httpRequest::default();
            typed.path_parameters = path_parameters;
            typed.stage_variables = stage_variables;
            LambdaRequest::ApiGatewayV2(typed)
        }
        _ => {
            let mut typed = ApiGatewayProxyRequest::default();
            typed.path_parameters = path_parameters;
            typed.stage_variables = stage_variables;
            LambdaRequest::ApiGatewayV1(typed)
        }
    };
    let mut request = Request::from(typed);
    let query = uri.query().map(|query| query.parse::<QueryMap>());
    if let Some(Ok(query)) = query {
        request = request.with_query_string_parameters(query);
    }
    match context(event.source, std::mem::take(&mut event.context)) {
        Some(context) => request = request.with_request_context(context),
        // Not the empty one of the typed event.
        None => drop(request.extensions_mut().remove::<RequestContext>()),
    }
    request = request.with_raw_http_path(raw_path);
    request.extensions_mut().insert(prefix);
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    *request.headers_mut() = headers;
    *request.body_mut() = body;
    request
}

/// Reads the request context. One that `lambda_http`'s type refuses is left out: only handlers that ask for it need it.
fn context(source: EventSource, mut context: Map<String, Value>) -> Option<RequestContext> {
    let read = match source {
        EventSource::LoadBalancer => from_map(context).map(RequestContext::Alb),
        EventSource::VpcLatticeV1 => return None,
        EventSource::VpcLatticeV2 => from_map(context).map(RequestContext::VpcLattice),
        EventSource::HttpApi | EventSource::FunctionUrl { .. } => {
            from_map(context).map(RequestContext::ApiGatewayV2)
        }
        _ => {
            // Its type requires the method, which emulators leave out.
            context.entry("httpMethod").or_insert_with(|| json!("GET"));
            from_map(context).map(RequestContext::ApiGatewayV1)
        }
    };
    let category = |error: &serde_json::Error| error.classify();
    read.inspect_err(
        |error| tracing::debug!(category = ?category(error), "unusual request context, left out"),
    )
    .ok()
}

fn from_map<T: serde::de::DeserializeOwned>(map: Map<String, Value>) -> serde_json::Result<T> {
    serde_json::from_value(Value::Object(map))
}
