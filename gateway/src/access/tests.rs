use chrono::TimeDelta;
use ipc_proto::gateway::NamePattern;

use super::*;

fn find(keys: &Keys, text: &str, scope: Scope) -> Result<Tenant> {
    keys.find([text].into_iter(), Some(scope), Moment::now())
}

/// A key in the database, with the scope `inference`.
fn record(id: &str, text: &str) -> KeyRecord {
    KeyRecord {
        id: id.into(),
        name: "laptop".into(),
        digest: secret::digest(text),
        last_four: secret::last_four(text),
        rights: Rights { scopes: vec![Scope::Inference], ..Rights::all() },
        limits: Limits::default(),
        store_content: false,
        created_at: 1,
        expires_at: None,
        last_used_at: None,
        revoked_at: None,
    }
}

fn stored(records: &[KeyRecord]) -> Keys {
    let keys = Keys::new([]);
    keys.require();
    keys.replace(records);
    keys
}

#[test]
fn tenant_only_of_complete_key_found() {
    let keys = Keys::new(["sk-one", "sk-two"]);
    assert!(find(&keys, "sk-one", Scope::Inference).is_ok() && find(&keys, "sk-two", Scope::Admin).is_ok());
    for wrong in ["", "sk-", "sk-on", "sk-one ", "sk-onex", "SK-ONE"] {
        let error = find(&keys, wrong, Scope::Inference).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Unauthorized, "{wrong}");
    }
    assert!(!Keys::new([]).are_needed() && keys.are_needed());
    assert!(!format!("{keys:?}").contains("sk-"));
}

#[test]
fn scopes_of_different_keys_or_salts_differ() {
    let keys = Keys::new(["sk-one", "sk-two"]);
    keys.replace(&[record("key_1", "sk-three")]);
    let scope = |key: &str, salt: &str| find(&keys, key, Scope::Inference).unwrap().scope(salt);
    assert_eq!(scope("sk-one", "a"), scope("sk-one", "a"));
    assert_ne!(scope("sk-one", "a"), scope("sk-two", "a"));
    assert_ne!(scope("sk-one", "a"), scope("sk-three", "a"));
    assert_ne!(scope("sk-one", "a"), scope("sk-one", ""));
    assert!(!scope("sk-one", "").contains("one"));
    // A crafted salt does not produce the scope of another tenant.
    assert_ne!(scope("sk-two", &scope("sk-one", "")), scope("sk-one", ""));
    assert_eq!(scope("sk-three", "").len(), scope("sk-one", "").len());
    assert_eq!(Tenant::default().scope("a"), "a");
    assert_eq!(Tenant::default().scope(""), "");
    let reordered = Keys::new(["sk-two", "sk-one"]);
    assert_eq!(find(&reordered, "sk-one", Scope::Inference).unwrap().scope(""), scope("sk-one", ""));
}

#[test]
fn revoked_key_is_refused_also_on_an_open_connection() {
    let keys = stored(&[record("key_1", "a")]);
    let tenant = find(&keys, "a", Scope::Inference).unwrap();
    tenant.admit(1, Moment::now()).unwrap();
    keys.replace(&[KeyRecord { revoked_at: Some(5), ..record("key_1", "a") }]);
    let error = find(&keys, "a", Scope::Inference).unwrap_err();
    assert_eq!((error.kind, &*error.message), (ErrorKind::Unauthorized, "this API key was revoked"));
    assert_eq!(tenant.admit(1, Moment::now()).unwrap_err().error.kind, ErrorKind::Unauthorized);
}

#[test]
fn keys_of_a_lost_database_are_refused() {
    let keys = stored(&[record("key_1", "a")]);
    let tenant = find(&keys, "a", Scope::Inference).unwrap();
    keys.replace(&[]);
    assert!(keys.are_needed());
    assert_eq!(find(&keys, "a", Scope::Inference).unwrap_err().kind, ErrorKind::Unauthorized);
    assert!(tenant.admit(1, Moment::now()).is_err());
}

#[test]
fn key_is_refused_from_its_expiry_on() {
    let now = Moment::now();
    let keys = stored(&[KeyRecord { expires_at: Some(now.time.timestamp() + 60), ..record("key_1", "a") }]);
    assert!(keys.find(["a"].into_iter(), Some(Scope::Inference), now).is_ok());
    let later = Moment { time: now.time + TimeDelta::seconds(60), ..now };
    let error = keys.find(["a"].into_iter(), Some(Scope::Inference), later).unwrap_err();
    assert!(error.kind == ErrorKind::Unauthorized && error.message.contains("expired on 20"), "{error}");
}

#[test]
fn scope_of_a_key_bounds_it() {
    let with = |scope| {
        let rights = Rights { scopes: vec![scope], ..Rights::all() };
        stored(&[KeyRecord { rights, ..record("key_1", "a") }])
    };
    for (has, allowed) in [
        (Scope::Inference, &[Scope::Inference][..]),
        (Scope::Admin, &[Scope::Admin, Scope::AdminRead]),
        (Scope::AdminRead, &[Scope::AdminRead]),
    ] {
        let keys = with(has);
        for scope in [Scope::Inference, Scope::Admin, Scope::AdminRead] {
            let found = find(&keys, "a", scope);
            assert_eq!(found.is_ok(), allowed.contains(&scope), "{has:?} {scope:?}");
            if let Err(error) = found {
                assert_eq!(error.kind, ErrorKind::PermissionDenied);
            }
        }
    }
}

/// Clients may send a key in both headers.
#[test]
fn valid_key_beside_a_refused_one_counts() {
    let keys = stored(&[KeyRecord { revoked_at: Some(5), ..record("key_1", "a") }, record("key_2", "b")]);
    let tenant = keys.find(["x", "a", "b"].into_iter(), Some(Scope::Inference), Moment::now()).unwrap();
    assert_eq!(&*tenant.identity().unwrap().id, "key_2");
}

#[test]
fn limits_go_on_when_keys_are_read_again() {
    let limits = Limits { requests_per_minute: Some(1), ..Limits::default() };
    let limited = KeyRecord { limits, ..record("key_1", "a") };
    let keys = stored(std::slice::from_ref(&limited));
    find(&keys, "a", Scope::Inference).unwrap().admit(0, Moment::now()).unwrap();
    keys.replace(&[limited, record("key_2", "b")]);
    let refused = find(&keys, "a", Scope::Inference).unwrap().admit(0, Moment::now()).unwrap_err();
    assert_eq!(refused.error.kind, ErrorKind::RateLimited);
    assert_eq!(refused.standing.unwrap().requests.unwrap().remaining, 0);
    let wait = refused.error.disposition.retry_after().unwrap();
    assert!(wait > Duration::from_secs(55) && wait <= Duration::from_secs(60), "{wait:?}");
}

#[test]
fn reserved_tokens_return_when_a_request_uses_none() {
    let limits = Limits { tokens_per_minute: Some(60_000), ..Limits::default() };
    let keys = stored(&[KeyRecord { limits, ..record("key_1", "a") }]);
    let tenant = find(&keys, "a", Scope::Inference).unwrap();
    let left = || tenant.standing(Moment::now()).unwrap().tokens.unwrap().remaining;
    let request = tenant.admit(50_000, Moment::now()).unwrap();
    assert!(left() < 20_000);
    drop(request.clone());
    assert!(left() < 20_000);
    drop(request);
    assert_eq!(left(), 60_000);
    let request = tenant.admit(50_000, Moment::now()).unwrap();
    request.spend(30_000);
    request.spend(10_000);
    drop(request);
    assert!((20_000..30_000).contains(&left()), "{}", left());
}

#[test]
fn models_are_bounded_by_names_and_beginnings() {
    let pattern = |text: &str| serde_json::from_value::<NamePattern>(text.into()).unwrap();
    let rights = Rights { models: vec![pattern("small"), pattern("org/*")], ..Rights::all() };
    let keys = stored(&[KeyRecord { rights, ..record("key_1", "a") }]);
    let tenant = find(&keys, "a", Scope::Inference).unwrap();
    assert!(tenant.may_use("small") && tenant.may_use("org/m") && Tenant::default().may_use("x"));
    for name in ["smaller", "org", "Small", "far/org/m"] {
        assert_eq!(tenant.check_model(name).unwrap_err().kind, ErrorKind::PermissionDenied, "{name}");
    }
}

#[test]
fn class_of_a_key_replaces_the_priority_of_requests() {
    let with = |priority| Rights { priority, ..Rights::all() };
    let of = |class, wanted| with(class).priority(wanted);
    assert_eq!(of(Some(Priority::Low), Priority::High), Priority::Low);
    assert_eq!(of(Some(Priority::High), Priority::Normal), Priority::High);
    assert_eq!(of(Some(Priority::High), Priority::Low), Priority::Low);
    assert_eq!(of(None, Priority::High), Priority::High);
}
