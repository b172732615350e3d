use super::*;

#[test]
fn joined_name_has_both_names_and_fits() {
    assert_eq!(joined_name(None, "get"), "get");
    assert_eq!(joined_name(Some("mcp__wx__"), "get"), "mcp__wx__get");
    assert_eq!(joined_name(Some("crm"), "list orders"), "crm__list_orders");
    let long = |name: &str| joined_name(Some(&"n".repeat(MAX_NAME_BYTES)), name);
    assert_eq!(long("a").len(), MAX_NAME_BYTES);
    assert_ne!(long("a"), long("b"));
}

#[test]
fn offered_name_distinguishes_kinds_and_groups() {
    let mut forms = CallForms::default();
    let form = |kind, namespace: Option<&str>| CallForm {
        kind,
        namespace: namespace.map(Into::into),
        name: "f".into(),
    };
    forms.insert("f".into(), form(CallKind::Custom, None));
    forms.insert("g__f_2".into(), form(CallKind::Function, Some("g")));
    assert_eq!(forms.offered_name(CallKind::Custom, None, "f"), "f");
    assert_eq!(forms.offered_name(CallKind::Function, Some("g"), "f"), "g__f_2");
    assert_eq!(forms.offered_name(CallKind::Function, Some("h"), "f"), "h__f");
    assert_eq!(forms.form("g__f_2").namespace.as_deref(), Some("g"));
    assert_eq!(forms.form("other").kind, CallKind::Function);
}
