//! The password of the web UI. It is stored as an Argon2id hash with the parameters of OWASP's cheat sheet, so that a stolen
//! database does not reveal it: <https://cheatsheetseries.owasp.org/cheatsheets/Password_Storage_Cheat_Sheet.html>.
//!
//! Hashing takes 19 MiB and tens of milliseconds of one core. Callers bound how many run at once.

use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use secrecy::{ExposeSecret, SecretString};

/// The shortest password, in bytes.
pub const MIN_BYTES: usize = 8;
/// The longest one.
pub const MAX_BYTES: usize = 1024;

/// Memory in KiB, passes and lanes.
const COST: (u32, u32, u32) = (19 << 10, 2, 1);
const SALT_BYTES: usize = 16;
/// The hash of no password. Where none is set, a guess is compared with it, so that the answer takes as long.
const NO_PASSWORD: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// A password of an allowed length.
#[derive(Debug, Clone)]
pub struct Password(SecretString);

/// Why a password cannot be hashed.
#[derive(Debug, thiserror::Error)]
pub enum HashError {
    /// The operating system gives no random bytes.
    #[error("no random bytes: {0}")]
    Random(#[from] getrandom::Error),
    /// The hash function refuses.
    #[error("the password cannot be hashed: {0}")]
    Hash(argon2::password_hash::Error),
}

impl Password {
    /// A new password.
    ///
    /// # Errors
    /// A sentence: it is too short or too long.
    pub fn new(text: SecretString) -> Result<Self, String> {
        let bytes = text.expose_secret().len();
        if (MIN_BYTES..=MAX_BYTES).contains(&bytes) {
            return Ok(Self(text));
        }
        Err(format!("a password has {MIN_BYTES} to {MAX_BYTES} bytes; this one has {bytes}"))
    }

    /// Its hash with a random salt, as a PHC string. Slow.
    ///
    /// # Errors
    /// There are no random bytes.
    pub fn hash(&self) -> Result<String, HashError> {
        let mut salt = [0; SALT_BYTES];
        getrandom::fill(&mut salt)?;
        let hashed = hasher()
            .and_then(|hasher| hasher.hash_password_with_salt(self.0.expose_secret().as_bytes(), &salt));
        hashed.map(|hash| hash.to_string()).map_err(HashError::Hash)
    }
}

/// Whether a guess is the password of `hash`; never if there is none. Slow, and as slow without a hash.
pub fn is_right(guess: &SecretString, hash: Option<&str>) -> bool {
    let wanted = hash.unwrap_or(NO_PASSWORD);
    let compared =
        hasher().and_then(|hasher| hasher.verify_password(guess.expose_secret().as_bytes(), wanted));
    compared.is_ok() && hash.is_some()
}

fn hasher() -> Result<Argon2<'static>, argon2::password_hash::Error> {
    let (memory, passes, lanes) = COST;
    let params =
        Params::new(memory, passes, lanes, None).map_err(|_| argon2::password_hash::Error::ParamsInvalid)?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn password(text: &str) -> Result<Password, String> {
        Password::new(text.into())
    }

    #[test]
    fn only_the_password_itself_is_right() {
        let hash = password("correct horse").unwrap().hash().unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert!(is_right(&"correct horse".into(), Some(&hash)));
        for wrong in ["", "correct hors", "correct horse ", "Correct horse"] {
            assert!(!is_right(&wrong.into(), Some(&hash)), "{wrong}");
        }
        assert_ne!(password("correct horse").unwrap().hash().unwrap(), hash, "each has a salt of its own");
    }

    #[test]
    fn length_is_bounded_in_bytes() {
        for (text, fits) in [
            ("1234567".to_owned(), false),
            ("12345678".to_owned(), true),
            ("äöüß".to_owned(), true),
            ("a".repeat(1024), true),
            ("a".repeat(1025), false),
        ] {
            let made = password(&text);
            assert_eq!(made.is_ok(), fits, "{}", text.len());
            assert!(made.err().is_none_or(|problem| !problem.contains(&text)), "a password in an error");
        }
        assert!(!format!("{:?}", password("correct horse").unwrap()).contains("horse"));
    }

    #[test]
    fn guess_without_a_password_takes_as_long() {
        let hash = password("correct horse").unwrap().hash().unwrap();
        let time = |hash: Option<&str>| {
            let run = || {
                let start = Instant::now();
                assert!(!is_right(&"a wrong guess".into(), hash));
                start.elapsed()
            };
            (0..5).map(|_| run()).min().unwrap()
        };
        let (absent, wrong) = (time(None), time(Some(&hash)));
        assert!(absent * 3 > wrong && wrong * 3 > absent, "{absent:?} {wrong:?}");
    }

    #[test]
    fn damaged_hash_opens_nothing() {
        for damaged in ["", "x", "$argon2id$", NO_PASSWORD] {
            assert!(!is_right(&"correct horse".into(), Some(damaged)), "{damaged}");
        }
    }
}
