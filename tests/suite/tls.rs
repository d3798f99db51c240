//! TLS: of the Gateway's listeners, and of connections to an Executor at `grpcs://`.

use std::{fs, path::PathBuf};

use flowgate::container::{Container, ContainerError};
use flowgate_config::{Config, Protocol};
use flowgate_tests::{client::post, flow::ServedGateway};
use gateway::gateway::Registry;
use gateway::status::ProcessInfo;
use serde_json::json;

/// A certificate for `localhost` and its key, in temporary files.
struct Certificate {
    directory: PathBuf,
}

impl Certificate {
    fn new(name: &str) -> Self {
        let generated =
            rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        let directory =
            std::env::temp_dir().join(format!("flowgate-{name}-{}", std::process::id()));
        fs::create_dir_all(&directory).expect("a directory");
        fs::write(directory.join("cert.pem"), generated.cert.pem()).expect("written");
        fs::write(
            directory.join("key.pem"),
            generated.signing_key.serialize_pem(),
        )
        .expect("written");
        Self { directory }
    }

    fn path(&self, file: &str) -> String {
        self.directory.join(file).display().to_string()
    }

    fn tls_settings(&self) -> String {
        format!(
            "ssl_certfile: '{}', ssl_keyfile: '{}'",
            self.path("cert.pem"),
            self.path("key.pem")
        )
    }
}

impl Drop for Certificate {
    fn drop(&mut self) {
        // Failing to delete temporary files is harmless.
        let _ = fs::remove_dir_all(&self.directory);
    }
}

#[tokio::test]
async fn a_gateway_behind_tls_serves_as_an_executor_of_another() {
    let certificate = Certificate::new("chain");
    let inner = ServedGateway::start(&format!(
        "jtype: Flow\ngateway: {{protocol: grpc, port: 0, {}}}\nexecutors:\n  - {{name: g, uses: 'inproc://greet'}}\n",
        certificate.tls_settings()
    ))
    .await;
    let yaml = format!(
        "jtype: Flow\ngateway: {{protocol: http, port: 0, retries: 0}}\n\
         executors:\n  - {{name: e, host: 'grpcs://{}'}}\n",
        inner.authority(Protocol::Grpc)
    );
    let roots = certificate.path("cert.pem");
    let env = move |name: &str| (name == "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH").then(|| roots.clone());
    let outer = ServedGateway::start_with_env(&yaml, &Registry::default(), &env).await;
    let response = post(
        &outer.authority(Protocol::Http),
        &json!({"data": [{"text": "x"}]}),
    )
    .await;
    assert_eq!(response.status, 200, "{:?}", response.body);
    assert_eq!(response.json()["data"][1]["text"], "hello from Flowgate");
    outer.stop().await;

    // Without the root certificate the Gateway rejects the Executor's certificate.
    let outer = ServedGateway::start(&yaml).await;
    assert_eq!(
        post(&outer.authority(Protocol::Http), &json!({"data": []}))
            .await
            .status,
        503
    );
    outer.stop().await;
    inner.stop().await;
}

#[tokio::test]
async fn an_unreadable_certificate_is_reported_with_its_path() {
    let yaml = "jtype: Flow\ngateway: {protocol: http, port: 0, ssl_certfile: /no/cert.pem, ssl_keyfile: /no/key.pem}\n";
    let loaded = Config::from_yaml(yaml, "test.yml", &|_| None).expect("a valid Flow");
    let error = Container::bind(&loaded.config, &Registry::default(), ProcessInfo::default())
        .await
        .expect_err("no such file");
    assert!(matches!(error, ContainerError::Tls(_)));
    assert!(error.to_string().contains("/no/cert.pem"), "{error}");
}
