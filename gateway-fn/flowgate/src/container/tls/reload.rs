//! Reads the files of TLS again when they change and at SIGHUP, and warns of certificates that expire.

use std::{fs, os::unix::fs::MetadataExt as _, path::Path, sync::Arc, time::Duration};

use flowgate_config::{ConfigErrors, TlsConfig};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    task,
    time::{Interval, MissedTickBehavior, interval},
};

use super::{Source, Tls};

/// How often the files are looked at. Certificates are replaced weeks before they expire.
const POLL_INTERVAL: Duration = Duration::from_secs(5);

/// How often an expiring certificate is warned of.
const WARN_INTERVAL: Duration = Duration::from_hours(24);

/// Keeps the certificates of a Gateway current. Receives SIGHUP from its creation on, also without TLS, so that the signal
/// does not end the process.
#[derive(Debug)]
pub(crate) struct Reloader {
    tls: Option<Tls>,
    /// What was found when the files were last looked at, if that had changed.
    changed: Option<Stamp>,
    hangup: Option<Signal>,
}

impl Reloader {
    /// Starts to receive SIGHUP.
    pub(crate) fn new(tls: Option<Tls>) -> Self {
        let hangup = signal(SignalKind::hangup())
            .inspect_err(|error| tracing::warn!(%error, "cannot receive SIGHUP"))
            .ok();
        Self {
            tls,
            changed: None,
            hangup,
        }
    }

    /// Reloads and warns until it is dropped.
    pub(crate) async fn run(mut self) {
        let mut poll = every(POLL_INTERVAL);
        let mut warn = every(WARN_INTERVAL);
        loop {
            tokio::select! {
                () = received(&mut self.hangup) => self.reload_now().await,
                _ = poll.tick(), if self.tls.is_some() => self.reload_if_changed().await,
                _ = warn.tick(), if self.tls.is_some() => self.warn_of_expiry(),
            }
        }
    }

    /// Reads the files if they have changed, but not while they are being changed: a certificate and its key are two files.
    async fn reload_if_changed(&mut self) {
        let Some(tls) = &self.tls else {
            return;
        };
        let found = stamp(Arc::clone(&tls.source)).await;
        if found == tls.stamp {
            self.changed = None;
        } else if self.changed.as_ref() == Some(&found) {
            self.reload(found).await;
        } else {
            self.changed = Some(found);
        }
    }

    async fn reload_now(&mut self) {
        match &self.tls {
            Some(tls) => {
                let found = stamp(Arc::clone(&tls.source)).await;
                self.reload(found).await;
            }
            None => tracing::info!("SIGHUP: there is no certificate to reload"),
        }
    }

    /// Reads the files. `found` was taken before, so that a change during the reading is found later.
    async fn reload(&mut self, found: Stamp) {
        self.changed = None;
        let Some(tls) = &mut self.tls else {
            return;
        };
        tls.stamp = found;
        let source = Arc::clone(&tls.source);
        // Decrypting a key takes a noticeable time.
        match task::spawn_blocking(move || source.reload()).await {
            Ok(Ok(())) => {
                let certfile = tls.source.config.certfile.value();
                tracing::info!(certfile = %certfile.display(), "certificate reloaded");
                self.warn_of_expiry();
            }
            Ok(Err(errors)) => tracing::error!(
                error = one_line(&errors),
                "certificate not reloaded: the previous one stays in use"
            ),
            Err(error) => tracing::error!(%error, "certificate not reloaded"),
        }
    }

    fn warn_of_expiry(&self) {
        let tls = self.tls.as_ref();
        if let Some(warning) = tls.and_then(Tls::expiry_warning) {
            tracing::warn!("{warning}");
        }
    }
}

/// Returns an interval whose first tick is at once, and which does not catch up on ticks that it has missed.
fn every(period: Duration) -> Interval {
    let mut interval = interval(period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}

async fn received(signal: &mut Option<Signal>) {
    let received = match signal {
        Some(signal) => signal.recv().await,
        None => None,
    };
    if received.is_none() {
        std::future::pending().await
    }
}

fn one_line(errors: &ConfigErrors) -> String {
    let lines: Vec<_> = errors.0.iter().map(ToString::to_string).collect();
    lines.join("; ")
}

/// Looks at the files on a thread that may block: they may be on a network.
async fn stamp(source: Arc<Source>) -> Stamp {
    task::spawn_blocking(move || Stamp::of(&source.config))
        .await
        .unwrap_or_default()
}

/// Identifies a version of the files. A file that is missing has no version.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Stamp(Vec<Option<Version>>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Version {
    device: u64,
    inode: u64,
    bytes: u64,
    /// Seconds and nanoseconds of the last change of the content, and of the file.
    times: [i64; 4],
}

impl Stamp {
    pub(super) fn of(config: &TlsConfig) -> Self {
        let files = [config.certfile.value(), config.keyfile.value()];
        let clients = config.client_certificates.as_ref();
        let files = files
            .into_iter()
            .chain(clients.map(|clients| clients.ca_file.value()));
        Self(files.map(|path| version(path)).collect())
    }
}

fn version(path: &Path) -> Option<Version> {
    let file = fs::metadata(path).ok()?;
    Some(Version {
        device: file.dev(),
        inode: file.ino(),
        bytes: file.size(),
        times: [
            file.mtime(),
            file.mtime_nsec(),
            file.ctime(),
            file.ctime_nsec(),
        ],
    })
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use flowgate_config::Config;
    use rustls::pki_types::CertificateDer;
    use tokio::time::sleep;
    use tracing::subscriber::set_default;

    use super::*;

    /// The files of a certificate, in a directory that is deleted at the end.
    struct Files(PathBuf);

    impl Files {
        fn new(name: &str) -> Self {
            let directory =
                std::env::temp_dir().join(format!("flowgate-{name}-{}", std::process::id()));
            fs::create_dir_all(&directory).expect("a directory");
            Self(directory)
        }

        /// Writes a new certificate, and its key unless it is to be left as it was.
        fn write(&self, not_after: i32, with_key: bool) -> CertificateDer<'static> {
            let mut parameters =
                rcgen::CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
            parameters.not_after = rcgen::date_time_ymd(not_after, 1, 1);
            let key = rcgen::KeyPair::generate().expect("a key");
            let certificate = parameters.self_signed(&key).expect("a certificate");
            fs::write(self.0.join("cert.pem"), certificate.pem()).expect("written");
            if with_key {
                fs::write(self.0.join("key.pem"), key.serialize_pem()).expect("written");
            }
            certificate.der().clone()
        }

        fn load(&self) -> Tls {
            let path = self.0.display();
            let flow = format!(
                "jtype: Flow\ngateway: {{ssl_certfile: '{path}/cert.pem', ssl_keyfile: '{path}/key.pem'}}\n"
            );
            let loaded = Config::from_yaml(&flow, "flow.yml", &|_| None).expect("a valid Flow");
            Tls::load(&loaded.config.gateway.tls.expect("TLS")).expect("valid files")
        }
    }

    impl Drop for Files {
        fn drop(&mut self) {
            // Failing to delete temporary files is harmless.
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn current(tls: &Tls) -> CertificateDer<'static> {
        tls.source.current().key.cert[0].clone()
    }

    #[tokio::test(start_paused = true)]
    async fn changed_files_are_read_and_broken_ones_are_not_used() {
        let files = Files::new("reload");
        let first = files.write(4000, true);
        let tls = files.load();
        let task = tokio::spawn(Reloader::new(Some(tls.clone())).run());
        sleep(3 * POLL_INTERVAL).await;
        assert_eq!(current(&tls), first);

        let second = files.write(4000, true);
        sleep(3 * POLL_INTERVAL).await;
        assert_eq!(current(&tls), second);

        // A certificate without its key, and then both.
        files.write(4000, false);
        sleep(3 * POLL_INTERVAL).await;
        assert_eq!(current(&tls), second);
        let third = files.write(4000, true);
        sleep(3 * POLL_INTERVAL).await;
        assert_eq!(current(&tls), third);

        fs::remove_file(files.0.join("cert.pem")).expect("it was there");
        sleep(3 * POLL_INTERVAL).await;
        assert_eq!(current(&tls), third);
        let fourth = files.write(4000, true);
        sleep(3 * POLL_INTERVAL).await;
        assert_eq!(current(&tls), fourth);
        task.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn an_expired_certificate_is_warned_of_at_start_and_daily() {
        let files = Files::new("expired");
        let log = files.0.join("log");
        let writer = fs::File::create(&log).expect("a file");
        let subscriber = tracing_subscriber::fmt()
            .with_writer(Arc::new(writer))
            .finish();
        let _guard = set_default(subscriber);
        files.write(2001, true);
        let task = tokio::spawn(Reloader::new(Some(files.load())).run());
        let warnings = || {
            let log = fs::read_to_string(&log).expect("text");
            log.matches("that expired at 2001-01-01T00:00:00Z").count()
        };
        sleep(Duration::from_secs(1)).await;
        assert_eq!(warnings(), 1);
        for day in 1..4 {
            sleep(WARN_INTERVAL).await;
            assert_eq!(warnings(), day + 1);
        }
        // A valid one ends the warnings.
        files.write(4000, true);
        sleep(3 * WARN_INTERVAL).await;
        assert_eq!(warnings(), 4);
        task.abort();
    }
}
