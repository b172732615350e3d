//! The prices of a provider's models, and the cost of a request.

use serde::de::Error;

/// Picodollars in a nanodollar.
const PICO_PER_NANO: u64 = 1000;
/// The highest price, in dollars for a million tokens.
const MAX_DOLLARS: f64 = 1e6;

/// The prices of one model, the earliest first. The one with the latest day that has come counts.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema), schemars(rename = "ModelPrices"))]
#[serde(try_from = "PricesForm", into = "Vec<Price>")]
pub struct Prices(Vec<Price>);

/// A price from some day on, in US dollars for a million tokens.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema), schemars(rename = "ModelPrice"))]
#[serde(deny_unknown_fields)]
pub struct Price {
    /// Tokens of the prompt.
    #[cfg_attr(feature = "schemars", schemars(with = "f64"))]
    pub input: Rate,
    /// Tokens of the prompt that came from the provider's cache; as `input` if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schemars", schemars(with = "Option<f64>"))]
    pub cached_input: Option<Rate>,
    /// Tokens of the output, reasoning included.
    #[cfg_attr(feature = "schemars", schemars(with = "f64"))]
    pub output: Rate,
    /// The first day (UTC) of this price, such as `2026-11-01`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
}

/// The price of one token, in picodollars. That is also the price of a million tokens in microdollars.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rate(u64);

/// The tokens of a request that cost something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PricedTokens {
    /// Tokens of the prompt.
    pub prompt: u32,
    /// The part of them that came from a cache.
    pub cached: u32,
    /// Tokens of the output.
    pub output: u32,
}

#[derive(serde::Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema), schemars(rename = "ModelPricesForm"))]
#[serde(
    untagged,
    expecting = "must be a table with input, output, cached_input and since, or a list of such"
)]
enum PricesForm {
    One(Price),
    Several(Vec<Price>),
}

impl Prices {
    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The price on a day, written as in `since`. `None` if the first one begins later.
    pub fn on(&self, day: &str) -> Option<&Price> {
        self.0.iter().rev().find(|price| price.since.as_deref().is_none_or(|since| since <= day))
    }
}

impl Price {
    /// The cost of a request, in nanodollars.
    pub fn cost(&self, tokens: PricedTokens) -> u64 {
        let cached = tokens.cached.min(tokens.prompt);
        let parts = [
            (tokens.prompt - cached, self.input),
            (cached, self.cached_input.unwrap_or(self.input)),
            (tokens.output, self.output),
        ];
        let pico = parts.iter().map(|(count, rate)| u64::from(*count).saturating_mul(rate.0));
        let pico = pico.fold(0, u64::saturating_add);
        pico.saturating_add(PICO_PER_NANO / 2) / PICO_PER_NANO
    }
}

impl TryFrom<PricesForm> for Prices {
    type Error = String;

    fn try_from(form: PricesForm) -> Result<Self, String> {
        let mut prices = match form {
            PricesForm::One(price) => vec![price],
            PricesForm::Several(prices) => prices,
        };
        if let Some(wrong) = prices.iter().filter_map(|price| price.since.as_deref()).find(|day| !is_day(day))
        {
            return Err(format!("since: \"{wrong}\" is no day such as 2026-11-01"));
        }
        prices.sort_by(|one, other| one.since.cmp(&other.since));
        if let Some(pair) = prices.windows(2).find(|pair| pair[0].since == pair[1].since) {
            let day = pair[0].since.as_deref().unwrap_or("no day");
            return Err(format!("since: two prices begin with {day}"));
        }
        Ok(Self(prices))
    }
}

impl From<Prices> for Vec<Price> {
    fn from(prices: Prices) -> Self {
        prices.0
    }
}

/// Whether a text has the form of a day, so that texts sort as days do.
fn is_day(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let [year, month, day] = parts[..] else { return false };
    let number = |text: &str, digits: usize| -> Option<u32> {
        (text.len() == digits && text.bytes().all(|b| b.is_ascii_digit()))
            .then(|| text.parse().ok())
            .flatten()
    };
    number(year, 4).is_some()
        && number(month, 2).is_some_and(|month| (1..=12).contains(&month))
        && number(day, 2).is_some_and(|day| (1..=31).contains(&day))
}

impl serde::Serialize for Rate {
    fn serialize<S: serde::Serializer>(&self, target: S) -> Result<S::Ok, S::Error> {
        target.serialize_f64(self.0 as f64 / 1e6)
    }
}

impl<'de> serde::Deserialize<'de> for Rate {
    fn deserialize<D: serde::Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        let dollars = f64::deserialize(source)?;
        if !(0.0..=MAX_DOLLARS).contains(&dollars) {
            return Err(D::Error::custom(format!(
                "a price lies between 0 and {MAX_DOLLARS} dollars for a million tokens"
            )));
        }
        Ok(Self((dollars * 1e6).round() as u64))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn prices(text: &str) -> Result<Prices, String> {
        serde_json::from_str(text).map_err(|error| error.to_string())
    }

    #[test]
    fn cost_counts_cached_tokens_at_their_own_price() {
        let all = prices(r#"{"input": 3, "cached_input": 0.3, "output": 15}"#).unwrap();
        let price = all.on("2026-11-29").unwrap();
        let tokens = PricedTokens { prompt: 1000, cached: 400, output: 200 };
        // 600 at 3, 400 at 0.3 and 200 at 15 dollars for a million, in nanodollars.
        assert_eq!(price.cost(tokens), 1_800_000 + 120_000 + 3_000_000);
        let plain = prices(r#"{"input": 3, "output": 15}"#).unwrap();
        assert_eq!(plain.on("2026-11-29").unwrap().cost(tokens), 3_000_000 + 3_000_000);
    }

    #[test]
    fn price_of_the_day_counts() {
        let all = prices(
            r#"[{"input": 2, "output": 2, "since": "2026-06-01"}, {"input": 1, "output": 1}, {"input": 3, "output": 3, "since": "2026-12-01"}]"#,
        )
        .unwrap();
        let on = |day: &str| all.on(day).unwrap().cost(PricedTokens { prompt: 1, ..PricedTokens::default() });
        assert_eq!(
            [on("2026-05-31"), on("2026-06-01"), on("2026-11-30"), on("2027-01-01")],
            [1000, 2000, 2000, 3000]
        );
        let later = prices(r#"{"input": 2, "output": 2, "since": "2026-06-01"}"#).unwrap();
        assert_eq!(later.on("2026-05-31"), None);
    }

    #[test]
    fn wrong_price_is_refused() {
        for (text, part) in [
            (r#"{"input": -1, "output": 1}"#, "must be a table"),
            (r#"{"input": 1}"#, "must be a table"),
            (r#"{"input": 1, "output": 1, "since": "yesterday"}"#, "no day"),
            (r#"{"input": 1, "output": 1, "since": "2026-13-01"}"#, "no day"),
            (r#"[{"input": 1, "output": 1}, {"input": 2, "output": 1}]"#, "two prices begin with no day"),
        ] {
            let problem = prices(text).unwrap_err();
            assert!(problem.contains(part), "{text}: {problem}");
        }
    }

    proptest! {
        #[test]
        fn prices_are_restored_from_what_was_written(input in 0u32..=9_999_999, output in 0u32..=9_999_999) {
            let text = format!(r#"{{"input": {}, "output": {}}}"#, f64::from(input) / 1e4, f64::from(output) / 1e4);
            let one = prices(&text).unwrap();
            let written = serde_json::to_string(&one).unwrap();
            prop_assert_eq!(prices(&written).unwrap(), one);
        }
    }
}
