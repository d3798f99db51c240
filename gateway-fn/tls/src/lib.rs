//! The certificate authorities that the Gateway's clients trust, and the connections of its HTTPS clients. It serves the
//! clients of gRPC Executors, of AWS, and of the issuers of tokens.

mod connector;

mod roots;

pub use hyper_rustls::HttpsConnector;

pub use self::{
    connector::{ConnectTimeout, ConnectorOptions, TimedOut, https_connector},
    roots::{RootsError, TlsRoots},
};
