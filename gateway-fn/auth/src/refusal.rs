//! Why a caller is turned away -> the answer of each protocol. The texts say what is missing, never how near a key was.

use std::fmt;

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde_json::json;

/// Why a caller is turned away. Displayed as the text for the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Nothing that could open is presented.
    Missing {
        /// What would open.
        wanted: String,
    },
    /// What is presented does not open.
    Invalid {
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The token is good, but it does not allow this.
    Forbidden {
        /// The scopes that it lacks.
        scopes: String,
    },
    /// The issuer's keys cannot be had, so that nobody knows.
    Unavailable,
}

impl Refusal {
    /// The HTTP status, of a WebSocket's handshake as well.
    #[must_use]
    pub const fn http_status(&self) -> StatusCode {
        match self {
            Self::Missing { .. } | Self::Invalid { .. } => StatusCode::UNAUTHORIZED,
            Self::Forbidden { .. } => StatusCode::FORBIDDEN,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// The header `WWW-Authenticate` (RFC 6750, section 3).
    #[must_use]
    pub fn challenge(&self) -> Option<HeaderValue> {
        let realm = "Bearer realm=\"flowgate\"";
        let challenge = match self {
            Self::Missing { .. } => realm.to_owned(),
            Self::Invalid { reason } => {
                format!("{realm}, error=\"invalid_token\", error_description=\"{reason}\"")
            }
            Self::Forbidden { scopes } => {
                format!("{realm}, error=\"insufficient_scope\", scope=\"{scopes}\"")
            }
            Self::Unavailable => return None,
        };
        HeaderValue::try_from(challenge).ok()
    }

    /// The gRPC status.
    #[must_use]
    pub fn grpc_status(&self) -> tonic::Status {
        let code = match self {
            Self::Missing { .. } | Self::Invalid { .. } => tonic::Code::Unauthenticated,
            Self::Forbidden { .. } => tonic::Code::PermissionDenied,
            Self::Unavailable => tonic::Code::Unavailable,
        };
        tonic::Status::new(code, self.to_string())
    }

    /// Of several credentials, the one whose refusal says most.
    pub(super) const fn weight(&self) -> u8 {
        match self {
            Self::Missing { .. } => 0,
            Self::Invalid { .. } => 1,
            Self::Unavailable => 2,
            Self::Forbidden { .. } => 3,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { wanted } => write!(f, "credentials are missing: {wanted}"),
            Self::Invalid { reason } => f.write_str(reason),
            Self::Forbidden { scopes } => write!(f, "the token lacks the scope {scopes}"),
            Self::Unavailable => f.write_str(
                "the token cannot be verified now: the keys of its issuer cannot be had",
            ),
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = json!({ "detail": self.to_string() }).to_string();
        let kind = [(header::CONTENT_TYPE, "application/json")];
        let mut response = (self.http_status(), kind, body).into_response();
        if let Some(challenge) = self.challenge() {
            let headers = response.headers_mut();
            headers.insert(header::WWW_AUTHENTICATE, challenge);
        }
        response
    }
}
