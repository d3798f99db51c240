//! When certificates are valid.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use der::{
    DateTime, Decode as _, SliceReader, Tag, Tagged as _,
    asn1::{AnyRef, GeneralizedTime, UtcTime},
};

/// A certificate is warned of when it expires within this time: enough to have it renewed by hand.
const WARN_BEFORE: Duration = Duration::from_hours(30 * 24);

/// The first and the last second at which a certificate is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Validity {
    not_before: DateTime,
    not_after: DateTime,
}

impl Validity {
    /// Reads the validity of a certificate in DER.
    pub(super) fn of_certificate(certificate: &[u8]) -> der::Result<Self> {
        let certificate = AnyRef::from_der(certificate)?;
        let signed = AnyRef::decode(&mut SliceReader::new(certificate.value())?)?;
        let mut fields = SliceReader::new(signed.value())?;
        // Version 1 has no version number; then come the serial number, the algorithm and the issuer.
        let first = AnyRef::decode(&mut fields)?;
        let before_validity = if first.tag() == Tag::Integer { 2 } else { 3 };
        for _ in 0..before_validity {
            AnyRef::decode(&mut fields)?;
        }
        let validity = AnyRef::decode(&mut fields)?;
        let mut times = SliceReader::new(validity.value())?;
        Ok(Self {
            not_before: time(AnyRef::decode(&mut times)?)?,
            not_after: time(AnyRef::decode(&mut times)?)?,
        })
    }
}

fn time(field: AnyRef<'_>) -> der::Result<DateTime> {
    if field.tag() == Tag::UtcTime {
        field.decode_as::<UtcTime>().map(|time| time.to_date_time())
    } else {
        field
            .decode_as::<GeneralizedTime>()
            .map(|time| time.to_date_time())
    }
}

/// Returns the time since 1970.
pub(super) fn now() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

/// Says which certificate of a chain has expired, expires soon or is not valid yet; `None` if all are valid for longer.
pub(super) fn warning(chain: &[Validity], now: Duration) -> Option<String> {
    let (index, first) = chain
        .iter()
        .enumerate()
        .min_by_key(|(_, validity)| validity.not_after)?;
    let name = name(index);
    let not_after = first.not_after;
    if not_after.unix_duration() < now {
        return Some(format!("{name} that expired at {not_after}"));
    }
    let early = chain
        .iter()
        .position(|one| one.not_before.unix_duration() > now);
    if let Some(early) = early {
        let not_before = chain[early].not_before;
        return Some(format!(
            "{} that is not valid before {not_before}",
            self::name(early)
        ));
    }
    let is_soon = not_after.unix_duration().saturating_sub(now) <= WARN_BEFORE;
    is_soon.then(|| format!("{name} that expires at {not_after}"))
}

fn name(index: usize) -> String {
    match index {
        0 => "a certificate".to_owned(),
        index => format!("an issuer's certificate (number {})", index + 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn validity(not_before: (u16, u8, u8), not_after: (u16, u8, u8)) -> Validity {
        let date = |(year, month, day)| DateTime::new(year, month, day, 0, 0, 0).expect("a date");
        Validity {
            not_before: date(not_before),
            not_after: date(not_after),
        }
    }

    fn at(year: u16, month: u8, day: u8) -> Duration {
        let date = DateTime::new(year, month, day, 0, 0, 0);
        date.expect("a date").unix_duration()
    }

    #[test]
    fn the_validity_of_a_certificate_is_read() {
        let mut parameters = rcgen::CertificateParams::new(vec!["a".to_owned()]).expect("a name");
        parameters.not_before = rcgen::date_time_ymd(2020, 1, 2);
        parameters.not_after = rcgen::date_time_ymd(2051, 3, 4);
        let key = rcgen::KeyPair::generate().expect("a key");
        let certificate = parameters.self_signed(&key).expect("a certificate");
        let found = Validity::of_certificate(certificate.der()).expect("a validity");
        assert_eq!(found, validity((2020, 1, 2), (2051, 3, 4)));
        for length in 0..200 {
            assert!(Validity::of_certificate(&certificate.der()[..length]).is_err());
        }
    }

    #[test]
    fn expired_and_soon_expiring_certificates_are_warned_of() {
        let leaf = validity((2020, 1, 1), (2022, 6, 30));
        let issuer = validity((2020, 1, 1), (2023, 1, 1));
        let chain = [leaf, issuer];
        assert_eq!(warning(&chain, at(2022, 5, 30)), None);
        let soon = warning(&chain, at(2022, 5, 31)).expect("30 days before");
        assert_eq!(soon, "a certificate that expires at 2022-06-30T00:00:00Z");
        let expired = warning(&chain, at(2022, 7, 1)).expect("a day after");
        assert_eq!(
            expired,
            "a certificate that expired at 2022-06-30T00:00:00Z"
        );
        let early = warning(&chain, at(2019, 12, 31)).expect("a day early");
        assert!(early.contains("not valid before 2020-01-01"), "{early}");
        let other = warning(&[issuer, leaf], at(2022, 6, 1)).expect("30 days before");
        assert!(
            other.starts_with("an issuer's certificate (number 2)"),
            "{other}"
        );
    }
}
