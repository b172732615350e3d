//! The master key, which seals the keys of providers in the database.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use secrecy::{ExposeSecret, SecretBox, SecretString};
use serde::de::{Deserialize, Deserializer, Error};
use serde::ser::{Serialize, Serializer};

/// The length of a master key, in bytes.
const BYTES: usize = 32;

/// A key of 32 bytes. `Debug` redacts it.
#[derive(Debug)]
pub struct MasterKey(SecretBox<[u8; BYTES]>);

impl MasterKey {
    /// The key of these bytes.
    pub fn new(bytes: [u8; BYTES]) -> Self {
        Self(SecretBox::new(Box::new(bytes)))
    }

    /// Reads 64 hexadecimal digits, or 32 bytes in base64.
    ///
    /// # Errors
    /// The text is neither. The error does not quote it.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let text = text.trim();
        let bytes = if text.len() == 2 * BYTES { from_hex(text) } else { from_base64(text) };
        bytes.map(Self::new).ok_or("must be 64 hexadecimal digits, or 32 bytes in base64")
    }

    /// The bytes.
    pub fn expose(&self) -> &[u8; BYTES] {
        self.0.expose_secret()
    }

    /// The key as 64 hexadecimal digits.
    pub fn to_hex(&self) -> SecretString {
        let digits = self.expose().iter().flat_map(|byte| [byte >> 4, byte & 15]);
        let text: String = digits.filter_map(|digit| char::from_digit(digit.into(), 16)).collect();
        text.into()
    }
}

fn from_hex(text: &str) -> Option<[u8; BYTES]> {
    let mut bytes = [0; BYTES];
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
        let digit = |at: usize| char::from(pair[at]).to_digit(16);
        *byte = u8::try_from((digit(0)? << 4) | digit(1)?).ok()?;
    }
    Some(bytes)
}

fn from_base64(text: &str) -> Option<[u8; BYTES]> {
    let config = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    GeneralPurpose::new(&STANDARD, config).decode(text).ok()?.try_into().ok()
}

impl Clone for MasterKey {
    fn clone(&self) -> Self {
        Self::new(*self.expose())
    }
}

impl Serialize for MasterKey {
    /// In clear text, for the document.
    fn serialize<S: Serializer>(&self, target: S) -> Result<S::Ok, S::Error> {
        target.serialize_str(self.to_hex().expose_secret())
    }
}

impl<'de> Deserialize<'de> for MasterKey {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        // The usual message would quote the value.
        let text = SecretString::deserialize(source).map_err(|_| D::Error::custom("must be a text"))?;
        Self::parse(text.expose_secret()).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bytes from 0 to 31.
    const HEX: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
    const BASE64: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

    #[test]
    fn key_is_read_from_hex_and_base64() {
        let expected: [u8; BYTES] = std::array::from_fn(|at| at as u8);
        for text in [HEX, &HEX.to_uppercase(), BASE64, BASE64.trim_end_matches('='), &format!("{HEX}\n")] {
            assert_eq!(MasterKey::parse(text).unwrap().expose(), &expected, "{text}");
        }
        assert_eq!(MasterKey::new(expected).to_hex().expose_secret(), HEX);
    }

    #[test]
    fn wrong_key_is_refused_and_not_quoted() {
        for text in ["", "short", &HEX[2..], &HEX.replace('0', "g"), &BASE64[4..], &"é".repeat(32)] {
            let problem = MasterKey::parse(text).unwrap_err();
            assert!(problem.contains("64 hexadecimal digits"), "{text}: {problem}");
        }
        let problem = serde_json::from_str::<MasterKey>("\"hidden\"").unwrap_err().to_string();
        assert!(!problem.contains("hidden"), "{problem}");
        assert!(!serde_json::from_str::<MasterKey>("12345").unwrap_err().to_string().contains("12345"));
        assert!(!format!("{:?}", MasterKey::parse(HEX).unwrap()).contains("0102"));
    }
}
