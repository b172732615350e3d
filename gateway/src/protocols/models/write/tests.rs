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
fn alias_in_the_place_of_a_claude_has_its_line_and_true_limits() {
    let mut model = models().remove(0);
    model.aliases = vec!["claude-opus-5-5".into(), "haiku".into()];
    model.context = Some(4096);
    let shown: Vec<_> = expand_aliases(vec![model]).into_iter().map(to_anthropic).collect();
    let lines: Vec<_> = shown.iter().map(|model| (&*model.id, model.line)).collect();
    assert_eq!(lines, [("a", None), ("claude-opus-5-5", Some("opus")), ("haiku", Some("haiku"))]);
    assert!(shown.iter().all(|model| (model.max_input_tokens, model.max_tokens) == (Some(4096), Some(4096))));
}

#[test]
fn capabilities_follow_the_template() {
    let mut model = models().remove(0);
    model.details.capabilities.chat = true;
    let shown = serde_json::to_value(to_anthropic(model.clone())).unwrap();
    assert_eq!(shown["capabilities"]["structured_outputs"]["supported"], true);
    assert_eq!(shown["capabilities"]["thinking"]["supported"], false);
    assert_eq!(shown["capabilities"]["thinking"]["types"]["disabled"]["supported"], true);
    assert_eq!(shown["capabilities"]["image_input"]["supported"], false);
    (model.details.capabilities.reasoning, model.details.capabilities.vision) = (true, true);
    let shown = serde_json::to_value(to_anthropic(model)).unwrap();
    for path in [
        "/thinking/supported",
        "/thinking/types/adaptive/supported",
        "/effort/max/supported",
        "/image_input/supported",
    ] {
        assert_eq!(shown["capabilities"].pointer(path), Some(&true.into()), "{path}");
    }
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
        serde_json::to_value(to_openai(model, "local".into())).unwrap()["details"].clone()
    };
    assert_eq!(shown(Some("line 3"))["chat_problem"], "line 3");
    assert!(shown(None).get("chat_problem").is_none());
}
