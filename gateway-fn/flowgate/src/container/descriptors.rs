//! Raises the limit of open files at start, and bounds the number of connections by what it leaves: a process without a free
//! file descriptor can neither accept a connection nor call an Executor.

use std::num::NonZeroUsize;

use flowgate_config::{Address, Config};
use flowgate_proto::with_causes;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// How many connections over the limit are accepted, for a health check or to get 503: enough for a few load balancers and
/// a burst of clients, because each is open for a few seconds at most.
pub(super) const CONNECTIONS_OVER_LIMIT: usize = 64;

/// What the process opens beside the connections within the limit: those over it, listeners, the runtime's own descriptors,
/// files that are read again, resolvers.
const RESERVED: usize = CONNECTIONS_OVER_LIMIT + 64;

/// Returns how many connections of clients may be open at once: as many as the Flow allows, and no more than the limit of
/// open files leaves beside `RESERVED` and the connections to Executors.
pub(super) fn max_connections(config: &Config) -> usize {
    let allowed = config.gateway.limits.max_connections;
    let Some(descriptors) = raise_limit() else {
        return allowed;
    };
    let threads = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let left = left_for_clients(descriptors, outbound(config).saturating_mul(threads));
    if left < allowed {
        tracing::warn!(
            max_connections = allowed,
            open_files = descriptors,
            connections = left,
            "the limit of open files allows fewer connections than `limits.max_connections`: raise it with `ulimit -n`"
        );
    }
    allowed.min(left)
}

/// Returns the connections to Executors of one thread.
fn outbound(config: &Config) -> usize {
    let addresses = config
        .executors
        .iter()
        .flat_map(|executor| &executor.addresses);
    let remote = addresses.filter(|address| !matches!(address, Address::InProcess { .. }));
    remote
        .count()
        .saturating_mul(config.gateway.limits.connections_per_replica.get())
}

/// Returns what is left for clients: at least half, because a Flow with many replicas rarely connects to all of them at once.
fn left_for_clients(descriptors: usize, outbound: usize) -> usize {
    let others = outbound.saturating_add(RESERVED).min(descriptors / 2);
    (descriptors - others).max(1)
}

/// Raises the soft limit of open files to the hard one and returns it; `None` is no limit.
fn raise_limit() -> Option<usize> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: maximum,
        maximum,
    };
    let limit = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => maximum,
        Err(error) => {
            tracing::warn!(?current, ?maximum, error = %with_causes(&error), "cannot raise the limit of open files");
            current
        }
    };
    limit.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_get_what_is_left_and_at_least_half() {
        assert_eq!(left_for_clients(1024, 4), 892);
        assert_eq!(left_for_clients(1024, 5000), 512);
        assert_eq!(left_for_clients(256, 0), 128);
        assert_eq!(left_for_clients(1, 0), 1);
        assert_eq!(left_for_clients(0, 0), 1);
        assert_eq!(left_for_clients(usize::MAX, usize::MAX), usize::MAX / 2 + 1);
    }

    #[test]
    fn the_soft_limit_is_raised_to_the_hard_one() {
        raise_limit();
        let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
        assert_eq!(current, maximum);
    }
}
