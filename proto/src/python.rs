//! Formats floats and times as Python does.

use crate::Timestamp;

/// Formats a time as `datetime.isoformat` does: with microseconds, unless they are zero. The time is
/// UTC, and the text has no offset.
#[must_use]
pub fn isoformat(mut time: Timestamp) -> String {
    time.normalize();
    let micros = time.nanos / 1000;
    let whole = Timestamp { nanos: 0, ..time }.to_string();
    let whole = whole.trim_end_matches('Z');
    if micros == 0 {
        whole.to_owned()
    } else {
        format!("{whole}.{micros:06}")
    }
}

/// Returns the name of NaN or an infinity in the JSON of Python and protobuf.
pub(crate) const fn nonfinite_name(x: f64) -> &'static str {
    if x.is_nan() {
        "NaN"
    } else if x > 0.0 {
        "Infinity"
    } else {
        "-Infinity"
    }
}

/// Formats a float as Python's `str` and `repr` do.
#[must_use]
pub fn format_float(x: f64) -> String {
    if x.is_nan() {
        return "nan".to_owned();
    }
    if x.is_infinite() {
        return if x > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    let mut bytes = Vec::new();
    write_finite(x, &mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Appends the shortest digits that parse to the same number. Like Python it uses exponents below
/// 0.0001 and from 1e16, with at least two digits.
pub(crate) fn write_finite(x: f64, bytes: &mut Vec<u8>) {
    let magnitude = x.abs();
    if magnitude == 0.0 || (1e-4..1e16).contains(&magnitude) {
        // Writing to a vector cannot fail.
        let _ = serde_json::to_writer(bytes, &x);
        return;
    }
    let scientific = format!("{x:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let (sign, exponent) = match exponent.strip_prefix('-') {
        Some(exponent) => ('-', exponent),
        None => ('+', exponent),
    };
    bytes.extend_from_slice(format!("{digits}e{sign}{exponent:0>2}").as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The expected texts were printed by Python 3.10.
    #[test]
    fn floats_are_formatted_as_by_python() {
        let cases = [
            (1.0, "1.0"),
            (-0.0, "-0.0"),
            (0.1, "0.1"),
            (1e15, "1000000000000000.0"),
            (1e16, "1e+16"),
            (1.5e16, "1.5e+16"),
            (1e22, "1e+22"),
            (0.0001, "0.0001"),
            (9.999e-5, "9.999e-05"),
            (1e-7, "1e-07"),
            (5e-324, "5e-324"),
            (f64::MAX, "1.7976931348623157e+308"),
            (9_999_999_999_999_998.0, "9999999999999998.0"),
            (123_456_789.125, "123456789.125"),
            (f64::NAN, "nan"),
            (f64::NEG_INFINITY, "-inf"),
        ];
        for (x, expected) in cases {
            assert_eq!(format_float(x), expected);
        }
    }

    #[test]
    fn times_have_microseconds_or_whole_seconds() {
        let iso = |nanos| {
            isoformat(Timestamp {
                seconds: 1_700_000_000,
                nanos,
            })
        };
        // Printed by Python for 0, 120000 and 1 microseconds.
        assert_eq!(iso(0), "2023-11-14T22:13:20");
        assert_eq!(iso(120_000_000), "2023-11-14T22:13:20.120000");
        assert_eq!(iso(1_999), "2023-11-14T22:13:20.000001");
    }
}
