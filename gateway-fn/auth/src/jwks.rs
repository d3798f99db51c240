//! Caches an issuer's public keys. They are loaded when first needed, refreshed before they expire, and refreshed for an
//! unknown key at most once a minute. While the issuer is down, expired keys stay in use for a bounded time.

mod key_set;

mod source;

#[cfg(test)]
mod tests;

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use flowgate_config::{JwksSource, JwtConfig};
use flowgate_proto::with_causes;
use flowgate_tls::TlsRoots;
use futures_util::future::BoxFuture;
use tokio::{
    sync::{Mutex as AsyncMutex, OwnedMutexGuard},
    time::Instant,
};

pub use self::source::JwksError;

pub(super) use self::key_set::{KeySet, Lookup};

use super::AuthError;

/// The shortest time between two refreshes for an unknown `kid`: invalid tokens, however many, must not become requests
/// to the issuer.
const UNKNOWN_KEY_INTERVAL: Duration = Duration::from_secs(60);

/// The time until a refresh is tried again after one that failed.
const RETRY_INTERVAL: Duration = Duration::from_secs(10);

/// No keys are available at present.
#[derive(Debug)]
pub(super) struct KeysUnavailable;

/// The cached keys of an issuer. Clones share them.
#[derive(Clone)]
pub(super) struct JwksCache(Arc<Shared>);

struct Shared {
    load: Box<dyn Fn() -> BoxFuture<'static, Result<KeySet, JwksError>> + Send + Sync>,
    /// The age at which keys expire.
    cache: Duration,
    /// How long expired keys may be used if they cannot be refreshed.
    stale: Duration,
    content: Mutex<Content>,
    /// Held during a refresh, so that there is one at a time.
    refreshing: Arc<AsyncMutex<()>>,
}

#[derive(Default)]
struct Content {
    keys: Option<(Arc<KeySet>, Instant)>,
    /// When the last refresh ended.
    last_refresh: Option<Instant>,
    refreshes: u64,
    /// Whether the last refresh failed.
    is_failing: bool,
}

/// Whether the cached keys may be used.
enum CacheState {
    /// Use the keys.
    Fresh(Arc<KeySet>),
    /// Use the keys, and refresh them in the background.
    Stale(Arc<KeySet>),
    /// There are no keys, or they expired: wait for a refresh.
    Missing,
    /// There are no usable keys, and the last refresh was moments ago.
    BackingOff,
}

impl JwksCache {
    /// Reads a file at once, so that a Gateway without keys does not start. A URL is fetched when first needed.
    pub(super) fn new(config: &JwtConfig, roots: &TlsRoots) -> Result<Self, JwksError> {
        let (source, roots) = (config.jwks.clone(), roots.clone());
        let load = move || source::load(&source, &roots);
        let cache = Self::with_loader(config.cache, config.stale, load);
        if let JwksSource::File(path) = &config.jwks {
            let keys = source::load_file(path)?;
            cache.0.content().record(Ok::<_, JwksError>(keys));
        }
        Ok(cache)
    }

    fn with_loader(
        cache: Duration,
        stale: Duration,
        load: impl Fn() -> BoxFuture<'static, Result<KeySet, JwksError>> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(Shared {
            load: Box::new(load),
            cache,
            stale,
            content: Mutex::default(),
            refreshing: Arc::default(),
        }))
    }

    /// Returns the keys, and refreshes them if they are about to expire.
    pub(super) async fn keys(&self) -> Result<Arc<KeySet>, KeysUnavailable> {
        match self.state() {
            CacheState::Fresh(keys) => return Ok(keys),
            CacheState::Stale(keys) => {
                self.refresh_in_background();
                return Ok(keys);
            }
            CacheState::BackingOff => return Err(KeysUnavailable),
            CacheState::Missing => self.refresh().await,
        }
        match self.state() {
            CacheState::Fresh(keys) | CacheState::Stale(keys) => Ok(keys),
            CacheState::Missing | CacheState::BackingOff => Err(KeysUnavailable),
        }
    }

    /// Waits until no refresh is running.
    pub(super) async fn wait_for_refresh(&self) {
        drop(self.0.refreshing.lock().await);
    }

    /// Refreshes the keys after one was not found, and returns them; `None` if the last refresh was too recent. It is an
    /// error if the issuer does not answer: then it is unknown whether it has the key.
    pub(super) async fn refresh_for_unknown_key(
        &self,
    ) -> Result<Option<Arc<KeySet>>, KeysUnavailable> {
        let is_due = self.0.content().is_refresh_for_unknown_key_due();
        if is_due {
            self.refresh().await;
        }
        let content = self.0.content();
        match (&content.keys, content.is_failing) {
            (Some((keys, _)), false) => Ok(is_due.then(|| Arc::clone(keys))),
            _ => Err(KeysUnavailable),
        }
    }

    fn state(&self) -> CacheState {
        let content = self.0.content();
        let may_refresh = content.has_rested_for(RETRY_INTERVAL);
        let Some((keys, loaded)) = &content.keys else {
            return match may_refresh {
                true => CacheState::Missing,
                false => CacheState::BackingOff,
            };
        };
        let keys = Arc::clone(keys);
        let age = loaded.elapsed();
        let (cache, stale) = (self.0.cache, self.0.stale);
        let is_usable = age < cache.saturating_add(stale);
        match may_refresh {
            _ if age < cache / 4 * 3 => CacheState::Fresh(keys),
            true if age < cache => CacheState::Stale(keys),
            // Callers do not wait again for an issuer that is known to be down.
            true if is_usable && content.is_failing => CacheState::Stale(keys),
            true => CacheState::Missing,
            false if is_usable => CacheState::Fresh(keys),
            false => CacheState::BackingOff,
        }
    }

    /// Refreshes the keys, or waits for the refresh that is running. It runs in a task, because a caller that
    /// disconnects must not cancel it for the others.
    async fn refresh(&self) {
        let cache = self.clone();
        let refreshes = self.0.content().refreshes;
        let refresh = tokio::spawn(async move {
            let guard = Arc::clone(&cache.0.refreshing).lock_owned().await;
            if cache.0.content().refreshes == refreshes {
                cache.load(guard).await;
            }
        });
        if let Err(error) = refresh.await {
            tracing::error!(%error, "refresh of the issuer's keys panicked");
        }
    }

    fn refresh_in_background(&self) {
        if let Ok(guard) = Arc::clone(&self.0.refreshing).try_lock_owned() {
            let cache = self.clone();
            tokio::spawn(async move { cache.load(guard).await });
        }
    }

    async fn load(&self, guard: OwnedMutexGuard<()>) {
        let loaded = (self.0.load)().await;
        if let Err(error) = &loaded {
            tracing::warn!(error = %with_causes(error), "cannot refresh the issuer's keys");
        }
        self.0.content().record(loaded);
        drop(guard);
    }
}

impl Shared {
    fn content(&self) -> MutexGuard<'_, Content> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Content {
    /// Whether an unknown key may cause a refresh.
    fn is_refresh_for_unknown_key_due(&self) -> bool {
        self.has_rested_for(match self.is_failing {
            true => RETRY_INTERVAL,
            false => UNKNOWN_KEY_INTERVAL,
        })
    }

    /// Whether the last refresh ended at least this long ago.
    fn has_rested_for(&self, interval: Duration) -> bool {
        self.last_refresh
            .is_none_or(|ended| ended.elapsed() >= interval)
    }

    fn record<E>(&mut self, loaded: Result<KeySet, E>) {
        let now = Instant::now();
        self.is_failing = loaded.is_err();
        if let Ok(keys) = loaded {
            self.keys = Some((Arc::new(keys), now));
        }
        self.last_refresh = Some(now);
        self.refreshes += 1;
    }
}

impl From<KeysUnavailable> for AuthError {
    fn from(_: KeysUnavailable) -> Self {
        Self::KeysUnavailable
    }
}

impl fmt::Debug for JwksCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JwksCache").finish_non_exhaustive()
    }
}
