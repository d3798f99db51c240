//! Tests TLS to clients: the forms of keys, faults of files, and certificates that change while the Gateway serves.

use std::{io, sync::Arc};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{
    ClientConfig, ProtocolVersion, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName},
};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{Command, Served, errors, file, flowgate};

/// A certificate for `localhost`.
fn certificate(key: &KeyPair) -> rcgen::Certificate {
    let parameters = CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
    parameters.self_signed(key).expect("a certificate")
}

fn new_key() -> KeyPair {
    KeyPair::generate().expect("a key")
}

/// The RSA key that the files in `tests/tls` contain.
fn rsa_key() -> KeyPair {
    KeyPair::from_pem(include_str!("../tls/rsa.key")).expect("a key")
}

fn encrypted_key(name: &str) -> String {
    format!("{}/tests/tls/{name}.key", env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn encrypted_keys_from_uvicorn_kwargs_serve_every_protocol() {
    let certificate = file("encrypted.pem", &certificate(&rsa_key()).pem());
    for key in ["pbes2-aes256-sha256", "older-aes256"] {
        let served = Served::start_with(
            &format!(
                "jtype: Flow\ngateway:\n  protocol: [grpc, http, websocket]\n  port: [0, 0, 0]\n  \
                 uvicorn_kwargs: {{ssl_certfile: '{}', ssl_keyfile: '{}', ssl_keyfile_password: '${{{{ ENV.KEY_PASSWORD }}}}'}}\n",
                certificate.display(),
                encrypted_key(key),
            ),
            &[("KEY_PASSWORD", "swordfish")],
        );
        assert_eq!(served.urls.len(), 3);
        for (url, scheme) in served.urls.iter().zip(["grpcs", "https", "wss"]) {
            assert!(url.starts_with(&format!("{scheme}://")), "{url}");
            let pinged = Command::new(env!("CARGO_BIN_EXE_flowgate"))
                .args(["ping", "flow", url])
                .env("GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", &certificate)
                .output()
                .expect("it runs");
            assert_eq!(pinged.status.code(), Some(0), "{url}: {}", errors(&pinged));
        }
    }
}

/// Asserts that a Flow with this certificate and key is refused with an error at `line` about the setting `name`.
fn assert_fault(cert: &str, key: &str, more: &str, (line, name, message): (usize, &str, &str)) {
    let flow =
        format!("jtype: Flow\ngateway:\n  ssl_certfile: '{cert}'\n  ssl_keyfile: '{key}'{more}\n");
    let flow = file("tls_fault.yml", &flow);
    let flow = flow.to_str().expect("UTF-8");
    for command in ["check", "serve"] {
        let output = flowgate(&[command, flow]);
        let lines = errors(&output);
        assert_eq!(output.status.code(), Some(64), "{command}: {lines}");
        assert_eq!(lines.lines().count(), 1, "{lines}");
        assert!(
            lines.contains(&format!("{flow}:{line}: gateway.{name}: found ")),
            "{lines}"
        );
        assert!(lines.contains(message), "{message} in {lines}");
        assert!(!lines.to_lowercase().contains("swordfish"), "{lines}");
    }
}

/// The path of a new file with this text.
fn path(name: &str, text: &str) -> String {
    file(name, text).display().to_string()
}

#[test]
fn faults_of_the_files_are_errors_of_the_flow() {
    let (key, other) = (new_key(), new_key());
    let good = path("good.pem", &certificate(&key).pem());
    let good_key = path("good.key", &key.serialize_pem());
    faults_of_certificate_and_key(&good, &good_key, &other);
    let reversed = [certificate(&other).pem(), certificate(&key).pem()].concat();
    let reversed = path("reversed.pem", &reversed);
    let fault = (3, "ssl_certfile", "it as the first one");
    assert_fault(&reversed, &good_key, "", fault);
    faults_of_other_settings(&good, &good_key);
}

fn faults_of_certificate_and_key(good: &str, good_key: &str, other: &KeyPair) {
    let other_key = path("other.key", &other.serialize_pem());
    let empty = path("empty.pem", " \n");
    let text = path("text.pem", "no PEM at all\n");
    let mismatch = "that does not belong to the certificate in";
    for (cert, message) in [
        ("/no/cert.pem", "/no/cert.pem"),
        (good_key, "found a private key in"),
        (&empty, "found an empty file"),
        (&text, "not PEM"),
    ] {
        assert_fault(cert, good_key, "", (3, "ssl_certfile", message));
    }
    for (key, message) in [
        ("/no/key.pem", "/no/key.pem"),
        (&other_key, mismatch),
        (good, "found a certificate in"),
        (&empty, "found an empty file"),
    ] {
        assert_fault(good, key, "", (4, "ssl_keyfile", message));
    }
}

fn faults_of_other_settings(good: &str, good_key: &str) {
    let encrypted = encrypted_key("older-aes256");
    let pbes1 = encrypted_key("pbes1-3des");
    let options = "\n  uvicorn_kwargs:\n    ";
    let wrong = format!("{options}ssl_keyfile_password: Swordfish");
    let ciphers = format!("{options}ssl_ciphers: AES256-SHA");
    let clients = format!("{options}ssl_cert_reqs: 2\n    ssl_ca_certs: '{good_key}'");
    let fault = (4, "ssl_keyfile", "found an encrypted private key");
    assert_fault(good, &encrypted, "", fault);
    let name = "uvicorn_kwargs.ssl_keyfile_password";
    assert_fault(good, &encrypted, &wrong, (6, name, "does not decrypt"));
    let fault = (4, "ssl_keyfile", "openssl pkcs8 -topk8");
    assert_fault(good, &pbes1, &wrong, fault);
    let fault = (6, "uvicorn_kwargs.ssl_ciphers", "no cipher suite");
    assert_fault(good, good_key, &ciphers, fault);
    let fault = (7, "uvicorn_kwargs.ssl_ca_certs", "found a private key in");
    assert_fault(good, good_key, &clients, fault);
}

#[test]
fn check_warns_of_a_certificate_that_expires() {
    let key = new_key();
    let mut parameters = CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
    parameters.not_after = rcgen::date_time_ymd(2001, 2, 3);
    let expired = parameters.self_signed(&key).expect("a certificate");
    let (certificate, key) = (
        file("expired.pem", &expired.pem()),
        file("expired.key", &key.serialize_pem()),
    );
    let flow = format!(
        "jtype: Flow\ngateway:\n  ssl_certfile: {}\n  ssl_keyfile: {}\n",
        certificate.display(),
        key.display()
    );
    let flow = file("expired.yml", &flow);
    let flow = flow.to_str().expect("UTF-8");
    let output = flowgate(&["check", flow]);
    assert_eq!(output.status.code(), Some(0));
    let warning = format!(
        "warning: {flow}:3: gateway.ssl_certfile: found a certificate that expired at 2001-02-03"
    );
    assert!(errors(&output).contains(&warning), "{}", errors(&output));
    assert_eq!(
        flowgate(&["check", "--strict", flow]).status.code(),
        Some(64)
    );
}

/// How a client connects.
#[derive(Default)]
struct Client {
    certificate: Option<(Vec<CertificateDer<'static>>, Vec<u8>)>,
}

type Connection = BufReader<TlsStream<TcpStream>>;

impl Client {
    /// Connects to a Gateway that has to have this certificate.
    async fn connect(
        &self,
        url: &str,
        trusted: &CertificateDer<'static>,
    ) -> io::Result<Connection> {
        let mut roots = RootCertStore::empty();
        roots.add(trusted.clone()).expect("a valid certificate");
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots);
        let config = match self.certificate.clone() {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => builder
                .with_client_auth_cert(chain, PrivatePkcs8KeyDer::from(key).into())
                .expect("a certificate with its key"),
        };
        let address = url.replace("https://", "");
        let stream = TcpStream::connect(address).await?;
        let name = ServerName::try_from("localhost").expect("a name");
        let stream = TlsConnector::from(Arc::new(config))
            .connect(name, stream)
            .await?;
        Ok(BufReader::new(stream))
    }
}

/// Requests `/` and returns the status line.
async fn get(connection: &mut Connection) -> io::Result<String> {
    connection
        .write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n")
        .await?;
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if connection.read_line(&mut head).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    let length = head.to_lowercase();
    let (_, length) = length.split_once("content-length: ").expect("a body");
    let length = length.lines().next().and_then(|length| length.parse().ok());
    let mut body = vec![0; length.expect("a number")];
    connection.read_exact(&mut body).await?;
    Ok(head.lines().next().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn sighup_reloads_certificates_without_dropping_a_connection() {
    let write = |certificate: &str, key: &KeyPair| {
        file("hup.key", &key.serialize_pem());
        file("hup.pem", certificate)
    };
    let (first_key, second_key) = (new_key(), new_key());
    let (first, second) = (certificate(&first_key), certificate(&second_key));
    let path = write(&first.pem(), &first_key);
    let mut served = Served::start(&format!(
        "jtype: Flow\ngateway: {{protocol: http, port: 0, ssl_certfile: '{}', ssl_keyfile: '{}'}}\n",
        path.display(),
        path.with_extension("key").display()
    ));
    let url = served.urls[0].clone();
    let client = Client::default();
    let mut open = client
        .connect(&url, first.der())
        .await
        .expect("the first certificate");
    assert_eq!(get(&mut open).await.expect("an answer"), "HTTP/1.1 200 OK");

    write(&second.pem(), &second_key);
    served.signal("HUP");
    served.wait_for("certificate reloaded");
    let mut new = client
        .connect(&url, second.der())
        .await
        .expect("the second certificate");
    assert_eq!(get(&mut new).await.expect("an answer"), "HTTP/1.1 200 OK");
    assert!(client.connect(&url, first.der()).await.is_err());
    assert_eq!(get(&mut open).await.expect("an answer"), "HTTP/1.1 200 OK");

    write("broken", &first_key);
    served.signal("HUP");
    served.wait_for("certificate not reloaded");
    let mut third = client
        .connect(&url, second.der())
        .await
        .expect("the second certificate");
    for connection in [&mut open, &mut new, &mut third] {
        assert_eq!(get(connection).await.expect("an answer"), "HTTP/1.1 200 OK");
    }
    served.signal("TERM");
    assert_eq!(served.exit_status().code(), Some(0));
}

#[test]
fn sighup_does_not_end_a_gateway_without_tls() {
    let mut served = Served::start("jtype: Flow\ngateway: {protocol: http, port: 0}\n");
    served.signal("HUP");
    served.wait_for("no certificate to reload");
    let pinged = flowgate(&["ping", "gateway", &served.urls[0]]);
    assert_eq!(pinged.status.code(), Some(0), "{}", errors(&pinged));
    served.signal("TERM");
    assert_eq!(served.exit_status().code(), Some(0));
}

#[tokio::test]
async fn certificates_of_clients_are_verified() {
    let mut parameters = CertificateParams::default();
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(parameters, new_key()).expect("an issuer");
    let client_key = new_key();
    let parameters = CertificateParams::new(vec!["client".to_owned()]).expect("a name");
    let issued = parameters
        .signed_by(&client_key, &issuer)
        .expect("a certificate");
    let stranger = certificate(&client_key);
    let with = |certificate: &rcgen::Certificate| Client {
        certificate: Some((vec![certificate.der().clone()], client_key.serialize_der())),
    };

    let server_key = new_key();
    let server = certificate(&server_key);
    let issuers = file("issuers.pem", &issuer.pem());
    let (certificate, key) = (
        file("mutual.pem", &server.pem()),
        file("mutual.key", &server_key.serialize_pem()),
    );
    for (requirement, status_without) in [(1, Some("HTTP/1.1 200 OK")), (2, None)] {
        let served = Served::start(&format!(
            "jtype: Flow\ngateway:\n  protocol: http\n  port: 0\n  uvicorn_kwargs:\n    ssl_certfile: '{}'\n    \
             ssl_keyfile: '{}'\n    ssl_ca_certs: '{}'\n    ssl_cert_reqs: {requirement}\n    ssl_version: 5\n",
            certificate.display(),
            key.display(),
            issuers.display(),
        ));
        let status = async |client: &Client| {
            let mut connection = client.connect(&served.urls[0], server.der()).await.ok()?;
            let version = connection.get_ref().get_ref().1.protocol_version();
            assert_eq!(version, Some(ProtocolVersion::TLSv1_2));
            get(&mut connection).await.ok()
        };
        assert_eq!(
            status(&with(&issued)).await.as_deref(),
            Some("HTTP/1.1 200 OK")
        );
        assert_eq!(status(&with(&stranger)).await, None);
        assert_eq!(status(&Client::default()).await.as_deref(), status_without);
    }
}
