//! Durations in Gateway API form (GEP-2257): `10s`, `1m30s`, `250ms`.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::schema::DURATION_FORM;

/// A duration as Gateway API writes it: up to four groups of one to five digits and a unit of `h`, `m`, `s`, `ms`
/// (GEP-2257: `^([0-9]{1,5}(h|m|s|ms)){1,4}$`), in all at most `99999h59m59s999ms`, the longest its standard form can
/// say. Anything finer than a millisecond is not written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Duration(pub time::Duration);

/// `99999h59m59s999ms`.
const LONGEST_MS: u64 = 99_999 * 3_600_000 + 3_599_999;

impl FromStr for Duration {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("{text:?} is not a duration: write groups such as 10s, 1m30s or 250ms (GEP-2257)");
        let (mut rest, mut millis, mut groups) = (text, 0u64, 0);
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
            let (number, tail) = rest.split_at(digits);
            if number.is_empty() || number.len() > 5 {
                return Err(wrong());
            }
            // `ms` before `m`: the longer unit is the one meant.
            let (unit, tail) = [("ms", 1), ("h", 3_600_000), ("m", 60_000), ("s", 1_000)]
                .into_iter()
                .find_map(|(name, unit)| tail.strip_prefix(name).map(|tail| (unit, tail)))
                .ok_or_else(wrong)?;
            groups += 1;
            if groups > 4 {
                return Err(wrong());
            }
            // At most 4 groups of 99,999 hours: far from overflow.
            millis += number.parse::<u64>().map_err(|_| wrong())? * unit;
            rest = tail;
        }
        if groups == 0 {
            return Err(wrong());
        }
        if millis > LONGEST_MS {
            return Err(format!("{text:?} is too long: write at most 99999h59m59s999ms (GEP-2257)"));
        }
        Ok(Self(time::Duration::from_millis(millis)))
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut millis = self.0.as_millis();
        if millis == 0 {
            return f.write_str("0s");
        }
        for (name, unit) in [("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)] {
            if millis >= unit {
                write!(f, "{}{name}", millis / unit)?;
                millis %= unit;
            }
        }
        Ok(())
    }
}

impl Serialize for Duration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Duration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for Duration {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "pattern": DURATION_FORM.pattern,
            "maxLength": DURATION_FORM.longest,
            "description": "A Gateway API duration (GEP-2257), such as 10s, 1m30s or 250ms."
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Parsing vectors of GEP-2257.
    #[test]
    fn the_vectors_of_the_enhancement_proposal_hold() {
        for (text, standard) in [
            ("0h", "0s"),
            ("0s", "0s"),
            ("0h0m0s", "0s"),
            ("1h", "1h"),
            ("30m", "30m"),
            ("10s", "10s"),
            ("500ms", "500ms"),
            ("2h30m", "2h30m"),
            ("150m", "2h30m"),
            ("7230s", "2h30s"),
            ("1h30m10s", "1h30m10s"),
            ("10s30m1h", "1h30m10s"),
            ("100ms200ms300ms", "600ms"),
            ("00060m", "1h"),
            ("99999h59m59s999ms", "99999h59m59s999ms"),
        ] {
            assert_eq!(text.parse::<Duration>().unwrap().to_string(), standard, "{text}");
        }
        for text in [
            "",
            "1",
            "1m1",
            "1d",
            "1h30m10s20ms50h",
            "999999h",
            "1.5h",
            "-15m",
            " 1s",
            "1s ",
            "s",
            "1S",
            "+1s",
            "1\u{663}s",
            "99999h60m",
            "99999h99999h99999h99999h",
        ] {
            assert!(text.parse::<Duration>().is_err(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn what_parses_round_trips_through_its_standard_form(text in "([0-9]{1,5}(h|m|s|ms)){1,4}") {
            if let Ok(duration) = text.parse::<Duration>() {
                let standard = duration.to_string();
                prop_assert_eq!(standard.parse::<Duration>(), Ok(duration), "{}", standard);
            }
        }

        #[test]
        fn whole_milliseconds_up_to_the_longest_round_trip(millis in 0..=LONGEST_MS) {
            let duration = Duration(time::Duration::from_millis(millis));
            prop_assert_eq!(duration.to_string().parse::<Duration>(), Ok(duration));
        }

        #[test]
        fn no_text_makes_parsing_panic(text in ".{0,32}") {
            let _ = text.parse::<Duration>();
        }
    }
}
