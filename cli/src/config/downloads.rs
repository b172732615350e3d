//! Settings of downloads by the server.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, Visitor};

use crate::models::units;

/// Settings of the hub process.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct DownloadSettings {
    /// Bytes a second that all downloads may have together.
    #[serde(deserialize_with = "rate")]
    pub(super) download_limit: Option<u64>,
}

/// Reads `10MB`, or a number of bytes. 0 is no limit.
fn rate<'de, D: Deserializer<'de>>(source: D) -> Result<Option<u64>, D::Error> {
    struct Rate;

    impl Visitor<'_> for Rate {
        type Value = Option<u64>;

        fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
            to.write_str("bytes a second, such as \"10MB\"")
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
            match text.trim() {
                "0" => Ok(None),
                text => units::parse_bytes(text).map(Some).map_err(E::custom),
            }
        }

        fn visit_i64<E: Error>(self, bytes: i64) -> Result<Self::Value, E> {
            let bytes = u64::try_from(bytes).map_err(|_| E::custom("must not be negative"))?;
            Ok((bytes > 0).then_some(bytes))
        }
    }

    source.deserialize_any(Rate)
}
