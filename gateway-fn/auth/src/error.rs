//! Why a caller is rejected, and the response of each protocol to it. The texts say what is wrong, but nothing that
//! helps to guess a key.

use std::fmt;

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde_json::json;

/// Why a caller is rejected. Its `Display` text is for the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthError {
    /// The request has no credentials.
    MissingCredentials {
        /// The credentials that are accepted, and their headers.
        accepted: String,
    },
    /// The key or token is not valid.
    InvalidCredentials {
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The token is valid but lacks a scope.
    InsufficientScope {
        /// The missing scopes, separated by spaces.
        missing: String,
    },
    /// The token cannot be checked, because the issuer's keys are not available.
    KeysUnavailable,
}

impl AuthError {
    /// Returns the HTTP status, also used for a WebSocket handshake.
    #[must_use]
    pub const fn http_status(&self) -> StatusCode {
        match self {
            Self::MissingCredentials { .. } | Self::InvalidCredentials { .. } => {
                StatusCode::UNAUTHORIZED
            }
            Self::InsufficientScope { .. } => StatusCode::FORBIDDEN,
            Self::KeysUnavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// Returns the value of the header `WWW-Authenticate` (RFC 6750, section 3), or `None` if other credentials would
    /// not help. `scope` lists only the scopes that are missing.
    #[must_use]
    pub fn challenge(&self) -> Option<HeaderValue> {
        let realm = "Bearer realm=\"flowgate\"";
        let challenge = match self {
            Self::MissingCredentials { .. } => realm.to_owned(),
            Self::InvalidCredentials { reason } => {
                format!("{realm}, error=\"invalid_token\", error_description=\"{reason}\"")
            }
            Self::InsufficientScope { missing } => {
                format!("{realm}, error=\"insufficient_scope\", scope=\"{missing}\"")
            }
            Self::KeysUnavailable => return None,
        };
        HeaderValue::try_from(challenge).ok()
    }

    /// Returns the gRPC status.
    #[must_use]
    pub fn grpc_status(&self) -> tonic::Status {
        let code = match self {
            Self::MissingCredentials { .. } | Self::InvalidCredentials { .. } => {
                tonic::Code::Unauthenticated
            }
            Self::InsufficientScope { .. } => tonic::Code::PermissionDenied,
            Self::KeysUnavailable => tonic::Code::Unavailable,
        };
        tonic::Status::new(code, self.to_string())
    }

    /// Returns how specific this error is. A request whose credentials are all rejected gets the most specific of the
    /// errors, which is the one with the highest value.
    pub(super) const fn specificity(&self) -> u8 {
        match self {
            Self::MissingCredentials { .. } => 0,
            Self::InvalidCredentials { .. } => 1,
            Self::KeysUnavailable => 2,
            Self::InsufficientScope { .. } => 3,
        }
    }
}

impl fmt::Display for AuthError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MissingCredentials { accepted } => {
                write!(f, "missing credentials: send {accepted}")
            }
            Self::InvalidCredentials { reason } => f.write_str(reason),
            Self::InsufficientScope { missing } => {
                write!(f, "the token lacks required scopes: {missing}")
            }
            Self::KeysUnavailable => f.write_str(
                "the token cannot be verified now: the keys of its issuer are not available",
            ),
        }
    }
}

impl IntoResponse for AuthError {
    fn into_response(self) -> Response {
        let body = json!({ "detail": self.to_string() }).to_string();
        let content_type = [(header::CONTENT_TYPE, "application/json")];
        let mut response = (self.http_status(), content_type, body).into_response();
        if let Some(challenge) = self.challenge() {
            let headers = response.headers_mut();
            headers.insert(header::WWW_AUTHENTICATE, challenge);
        }
        response
    }
}
