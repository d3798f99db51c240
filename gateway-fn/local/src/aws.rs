//! Account, region, ids and timestamps in the formats of AWS's events, headers and responses.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use time::{UtcDateTime, format_description::StaticFormatDescription, macros::format_description};
use uuid::Uuid;

/// The header that carries the X-Ray trace of a request or an invocation.
pub(crate) const TRACE_HEADER: &str = "x-amzn-trace-id";

/// The region of every ARN and of the functions' environment.
pub(crate) const REGION: &str = "us-east-1";

/// The account of every ARN and event. No real account has this id.
pub(crate) const ACCOUNT_ID: &str = "000000000000";

/// Common Log Format: `09/Feb/2024:18:23:28 +0000`.
const COMMON_LOG: StaticFormatDescription =
    format_description!("[day]/[month repr:short]/[year]:[hour]:[minute]:[second] +0000");

/// ISO 8601 with milliseconds: `2024-02-09T18:23:28.941Z`.
const ISO_8601: StaticFormatDescription =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");

pub(crate) fn function_arn(name: &str) -> String {
    format!("arn:aws:lambda:{REGION}:{ACCOUNT_ID}:function:{name}")
}

/// Returns a new id in the format of API Gateway's request, connection and message ids: eleven bytes in base64.
pub(crate) fn new_id() -> String {
    STANDARD.encode(&Uuid::new_v4().as_bytes()[..11])
}

/// Returns a new value of [`TRACE_HEADER`], which API Gateway adds to requests that have none.
pub(crate) fn new_trace(now: UtcDateTime) -> String {
    let random = Uuid::new_v4().simple().to_string();
    format!("Root=1-{:08x}-{}", now.unix_timestamp(), &random[..24])
}

pub(crate) fn epoch_millis(time: UtcDateTime) -> i64 {
    time.unix_timestamp() * 1000 + i64::from(time.millisecond())
}

pub(crate) fn common_log_time(time: UtcDateTime) -> String {
    format(time, COMMON_LOG)
}

pub(crate) fn iso_8601_time(time: UtcDateTime) -> String {
    format(time, ISO_8601)
}

/// Returns the end of an invocation that starts now; a timeout beyond the calendar ends with the calendar.
pub(crate) fn deadline(timeout: Duration) -> UtcDateTime {
    let timeout = time::Duration::try_from(timeout).unwrap_or(time::Duration::MAX);
    UtcDateTime::now().saturating_add(timeout)
}

fn format(time: UtcDateTime, description: StaticFormatDescription) -> String {
    // Every part of the descriptions is a part of a UtcDateTime, so that formatting cannot fail.
    time.format(description).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_are_formatted_as_aws_formats_them() {
        for (millis, common_log, iso_8601) in [
            (
                1_707_503_008_941_i64,
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
            let time = UtcDateTime::from_unix_timestamp_nanos(i128::from(millis) * 1_000_000);
            let time = time.expect("a valid timestamp");
            assert_eq!(common_log_time(time), common_log);
            assert_eq!(iso_8601_time(time), iso_8601);
            assert_eq!(epoch_millis(time), millis);
        }
    }

    #[test]
    fn a_deadline_stays_within_the_calendar() {
        assert!(deadline(Duration::MAX) > deadline(Duration::from_secs(900)));
    }

    #[test]
    fn ids_have_the_length_of_api_gateways_ids() {
        assert_eq!(new_id().len(), "TXzPWdnOjoECGjA=".len());
        assert_ne!(new_id(), new_id());
    }
}
