//! An issuer's public keys, kept for a while: asked for when first needed, again before they are too old, and for a key
//! that nobody knows at most once a minute. When the issuer is down, the old ones serve on for a bounded time.

mod key_set;

mod source;

#[cfg(test)]
mod tests;

use std::{
    error::Error,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use flowgate_config::{JwksSource, JwtConfig};
use flowgate_proto::with_causes;
use futures_util::future::BoxFuture;
use http::StatusCode;
use tokio::{
    sync::{Mutex as AsyncMutex, OwnedMutexGuard},
    time::Instant,
};

pub(super) use self::key_set::{KeySet, Lookup};

/// After an answer of the issuer, an unknown `kid` is believed to be unknown for so long: bad tokens, however many, must
/// not become requests to the issuer.
const BETWEEN_UNKNOWN: Duration = Duration::from_secs(60);

/// An issuer that is down is asked again after so long.
const BETWEEN_TRIES: Duration = Duration::from_secs(10);

/// Why there is no key set.
#[derive(Debug, thiserror::Error)]
pub enum JwksError {
    /// The file cannot be read.
    #[error("the file cannot be read")]
    File {
        /// Why not.
        source: std::io::Error,
    },
    /// The file is no key set of any issuer's.
    #[error("the file has more than {most} bytes")]
    LargeFile {
        /// Bytes that are read.
        most: usize,
    },
    /// The issuer cannot be reached or trusted, or breaks off.
    #[error("the issuer cannot be reached")]
    Request {
        /// Why not.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The issuer takes too long.
    #[error("the issuer takes too long")]
    TimedOut,
    /// The issuer answers something else.
    #[error("the issuer answers {status}")]
    Status {
        /// What it answers.
        status: StatusCode,
    },
    /// What came has no key that verifies a signature.
    #[error("this is no JSON Web Key Set with a public key that serves")]
    NoKeySet,
}

/// No keys can be had at present.
#[derive(Debug)]
pub(super) struct NoKeys;

/// The cache; clones share it.
#[derive(Clone)]
pub(super) struct Jwks(Arc<Shared>);

struct Shared {
    load: Box<dyn Fn() -> BoxFuture<'static, Result<KeySet, JwksError>> + Send + Sync>,
    cache: Duration,
    stale: Duration,
    state: Mutex<State>,
    /// Held by the one that asks.
    asking: Arc<AsyncMutex<()>>,
}

#[derive(Default)]
struct State {
    keys: Option<(Arc<KeySet>, Instant)>,
    /// When the last try ended, and how many there were.
    tried: Option<Instant>,
    tries: u64,
    /// Whether the last one failed.
    failing: bool,
}

/// What is to be done before the keys are used.
enum Standing {
    Use(Arc<KeySet>),
    UseAndAsk(Arc<KeySet>),
    Ask,
    Nothing,
}

impl Jwks {
    /// A file is read at once, so that a Gateway without keys does not come up; a URL is asked when first needed.
    pub(super) fn new(config: &JwtConfig) -> Result<Self, JwksError> {
        let (cache, stale) = (config.cache, config.stale);
        match config.jwks.clone() {
            JwksSource::Url(uri) => Ok(Self::loading(cache, stale, move || {
                let uri = uri.clone();
                Box::pin(async move { KeySet::read(&source::url(&uri).await?) })
            })),
            JwksSource::File(path) => {
                let keys = KeySet::read(&source::file(&path)?)?;
                // A small file: reading it takes less than handing it to another thread.
                let jwks = Self::loading(cache, stale, move || {
                    let keys = source::file(&path).and_then(|bytes| KeySet::read(&bytes));
                    Box::pin(std::future::ready(keys))
                });
                jwks.0.state().note(Ok::<_, JwksError>(keys));
                Ok(jwks)
            }
        }
    }

    fn loading(
        cache: Duration,
        stale: Duration,
        load: impl Fn() -> BoxFuture<'static, Result<KeySet, JwksError>> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(Shared {
            load: Box::new(load),
            cache,
            stale,
            state: Mutex::default(),
            asking: Arc::default(),
        }))
    }

    /// The keys as they stand.
    pub(super) async fn keys(&self) -> Result<Arc<KeySet>, NoKeys> {
        match self.standing() {
            Standing::Use(keys) => return Ok(keys),
            Standing::UseAndAsk(keys) => {
                self.ask_in_background();
                return Ok(keys);
            }
            Standing::Nothing => return Err(NoKeys),
            Standing::Ask => self.ask().await,
        }
        match self.standing() {
            Standing::Use(keys) | Standing::UseAndAsk(keys) => Ok(keys),
            Standing::Ask | Standing::Nothing => Err(NoKeys),
        }
    }

    /// Waits until nobody asks.
    pub(super) async fn settled(&self) {
        drop(self.0.asking.lock().await);
    }

    /// Newer keys, after one was not found; none if the issuer answered lately. While it does not answer, nobody knows
    /// whether it has the key.
    pub(super) async fn newer(&self) -> Result<Option<Arc<KeySet>>, NoKeys> {
        let due = self.0.state().is_unknown_due();
        if due {
            self.ask().await;
        }
        let state = self.0.state();
        match (&state.keys, state.failing) {
            (Some((keys, _)), false) => Ok(due.then(|| Arc::clone(keys))),
            _ => Err(NoKeys),
        }
    }

    fn standing(&self) -> Standing {
        let state = self.0.state();
        let rested = state
            .tried
            .is_none_or(|tried| tried.elapsed() >= BETWEEN_TRIES);
        let Some((keys, since)) = &state.keys else {
            return if rested {
                Standing::Ask
            } else {
                Standing::Nothing
            };
        };
        let keys = Arc::clone(keys);
        let age = since.elapsed();
        let (cache, stale) = (self.0.cache, self.0.stale);
        let serve_on = age < cache.saturating_add(stale);
        match rested {
            _ if age < cache / 4 * 3 => Standing::Use(keys),
            true if age < cache => Standing::UseAndAsk(keys),
            // Nobody waits again and again for an issuer that is known to be down.
            true if serve_on && state.failing => Standing::UseAndAsk(keys),
            true => Standing::Ask,
            false if serve_on => Standing::Use(keys),
            false => Standing::Nothing,
        }
    }

    /// Asks, or waits for the answer to who is asking already. A caller that leaves does not break off the request,
    /// which is for all.
    async fn ask(&self) {
        let jwks = self.clone();
        let tries = self.0.state().tries;
        let asked = tokio::spawn(async move {
            let turn = Arc::clone(&jwks.0.asking).lock_owned().await;
            if jwks.0.state().tries == tries {
                jwks.load(turn).await;
            }
        });
        if let Err(error) = asked.await {
            tracing::error!(%error, "asking for the issuer's keys failed");
        }
    }

    fn ask_in_background(&self) {
        if let Ok(turn) = Arc::clone(&self.0.asking).try_lock_owned() {
            let jwks = self.clone();
            tokio::spawn(async move { jwks.load(turn).await });
        }
    }

    async fn load(&self, turn: OwnedMutexGuard<()>) {
        let loaded = (self.0.load)().await;
        if let Err(error) = &loaded {
            tracing::warn!(error = %with_causes(error), "no keys of the issuer");
        }
        self.0.state().note(loaded);
        drop(turn);
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Whether the issuer is to be asked for a key that nobody knows.
    fn is_unknown_due(&self) -> bool {
        let rest = match self.failing {
            true => BETWEEN_TRIES,
            false => BETWEEN_UNKNOWN,
        };
        self.tried.is_none_or(|tried| tried.elapsed() >= rest)
    }

    fn note<E>(&mut self, loaded: Result<KeySet, E>) {
        let now = Instant::now();
        self.failing = loaded.is_err();
        if let Ok(keys) = loaded {
            self.keys = Some((Arc::new(keys), now));
        }
        self.tried = Some(now);
        self.tries += 1;
    }
}

impl fmt::Debug for Jwks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Jwks").finish_non_exhaustive()
    }
}
