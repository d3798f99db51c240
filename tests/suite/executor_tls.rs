//! TLS to Executors at `grpcs://`: which certificates are accepted, and how the client and the log learn of others.

use std::{fs, net::SocketAddr, path::PathBuf};

use flowgate_config::Protocol;
use flowgate_tests::{client::post, flow::ServedGateway};
use gateway::gateway::Registry;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, KeyPair, date_time_ymd};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

/// A self-signed certificate and its key in temporary files.
struct Certificate(PathBuf);

impl Certificate {
    fn new(name: &str, host: &str, change: impl FnOnce(&mut CertificateParams)) -> Self {
        let mut params = CertificateParams::new([host.to_owned()]).expect("a name");
        params.distinguished_name.push(DnType::CommonName, name);
        change(&mut params);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate");
        let directory =
            std::env::temp_dir().join(format!("flowgate-{name}-{}", std::process::id()));
        fs::create_dir_all(&directory).expect("a directory");
        fs::write(directory.join("cert.pem"), certificate.pem()).expect("written");
        fs::write(directory.join("key.pem"), key.serialize_pem()).expect("written");
        Self(directory)
    }

    fn path(&self, file: &str) -> String {
        self.0.join(file).display().to_string()
    }

    /// Serves an Executor with this certificate.
    async fn serve(&self) -> ServedGateway {
        ServedGateway::start(&format!(
            "jtype: Flow\ngateway: {{protocol: grpc, port: 0, ssl_certfile: '{}', ssl_keyfile: '{}'}}\n\
             executors:\n  - {{name: g, uses: 'inproc://greet'}}\n",
            self.path("cert.pem"),
            self.path("key.pem")
        ))
        .await
    }
}

impl Drop for Certificate {
    fn drop(&mut self) {
        // Failing to delete temporary files is harmless.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Sends a request through a Gateway to the Executor at `address`, and returns the HTTP status and the text of the status.
async fn call(address: &str, roots: Option<String>) -> (u16, String) {
    let yaml = format!(
        "jtype: Flow\ngateway: {{protocol: http, port: 0, retries: 0}}\n\
         executors:\n  - {{name: e, host: '{address}'}}\n"
    );
    let env = move |name: &str| {
        let is_roots = name == "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH";
        roots.clone().filter(|_| is_roots)
    };
    let gateway = ServedGateway::start_with_env(&yaml, &Registry::default(), &env).await;
    let response = post(&gateway.authority(Protocol::Http), &json!({"data": []})).await;
    let description = response.json()["header"]["status"]["description"].clone();
    gateway.stop().await;
    let text = description.as_str().unwrap_or_default().to_owned();
    (response.status, text)
}

async fn call_over_tls(executor: &ServedGateway, roots: &Certificate) -> (u16, String) {
    let address = format!("grpcs://{}", executor.authority(Protocol::Grpc));
    call(&address, Some(roots.path("cert.pem"))).await
}

#[tokio::test]
async fn a_trusted_certificate_may_be_its_own_authority() {
    // `openssl req -x509` makes such a certificate by default.
    let certificate = Certificate::new("authority", "localhost", |params| {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    });
    let executor = certificate.serve().await;
    let (status, text) = call_over_tls(&executor, &certificate).await;
    assert_eq!(status, 200, "{text}");
    executor.stop().await;
}

#[tokio::test]
async fn the_reason_why_a_certificate_is_refused_is_reported() {
    let authority = |params: &mut CertificateParams| {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    };
    let expired = |params: &mut CertificateParams| {
        authority(params);
        params.not_after = date_time_ymd(2020, 1, 1);
    };
    let trusted = Certificate::new("trusted", "localhost", |_| {});
    let cases = [
        (
            Certificate::new("expired", "localhost", expired),
            true,
            "expired",
        ),
        (
            Certificate::new("name", "example.org", authority),
            true,
            "not valid for name",
        ),
        (
            Certificate::new("unknown", "localhost", |_| {}),
            false,
            "UnknownIssuer",
        ),
    ];
    for (certificate, is_trusted, reason) in cases {
        let executor = certificate.serve().await;
        let roots = if is_trusted { &certificate } else { &trusted };
        let (status, text) = call_over_tls(&executor, roots).await;
        assert_eq!(status, 503);
        assert!(text.contains(reason), "{reason}: {text}");
        executor.stop().await;
    }
}

#[tokio::test]
async fn tls_and_plain_text_do_not_go_together() {
    let certificate = Certificate::new("mixed", "localhost", |_| {});
    let encrypted = certificate.serve().await;
    let address = format!("grpc://{}", encrypted.authority(Protocol::Grpc));
    let (status, text) = call(&address, None).await;
    assert_eq!(status, 503);
    assert!(
        text.contains("does not speak gRPC") || text.contains("closed the connection"),
        "{text}"
    );
    encrypted.stop().await;

    let plain = ServedGateway::start("jtype: Flow\ngateway: {protocol: grpc, port: 0}\n").await;
    let (status, text) = call_over_tls(&plain, &certificate).await;
    assert_eq!(status, 503);
    assert!(text.contains("TLS failed"), "{text}");
    plain.stop().await;
}

#[tokio::test]
async fn a_server_of_http1_is_not_an_executor() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address: SocketAddr = listener.local_addr().expect("an address");
    let server = tokio::spawn(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            let _ = connection.read(&mut [0; 64]).await;
            let answer = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n";
            let _ = connection.write_all(answer).await;
        }
    });
    let (status, text) = call(&format!("grpc://{address}"), None).await;
    assert_eq!(status, 503);
    assert!(text.contains("does not speak gRPC"), "{text}");
    server.abort();
}
