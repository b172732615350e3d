//! The limits of a provider.

use serde::de::{Deserialize, Deserializer, Error};
use serde::ser::{Serialize, Serializer};

/// Billionths in one.
const NANO: f64 = 1e9;
/// The highest limit of cost, in dollars.
const MAX_DOLLARS: f64 = 1e6;

/// The limits of a provider over all its models. `None`: no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct ProviderLimits {
    /// Requests in a minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests_per_minute: Option<u32>,
    /// Tokens of prompts and outputs in a minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens_per_minute: Option<u32>,
    /// US dollars in a calendar day (UTC), by the prices of its models.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schemars", schemars(with = "Option<f64>"))]
    pub cost_per_day: Option<Dollars>,
    /// US dollars in a calendar month (UTC).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schemars", schemars(with = "Option<f64>"))]
    pub cost_per_month: Option<Dollars>,
}

/// An amount of money, in billionths of a US dollar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Dollars(pub u64);

impl ProviderLimits {
    /// Whether there is no limit.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether there is a limit of cost.
    pub fn has_cost(&self) -> bool {
        self.cost_per_day.is_some() || self.cost_per_month.is_some()
    }

    /// Checks the values.
    ///
    /// # Errors
    /// The limit that is 0.
    pub(super) fn check(&self) -> Result<(), String> {
        let minutes = [
            ("requests_per_minute", self.requests_per_minute),
            ("tokens_per_minute", self.tokens_per_minute),
        ];
        match minutes.into_iter().find(|(_, limit)| *limit == Some(0)) {
            Some((name, _)) => Err(format!("{name} must be at least 1")),
            None => Ok(()),
        }
    }
}

impl Serialize for Dollars {
    fn serialize<S: Serializer>(&self, target: S) -> Result<S::Ok, S::Error> {
        target.serialize_f64(self.0 as f64 / NANO)
    }
}

impl<'de> Deserialize<'de> for Dollars {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        let dollars = f64::deserialize(source)?;
        let nano = (dollars * NANO).round();
        if !(0.0..=MAX_DOLLARS).contains(&dollars) || nano < 1.0 {
            return Err(D::Error::custom(format!("must be more than 0 and at most {MAX_DOLLARS} dollars")));
        }
        Ok(Self(nano as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_survive_their_document() {
        let text = r#"{"requests_per_minute":60,"cost_per_day":0.5}"#;
        let limits: ProviderLimits = serde_json::from_str(text).unwrap();
        assert_eq!((limits.cost_per_day, limits.has_cost()), (Some(Dollars(500_000_000)), true));
        assert_eq!(serde_json::to_string(&limits).unwrap(), text);
        assert!(serde_json::from_str::<ProviderLimits>("{}").unwrap().is_empty());
    }

    #[test]
    fn wrong_limits_are_refused() {
        for text in [r#"{"cost_per_day":0}"#, r#"{"cost_per_month":-1}"#, r#"{"cost_per_year":1}"#] {
            assert!(serde_json::from_str::<ProviderLimits>(text).is_err(), "{text}");
        }
        let zero = ProviderLimits { tokens_per_minute: Some(0), ..ProviderLimits::default() };
        assert_eq!(zero.check().unwrap_err(), "tokens_per_minute must be at least 1");
    }
}
