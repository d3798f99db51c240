//! TLS to clients, in the keys of the Gateway and in `uvicorn_kwargs`.

use super::*;
use crate::{GatewayArgs, TlsConfig, TlsVersions, print::normalized_yaml};

fn env(name: &str) -> Option<String> {
    match name {
        "PASSWORD" => Some("1234:swordfish".to_owned()),
        "CERT" => Some("/secret/place.pem".to_owned()),
        _ => None,
    }
}

/// Returns the TLS settings of a Flow whose `gateway` has these keys in flow style.
#[track_caller]
fn tls(keys: &str) -> Option<TlsConfig> {
    let yaml = format!("jtype: Flow\ngateway: {{{keys}}}\n");
    match Config::from_yaml(&yaml, "flow.yml", &env) {
        Ok(loaded) => {
            assert_eq!(loaded.warnings, [], "{keys}");
            loaded.config.gateway.tls
        }
        Err(errors) => panic!("{keys}\n{errors}"),
    }
}

fn paths(tls: &TlsConfig) -> (String, String) {
    let path = |path: &crate::Placed<std::path::PathBuf>| path.value().display().to_string();
    (path(&tls.certfile), path(&tls.keyfile))
}

fn password(tls: &TlsConfig) -> Option<&str> {
    tls.keyfile_password
        .as_ref()
        .map(|password| password.value().expose())
}

#[test]
fn certificates_are_taken_from_uvicorn_kwargs() {
    let both = ("c.pem".to_owned(), "k.pem".to_owned());
    for keys in [
        "ssl_certfile: c.pem, ssl_keyfile: k.pem",
        "uvicorn_kwargs: {ssl_certfile: c.pem, ssl_keyfile: k.pem}",
        "uvicorn_kwargs: {ssl-certfile: c.pem}, ssl_keyfile: k.pem",
        "ssl_certfile: c.pem, uvicorn_kwargs: {ssl_certfile: c.pem, ssl_keyfile: k.pem, ssl_version: 17}",
        "uvicorn_kwargs: ['ssl_certfile:c.pem', 'ssl_keyfile:k.pem']",
        "uvicorn_kwargs: '{\"ssl_certfile\": \"c.pem\", \"ssl_keyfile\": \"k.pem\"}'",
        "uvicorn_kwargs: {ssl_certfile: c.pem, ssl_keyfile: k.pem, ssl_cert_reqs: 0, ssl_ca_certs: null}",
    ] {
        let tls = tls(keys).expect(keys);
        assert_eq!(paths(&tls), both, "{keys}");
        assert_eq!((password(&tls), tls.versions), (None, TlsVersions::All));
        assert_eq!(tls.client_certificates, None);
    }
    let combined =
        tls("uvicorn_kwargs: {ssl_certfile: both.pem}").expect("uvicorn finds the key in it");
    assert_eq!(
        paths(&combined),
        ("both.pem".to_owned(), "both.pem".to_owned())
    );
    assert_eq!(tls("uvicorn_kwargs: {}"), None);
    assert_eq!(tls("uvicorn_kwargs: '{}'"), None);
}

#[test]
fn arguments_have_them_too() {
    let arguments = [
        "--uvicorn-kwargs",
        "ssl_certfile:c.pem",
        "ssl_keyfile:k.pem",
        "ssl_keyfile_password:a:b",
        "--graph-description",
        "{}",
    ];
    let args = GatewayArgs::parse(&arguments.map(str::to_owned)).expect("valid arguments");
    let loaded = Config::from_gateway_args(&args, &env).expect("a valid Flow");
    let tls = loaded.config.gateway.tls.expect("TLS");
    assert_eq!(paths(&tls), ("c.pem".to_owned(), "k.pem".to_owned()));
    assert_eq!(password(&tls), Some("a:b"));
}

#[test]
fn passwords_come_from_the_environment_and_are_not_shown() {
    for keys in [
        "uvicorn_kwargs: {ssl_certfile: c, ssl_keyfile: k, ssl_keyfile_password: '${{ ENV.PASSWORD }}'}",
        "ssl_certfile: c, ssl_keyfile: k, uvicorn_kwargs: {ssl_keyfile_password: $PASSWORD}",
        "uvicorn_kwargs: ['ssl_certfile:c', 'ssl_keyfile:k', 'ssl_keyfile_password:${{ ENV.PASSWORD }}']",
    ] {
        let tls = tls(keys).expect(keys);
        assert_eq!(password(&tls), Some("1234:swordfish"), "{keys}");
        assert!(!format!("{tls:?}").contains("swordfish"), "{tls:?}");
    }
}

#[test]
fn clients_versions_and_ciphers_are_taken() {
    let given = "uvicorn_kwargs: {ssl_certfile: c, ssl_keyfile: k, ssl_version: 5, ssl_ciphers: 'HIGH:!AES', ssl_ca_certs: ca.pem, ssl_cert_reqs: ";
    for (requirement, required) in [(1, false), (2, true)] {
        let tls = tls(&format!("{given}{requirement}}}")).expect("TLS");
        let clients = tls.client_certificates.expect("certificates of clients");
        assert_eq!(
            (clients.required, tls.versions),
            (required, TlsVersions::Only12)
        );
        assert_eq!(clients.ca_file.value().display().to_string(), "ca.pem");
        assert_eq!(tls.ciphers.expect("ciphers").value(), "HIGH:!AES");
    }
}

#[test]
fn what_would_leave_a_port_weaker_is_an_error() {
    let with_files = |keys: &str| format!("ssl_certfile: c, ssl_keyfile: k, {keys}");
    for (keys, key, message) in [
        (
            "ssl_keyfile: k".to_owned(),
            "ssl_keyfile",
            "without ssl_certfile",
        ),
        (
            "ssl_keyfile_password: x".to_owned(),
            "ssl_keyfile_password",
            "without ssl_certfile",
        ),
        (
            "ssl_cert_reqs: 2, ssl_ca_certs: a".to_owned(),
            "ssl_cert_reqs",
            "without ssl_certfile",
        ),
        (
            with_files("ssl_cert_reqs: 2"),
            "ssl_cert_reqs",
            "without ssl_ca_certs",
        ),
        (
            with_files("ssl_cert_reqs: 3, ssl_ca_certs: a"),
            "ssl_cert_reqs",
            "2 (required)",
        ),
        (
            with_files("ssl_version: 3"),
            "ssl_version",
            "no older versions",
        ),
        (
            with_files("ssl_context_factory: a"),
            "ssl_context_factory",
            "unknown key",
        ),
        (
            "ssl_certfle: a, ssl_certfile: c".to_owned(),
            "ssl_certfle",
            "did you mean `ssl_certfile`?",
        ),
        (
            with_files("ssl_keyfile_password: 0123"),
            "ssl_keyfile_password",
            "in quotes",
        ),
        (
            with_files("ssl_keyfile_password: '${{ ENV.NONE }}'"),
            "ssl_keyfile_password",
            "\"NONE\" to be set",
        ),
    ] {
        let yaml = format!("jtype: Flow\ngateway:\n  uvicorn_kwargs: {{{keys}}}\n");
        let errors = errors(&yaml);
        let key = format!("gateway.uvicorn_kwargs.{key}");
        let is_it = |error: &Diagnostic| {
            (error.line, error.key.as_str()) == (Some(3), key.as_str())
                && error.to_string().contains(message)
        };
        assert!(errors.iter().any(is_it), "{yaml}{}", ConfigErrors(errors));
    }
    assert_error(
        "jtype: Flow\ngateway:\n  ssl_certfile: a\n  ssl_keyfile: k\n  uvicorn_kwargs:\n    ssl_certfile: b\n",
        6,
        "gateway.uvicorn_kwargs.ssl_certfile",
        "another file",
    );
    assert_error(
        "jtype: Flow\ngateway: {uvicorn_kwargs: [swordfish]}\n",
        2,
        "gateway.uvicorn_kwargs",
        "found a list, expected a map, or KEY:VALUE",
    );
}

#[test]
fn options_without_effect_are_warned_of() {
    let warning = |keys: &str| {
        let loaded = load(&format!(
            "jtype: Flow\ngateway: {{ssl_certfile: c, ssl_keyfile: k, uvicorn_kwargs: {{{keys}}}}}\n"
        ));
        let warnings = loaded.expect("a valid Flow").warnings;
        warnings.iter().map(ToString::to_string).collect::<String>()
    };
    assert!(warning("loop: uvloop").contains("others have no effect"));
    assert!(warning("ssl_ca_certs: a").contains("not asked for a certificate"));
}

#[test]
fn printed_flows_keep_references_and_hide_passwords() {
    let print = |keys: &str| {
        let yaml = format!("jtype: Flow\ngateway: {{{keys}}}\n");
        let printed = normalized_yaml(&yaml, "flow.yml", &env).expect("a valid Flow");
        assert!(
            !printed.contains("swordfish") && !printed.contains("/secret"),
            "{printed}"
        );
        let reload = |yaml: &str| {
            Config::from_yaml(yaml, "", &env)
                .expect("valid")
                .config
                .gateway
        };
        (reload(&yaml), reload(&printed), printed)
    };
    let rest = "ssl_keyfile_password: '${{ ENV.PASSWORD }}', ssl_version: 5, ssl_ca_certs: a, ssl_cert_reqs: 1, ssl_ciphers: HIGH";
    for certificate in [
        "ssl_certfile: '${{ ENV.CERT }}', ssl_keyfile: k",
        "ssl_certfile: '${{ ENV.CERT }}'",
        "ssl_certfile: c, ssl_keyfile: '${{ ENV.CERT }}'",
    ] {
        let (before, after, printed) = print(&format!("uvicorn_kwargs: {{{certificate}, {rest}}}"));
        assert_eq!(before, after, "{printed}");
        assert!(
            printed.contains("ENV.PASSWORD") && printed.contains("ENV.CERT"),
            "{printed}"
        );
    }
    let list = "uvicorn_kwargs: ['ssl_certfile:${{ ENV.CERT }}', 'ssl_keyfile_password:${{ ENV.PASSWORD }}']";
    let (before, after, printed) = print(list);
    assert_eq!(before, after, "{printed}");
    let literal =
        "uvicorn_kwargs: {ssl_certfile: c, ssl_keyfile: k, ssl_keyfile_password: swordfish}";
    assert!(print(literal).2.contains("<redacted>"));
}
