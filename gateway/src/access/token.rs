//! The token of a session: a JSON Web Token (RFC 7519) signed by HMAC-SHA-256.
//!
//! There is one algorithm and one header. A token with any other header is refused before its signature is looked at, so none
//! chooses how it is checked. The token names the row of its session; the row decides whether the session still lives.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretSlice};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

/// `{"alg":"HS256","typ":"JWT"}`.
const HEADER: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9";
/// A token is much shorter. Longer ones are not looked at.
const MAX_BYTES: usize = 1024;
/// The length of a secret, in bytes.
pub const SECRET_BYTES: usize = 32;

/// The claims of a session. Times are seconds since the epoch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// The session's id.
    pub sid: String,
    /// The session's secret. The database holds its SHA-256.
    pub jti: String,
    /// When it was issued.
    pub iat: i64,
    /// When it expires.
    pub exp: i64,
}

/// Makes a secret that signs tokens.
///
/// # Errors
/// The operating system gives no random bytes.
pub fn generate_secret() -> Result<[u8; SECRET_BYTES], getrandom::Error> {
    let mut secret = [0; SECRET_BYTES];
    getrandom::fill(&mut secret)?;
    Ok(secret)
}

/// A name for a secret that reveals nothing of it: 8 hexadecimal digits.
pub fn fingerprint(secret: &SecretSlice<u8>) -> String {
    let name = mac(secret, "mlxd cookie").map(|mac| mac.finalize().into_bytes());
    name.map(|bytes| super::secret::hex(&bytes[..4])).unwrap_or_default()
}

/// The token of these claims; `None` if the secret is empty.
pub fn sign(secret: &SecretSlice<u8>, claims: &Claims) -> Option<String> {
    let payload = URL_SAFE_NO_PAD.encode(serde_json::to_vec(claims).ok()?);
    let signed = format!("{HEADER}.{payload}");
    let signature = mac(secret, &signed)?.finalize().into_bytes();
    Some(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
}

/// The claims of a token that this secret has signed and that has not expired at `now`.
pub fn verify(secret: &SecretSlice<u8>, token: &str, now: i64) -> Option<Claims> {
    if token.len() > MAX_BYTES {
        return None;
    }
    let (signed, signature) = token.rsplit_once('.')?;
    let payload = signed.strip_prefix(HEADER)?.strip_prefix('.')?;
    let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
    mac(secret, signed)?.verify_slice(&signature).ok()?;
    let claims: Claims = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()?;
    (claims.exp > now).then_some(claims)
}

fn mac(secret: &SecretSlice<u8>, signed: &str) -> Option<Hmac<Sha256>> {
    // HMAC takes keys of any length. One that is empty would be no secret.
    let key = Some(secret.expose_secret()).filter(|key| !key.is_empty())?;
    Some(Hmac::<Sha256>::new_from_slice(key).ok()?.chain_update(signed))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn secret(byte: u8) -> SecretSlice<u8> {
        vec![byte; SECRET_BYTES].into()
    }

    fn claims() -> Claims {
        Claims { sid: "ses_1".into(), jti: "a".into(), iat: 100, exp: 200 }
    }

    fn encoded(value: &Value) -> String {
        URL_SAFE_NO_PAD.encode(value.to_string())
    }

    /// A token with this header and these claims, signed by HMAC-SHA-256.
    fn signed_as(header: &Value, claims: &Value, secret: &SecretSlice<u8>) -> String {
        let signed = format!("{}.{}", encoded(header), encoded(claims));
        let signature = mac(secret, &signed).unwrap().finalize().into_bytes();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    #[test]
    fn header_is_that_of_hs256() {
        let header: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(HEADER).unwrap()).unwrap();
        assert_eq!(header, json!({"alg": "HS256", "typ": "JWT"}));
    }

    /// The example of RFC 7515, A.1, has other white space in its header: its signature shows that the MAC is the standard's.
    #[test]
    fn signature_is_that_of_the_standard() {
        let key = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";
        let key: SecretSlice<u8> = URL_SAFE_NO_PAD.decode(key).unwrap().into();
        let signed = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.\
                      eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
        let signature = mac(&key, signed).unwrap().finalize().into_bytes();
        assert_eq!(URL_SAFE_NO_PAD.encode(signature), "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
    }

    #[test]
    fn token_is_valid_until_it_expires() {
        let token = sign(&secret(1), &claims()).unwrap();
        assert_eq!(verify(&secret(1), &token, 199), Some(claims()));
        assert_eq!(verify(&secret(1), &token, 200), None);
    }

    #[test]
    fn token_of_another_secret_is_refused() {
        let token = sign(&secret(1), &claims()).unwrap();
        assert_eq!(verify(&secret(2), &token, 150), None);
        assert_eq!(verify(&Vec::new().into(), &token, 150), None);
        assert_eq!(sign(&Vec::new().into(), &claims()), None);
    }

    #[test]
    fn other_algorithms_are_refused() {
        let body = json!(claims());
        for header in [
            json!({"alg": "none"}),
            json!({"alg": "none", "typ": "JWT"}),
            json!({"alg": "HS512", "typ": "JWT"}),
            json!({"alg": "RS256", "typ": "JWT"}),
            json!({"typ": "JWT", "alg": "HS256"}),
        ] {
            assert_eq!(verify(&secret(1), &signed_as(&header, &body, &secret(1)), 150), None, "{header}");
            let unsigned = format!("{}.{}.", encoded(&header), encoded(&body));
            assert_eq!(verify(&secret(1), &unsigned, 150), None, "{header} without a signature");
        }
        let right = signed_as(&json!({"alg": "HS256", "typ": "JWT"}), &body, &secret(1));
        assert!(verify(&secret(1), &right, 150).is_some());
        assert_eq!(verify(&secret(1), &format!("{HEADER}.{}.", encoded(&body)), 150), None);
    }

    #[test]
    fn signed_claims_without_an_expiry_are_refused() {
        let header = json!({"alg": "HS256", "typ": "JWT"});
        for wrong in [json!({}), json!({"sid": "ses_1", "jti": "a", "iat": 1}), json!("ses_1")] {
            assert_eq!(verify(&secret(1), &signed_as(&header, &wrong, &secret(1)), 150), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn changed_token_is_refused(at in 0usize..1000, to in "[A-Za-z0-9_.-]") {
            let token = sign(&secret(1), &claims()).unwrap();
            let at = at % token.len();
            let changed = format!("{}{to}{}", &token[..at], &token[at + 1..]);
            prop_assume!(changed != token);
            prop_assert_eq!(verify(&secret(1), &changed, 150), None);
        }

        #[test]
        fn any_text_is_looked_at_without_panic(text in "\\PC{0,200}") {
            prop_assert_eq!(verify(&secret(1), &text, 150), None);
        }
    }
}
