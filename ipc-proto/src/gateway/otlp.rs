//! Headers of requests that carry traces and metrics away.

use percent_encoding::percent_decode_str;
use secrecy::{ExposeSecret, SecretString};
use serde::de::{Deserialize, Deserializer, Error};
use serde::ser::{Serialize, Serializer};

use super::text::{is_header_name, is_header_value};

/// Headers as OpenTelemetry's variables have them: `name=value` with commas between them, the values percent-encoded. They may carry
/// a token; `Debug` redacts them.
#[derive(Debug, Clone)]
pub struct OtlpHeaders(SecretString);

impl OtlpHeaders {
    /// Reads the text of `OTEL_EXPORTER_OTLP_HEADERS`.
    ///
    /// # Errors
    /// A part has no name, or is no header. The error quotes nothing.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let headers = Self(text.into());
        if headers.iter().all(|pair| pair.is_some()) {
            Ok(headers)
        } else {
            Err("must be name=value, and several with commas between them")
        }
    }

    /// The header that Pydantic Logfire reads its token from.
    pub fn logfire(token: &str) -> Self {
        Self(format!("authorization={}", token.trim()).into())
    }

    /// Each header: its name in lower case, and its value in clear text.
    pub fn expose(&self) -> impl Iterator<Item = (String, String)> {
        self.iter().flatten()
    }

    fn iter(&self) -> impl Iterator<Item = Option<(String, String)>> {
        let parts = self.0.expose_secret().split(',').map(str::trim).filter(|part| !part.is_empty());
        parts.map(|part| {
            let (name, value) = part.split_once('=')?;
            let name = name.trim().to_ascii_lowercase();
            let value = percent_decode_str(value.trim()).decode_utf8().ok()?.into_owned();
            (is_header_name(&name) && is_header_value(&value)).then_some((name, value))
        })
    }
}

impl Serialize for OtlpHeaders {
    /// In clear text, for the document.
    fn serialize<S: Serializer>(&self, target: S) -> Result<S::Ok, S::Error> {
        target.serialize_str(self.0.expose_secret())
    }
}

impl<'de> Deserialize<'de> for OtlpHeaders {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        // The usual message would quote the value.
        let text = SecretString::deserialize(source).map_err(|_| D::Error::custom("must be a text"))?;
        Self::parse(text.expose_secret()).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_as_opentelemetry_writes_them() {
        let headers = OtlpHeaders::parse("Authorization=Bearer%20abc, x-team = red,").unwrap();
        let pairs: Vec<_> = headers.expose().collect();
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(pairs, [pair("authorization", "Bearer abc"), pair("x-team", "red")]);
        assert!(!format!("{headers:?}").contains("abc"));
    }

    #[test]
    fn wrong_headers_are_refused_and_not_quoted() {
        for text in ["hidden", "=hidden", "a b=hidden", "a=hidden%0D%0Ab: c"] {
            let problem = OtlpHeaders::parse(text).unwrap_err();
            assert!(problem.contains("name=value") && !problem.contains("hidden"), "{problem}");
        }
    }
}
