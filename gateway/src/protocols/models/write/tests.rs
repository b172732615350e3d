use ipc_proto::supervisor::ModelEntry;

use super::*;

fn models() -> Vec<ModelEntry> {
    let entry = |id: &str| ModelEntry { id: id.into(), created: 5, ..ModelEntry::default() };
    ["a", "b/x", "c", "d"].map(entry).into()
}

fn ids(limit: Option<usize>, after: Option<&str>, before: Option<&str>) -> (String, bool) {
    let query =
        anthropic::Query { limit, after_id: after.map(Into::into), before_id: before.map(Into::into) };
    let page = paginate(models(), &query).unwrap();
    assert_eq!(page.first_id.as_ref(), page.data.first().map(|model| &model.id));
    assert_eq!(page.last_id.as_ref(), page.data.last().map(|model| &model.id));
    (page.data.iter().map(|model| &*model.display_name).collect(), page.has_more)
}

#[test]
fn page_follows_limit_after_and_before() {
    assert_eq!(ids(None, None, None), ("axcd".into(), false));
    assert_eq!(ids(Some(2), None, None), ("ax".into(), true));
    assert_eq!(ids(Some(2), Some("b/x"), None), ("cd".into(), false));
    assert_eq!(ids(Some(2), Some("d"), None), (String::new(), false));
    assert_eq!(ids(Some(2), None, Some("d")), ("xc".into(), true));
    assert_eq!(ids(None, None, Some("c")), ("ax".into(), false));
}

#[test]
fn invalid_page_is_refused() {
    for (limit, after, before, field) in [
        (Some(0), None, None, "limit"),
        (Some(1001), None, None, "limit"),
        (None, Some("e"), None, "after_id"),
        (None, Some("a"), Some("c"), "before_id"),
    ] {
        let query =
            anthropic::Query { limit, after_id: after.map(Into::into), before_id: before.map(Into::into) };
        assert_eq!(paginate(models(), &query).unwrap_err().field, Some(field.into()));
    }
}

#[test]
fn creation_time_is_rfc_3339() {
    let shown = to_anthropic(models().remove(1));
    assert_eq!((&*shown.created_at, &*shown.id, &*shown.display_name), ("1970-01-01T00:00:05Z", "b/x", "x"));
}

#[test]
fn servable_models_are_listed_under_id_and_aliases() {
    let mut model = models().remove(0);
    model.aliases = vec!["claude-local".into()];
    let mut strange = models().remove(1);
    strange.details.unserved = true;
    let names: Vec<_> = expand_aliases(vec![model, strange]).into_iter().map(|entry| entry.id).collect();
    assert_eq!(names, ["a", "claude-local"]);
}

#[test]
fn invalid_chat_template_is_shown_in_details() {
    let shown = |problem: Option<&str>| {
        let mut model = models().remove(0);
        model.details.chat_problem = problem.map(str::to_owned);
        serde_json::to_value(to_openai(model)).unwrap()["details"].clone()
    };
    assert_eq!(shown(Some("line 3"))["chat_problem"], "line 3");
    assert!(shown(None).get("chat_problem").is_none());
}
