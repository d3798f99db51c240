//! `flowgate check`: a Flow read and judged, nothing served.

use std::error::Error;

use clap::Args;
use rustls::{
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    sign::CertifiedKey,
};

use super::{Exit, exit, flow_source};
use crate::{
    config::{Config, TlsFiles},
    gateway::{Gateway, Registry},
};

/// Arguments of `flowgate check`.
#[derive(Args, Debug)]
pub(super) struct CheckArgs {
    /// The Flow YAML
    #[arg(value_name = "FLOW.yml")]
    flow: String,
    /// Take what Jina would only warn about or ignore for a fault
    #[arg(long)]
    strict: bool,
}

#[expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the verdict is what the command is for"
)]
pub(super) fn run(args: &CheckArgs) -> Exit {
    let loaded = match flow_source::load(Some(&args.flow)) {
        Ok(loaded) => loaded,
        Err(exit) => return exit,
    };
    if let Err(error) = startable(&loaded.config) {
        exit::say(&format!("{}: {}", args.flow, exit::with_causes(&*error)));
        return Exit::Usage;
    }
    for warning in &loaded.warnings {
        eprintln!("{}{warning}", if args.strict { "" } else { "warning: " });
    }
    if args.strict && !loaded.warnings.is_empty() {
        return Exit::Usage;
    }
    println!(
        "{}: the Flow holds: {}",
        args.flow,
        super::banner::graph(&loaded.config)
    );
    Exit::Clean
}

/// What only this process can know: whether it has the Executors that the Flow names, and the files.
fn startable(config: &Config) -> Result<(), Box<dyn Error>> {
    Gateway::new(config, &Registry::default())?;
    config.gateway.tls.as_ref().map_or(Ok(()), readable)
}

/// Whether certificate and key are there and belong together.
fn readable(files: &TlsFiles) -> Result<(), Box<dyn Error>> {
    let TlsFiles { certfile, keyfile } = files;
    let certificates: Vec<_> = CertificateDer::pem_file_iter(certfile)
        .and_then(Iterator::collect)
        .map_err(|error| {
            format!(
                "the PEM file {} cannot be read: {error}",
                certfile.display()
            )
        })?;
    let key = PrivateKeyDer::from_pem_file(keyfile)
        .map_err(|error| format!("the PEM file {} cannot be read: {error}", keyfile.display()))?;
    let provider = ring::default_provider();
    CertifiedKey::from_der(certificates, key, &provider).map_err(|error| {
        format!(
            "the certificate {} cannot be served: {error}",
            certfile.display()
        )
    })?;
    Ok(())
}
