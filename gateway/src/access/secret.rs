//! The secrets of API keys. The database holds their SHA-256 only. A fast hash is enough: a secret has 256 random bits, so it
//! is not found by trying.

use std::fmt::Write;

use secrecy::SecretString;
use sha2::{Digest as _, Sha256};

/// The beginning of every secret, by which scanners recognise it.
const PREFIX: &str = "mlxd_";
/// Random bytes of a secret.
const BYTES: usize = 32;
/// Characters at the end of a secret that lists show.
const SHOWN: usize = 4;

/// The SHA-256 of a secret.
pub type Digest = [u8; 32];

/// Makes a new secret: `mlxd_` and 64 hexadecimal digits.
///
/// # Errors
/// The operating system gives no random bytes.
pub fn generate() -> Result<SecretString, getrandom::Error> {
    let mut bytes = [0; BYTES];
    getrandom::fill(&mut bytes)?;
    Ok(format!("{PREFIX}{}", hex(&bytes)).into())
}

/// Makes an id of this kind, such as `key`.
///
/// # Errors
/// The operating system gives no random bytes.
pub fn generate_id(kind: &str) -> Result<String, getrandom::Error> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes)?;
    Ok(format!("{kind}_{}", hex(&bytes)))
}

/// The SHA-256 of a secret.
pub fn digest(secret: &str) -> Digest {
    Sha256::digest(secret).into()
}

/// The end of a secret, by which its owner recognises it.
pub fn last_four(secret: &str) -> String {
    let from = secret.char_indices().rev().nth(SHOWN - 1).map_or(0, |(at, _)| at);
    secret[from..].to_owned()
}

/// Lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String never fails.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn secrets_are_long_and_different() {
        let [one, other] = [generate().unwrap(), generate().unwrap()];
        assert_ne!(one.expose_secret(), other.expose_secret());
        let digits = one.expose_secret().strip_prefix("mlxd_").unwrap();
        assert!(digits.len() == 64 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()), "{digits}");
        assert!(one.expose_secret().ends_with(&last_four(one.expose_secret())));
        assert!(!format!("{one:?}").contains(digits));
    }

    #[test]
    fn digest_is_sha256() {
        // FIPS 180-4, the example of one block.
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(hex(&digest("abc")), expected);
    }
}
