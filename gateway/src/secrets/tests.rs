use proptest::prelude::*;

use super::*;

const AT: Location<'_> = Location { table: "providers", row: "far", column: "sealed_key" };

fn key(byte: u8) -> MasterKey {
    MasterKey::new([byte; 32])
}

fn sealed(secret: &str) -> Vec<u8> {
    seal(&key(1), &secret.into(), AT).unwrap()
}

fn opened(key: &MasterKey, sealed: &[u8], at: Location<'_>) -> Result<String, OpenError> {
    open(key, sealed, at).map(|secret| secret.expose_secret().to_owned())
}

#[test]
fn sealed_secret_opens_in_its_place_only() {
    let sealed = sealed("sk-hidden");
    assert_eq!(opened(&key(1), &sealed, AT).as_deref(), Ok("sk-hidden"));
    assert!(!sealed.windows(9).any(|part| part == b"sk-hidden"));
    for other in [
        Location { row: "near", ..AT },
        Location { table: "keys", ..AT },
        Location { column: "other", ..AT },
        Location { row: "far\0sealed_key", column: "", ..AT },
    ] {
        assert_eq!(opened(&key(1), &sealed, other), Err(OpenError::Changed), "{other:?}");
    }
}

#[test]
fn other_key_is_named_by_its_id() {
    let sealed = sealed("sk-hidden");
    let wanted = id_of(&key(1));
    assert_eq!(opened(&key(2), &sealed, AT), Err(OpenError::OtherKey(wanted)));
    assert_eq!(sealed_by(&sealed), Some(wanted));
    let text = OpenError::OtherKey(wanted).to_string();
    assert!(text.contains(&wanted.to_string()) && wanted.to_string().len() == 16, "{text}");
}

#[test]
fn same_secret_is_sealed_differently_each_time() {
    assert_ne!(sealed("sk-hidden"), sealed("sk-hidden"));
}

#[test]
fn other_forms_are_refused() {
    let mut later = sealed("x");
    later[0] = 2;
    for wrong in [&b""[..], &b"\x01"[..], &b"sk-hidden"[..], &later[..], &sealed("x")[..20]] {
        assert_eq!(opened(&key(1), wrong, AT), Err(OpenError::Form), "{wrong:?}");
        assert_eq!(sealed_by(wrong), None);
    }
}

#[test]
fn generated_keys_differ() {
    assert_ne!(id_of(&generate().unwrap()), id_of(&generate().unwrap()));
}

proptest! {
    #[test]
    fn any_secret_is_restored_and_any_changed_byte_noticed(
        secret in ".{0,200}",
        at in any::<prop::sample::Index>(),
        flip in 1u8..=255,
    ) {
        let mut sealed = sealed(&secret);
        let restored = opened(&key(1), &sealed, AT);
        prop_assert_eq!(restored.as_deref(), Ok(&*secret));
        let at = at.index(sealed.len());
        sealed[at] ^= flip;
        prop_assert!(opened(&key(1), &sealed, AT).is_err());
    }
}
