//! The time of a request -> the forms in which API Gateway's events and answers state it, and its ids.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use uuid::Uuid;

/// A moment in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Moment {
    since_epoch: Duration,
}

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

impl Moment {
    pub(super) fn now() -> Self {
        Self {
            since_epoch: SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default(),
        }
    }

    /// So long after 1970 began.
    pub(super) const fn at(since_epoch: Duration) -> Self {
        Self { since_epoch }
    }

    pub(super) fn millis(self) -> u64 {
        u64::try_from(self.since_epoch.as_millis()).unwrap_or(u64::MAX)
    }

    pub(super) fn later(self, by: Duration) -> Self {
        Self {
            since_epoch: self.since_epoch.saturating_add(by),
        }
    }

    /// As in the Common Log Format: `09/Feb/2024:18:23:28 +0000`.
    pub(super) fn common_log(self) -> String {
        let (year, month, day) = self.date();
        let name = MONTHS[month - 1];
        format!("{day:02}/{name}/{year}:{} +0000", self.clock())
    }

    /// ISO 8601, to the millisecond.
    pub(super) fn iso(self) -> String {
        let (year, month, day) = self.date();
        let (clock, millis) = (self.clock(), self.since_epoch.subsec_millis());
        format!("{year}-{month:02}-{day:02}T{clock}.{millis:03}Z")
    }

    fn clock(self) -> String {
        let second = self.since_epoch.as_secs() % 86_400;
        let (hour, minute) = (second / 3600, second / 60 % 60);
        format!("{hour:02}:{minute:02}:{:02}", second % 60)
    }

    /// Year, month from 1, day from 1. Years are counted from March, so that the day that some lack is the last.
    fn date(self) -> (u64, usize, u64) {
        let days = self.since_epoch.as_secs() / 86_400 + 719_468;
        let (era, day_of_era) = (days / 146_097, days % 146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let from_march = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * from_march + 2) / 5 + 1;
        let month = if from_march < 10 {
            from_march + 3
        } else {
            from_march - 9
        };
        let year = era * 400 + year_of_era + u64::from(month <= 2);
        (year, usize::try_from(month).unwrap_or(1), day)
    }

    /// An X-Ray trace header's value, as API Gateway adds it where a client sent none.
    pub(super) fn trace(self) -> String {
        let random = Uuid::new_v4().simple().to_string();
        format!(
            "Root=1-{:08x}-{}",
            self.since_epoch.as_secs(),
            &random[..24]
        )
    }
}

/// An id in the form of API Gateway's request, connection and message ids: eleven bytes in base64.
pub(super) fn id() -> String {
    STANDARD.encode(&Uuid::new_v4().as_bytes()[..11])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_written_as_aws_writes_them() {
        for (millis, common_log, iso) in [
            (
                1_707_503_008_941,
                "09/Feb/2024:18:23:28 +0000",
                "2024-02-09T18:23:28.941Z",
            ),
            (
                951_782_400_000,
                "29/Feb/2000:00:00:00 +0000",
                "2000-02-29T00:00:00.000Z",
            ),
            (0, "01/Jan/1970:00:00:00 +0000", "1970-01-01T00:00:00.000Z"),
        ] {
            let moment = Moment {
                since_epoch: Duration::from_millis(millis),
            };
            assert_eq!(moment.common_log(), common_log);
            assert_eq!(moment.iso(), iso);
        }
    }

    #[test]
    fn ids_have_the_length_of_awss() {
        assert_eq!(id().len(), "TXzPWdnOjoECGjA=".len());
        assert_ne!(id(), id());
    }
}
