use ipc_proto::generate::{TextGrammar, ToolInput};

use super::*;

fn offer_after(items: &Value, tools: &Value, choice: &Value) -> Result<Offer> {
    let items: Vec<Item> = serde_json::from_value(items.clone()).unwrap();
    let paths: Vec<(String, &Item)> =
        items.iter().enumerate().map(|(at, item)| (format!("input[{at}]"), item)).collect();
    let choice: Option<api::ToolChoice> = serde_json::from_value(choice.clone()).unwrap();
    parse(serde_json::from_value(tools.clone()).unwrap(), choice.as_ref(), &paths)
}

fn offer(tools: &Value, choice: &Value) -> Result<Offer> {
    offer_after(&json!([]), tools, choice)
}

fn names(offer: &Offer) -> Vec<&str> {
    offer.tools.iter().map(|tool| &*tool.name).collect()
}

fn function(name: &str) -> Value {
    json!({"type": "function", "name": name, "description": "d", "parameters": {"type": "object"}})
}

fn deferred(name: &str) -> Value {
    json!({"type": "function", "name": name, "parameters": {"type": "object"}, "defer_loading": true})
}

fn weather() -> Value {
    json!({"type": "namespace", "name": "mcp__wx__", "description": "Weather.",
        "tools": [function("get"), {"type": "custom", "name": "ask"}]})
}

#[test]
fn custom_tool_has_its_grammar() {
    let format = json!({"type": "grammar", "syntax": "lark", "definition": "start: \"x\""});
    let custom = json!({"type": "custom", "name": "patch", "description": "Edits.", "format": format});
    let offer = offer(&json!([custom]), &json!({"type": "custom", "name": "patch"})).unwrap();
    let tool = Tool {
        name: "patch".into(),
        description: Some("Edits.".into()),
        input: ToolInput::Text(Some(TextGrammar::Lark("start: \"x\"".into()))),
    };
    assert_eq!((offer.tools, offer.choice), (vec![tool], ToolChoice::Named("patch".into())));
    assert_eq!(offer.calls.form("patch").kind, CallKind::Custom);
    assert_eq!(offer.shown, [custom]);
}

#[test]
fn tools_of_a_namespace_have_joined_names() {
    let offer = offer(&json!([function("get"), weather()]), &Value::Null).unwrap();
    assert_eq!(names(&offer), ["get", "mcp__wx__get", "mcp__wx__ask"]);
    let form = |kind, name: &str| CallForm { kind, namespace: Some("mcp__wx__".into()), name: name.into() };
    assert_eq!(offer.calls.form("mcp__wx__get"), form(CallKind::Function, "get"));
    assert_eq!(offer.calls.form("mcp__wx__ask"), form(CallKind::Custom, "ask"));
    let described: Vec<_> = offer.tools.iter().map(|tool| tool.description.as_deref()).collect();
    assert_eq!(described, [Some("d"), Some("Weather.\n\nd"), None]);
    assert_eq!(offer.shown[1], weather());
}

#[test]
fn joined_name_differs_from_all_others() {
    let group = |name: &str| json!({"type": "namespace", "name": name, "tools": [function("b")]});
    let tools = json!([group("a"), group("a__"), function("a__b"), function("a__b__2")]);
    let offer = offer(&tools, &Value::Null).unwrap();
    assert_eq!(names(&offer), ["a__b__3", "a__b__4", "a__b", "a__b__2"]);
    assert_eq!(offer.calls.offered_name(CallKind::Function, Some("a__"), "b"), "a__b__4");
    assert_eq!(offer.calls.offered_name(CallKind::Function, None, "a__b"), "a__b");
}

#[test]
fn tool_choice_names_tools_of_namespaces() {
    let tools = json!([function("f"), weather()]);
    let chosen = |choice: Value| offer(&tools, &choice).map(|offer| offer.choice);
    let named = |name: &str| Ok(ToolChoice::Named(name.into()));
    let get = json!({"type": "function", "name": "get", "namespace": "mcp__wx__"});
    assert_eq!(chosen(get), named("mcp__wx__get"));
    assert_eq!(chosen(json!({"type": "function", "name": "get"})), named("mcp__wx__get"));
    assert_eq!(chosen(json!({"type": "custom", "name": "ask"})), named("mcp__wx__ask"));
    for wrong in [
        json!({"type": "custom", "name": "get"}),
        json!({"type": "function", "name": "get", "namespace": "other"}),
        json!({"type": "function", "name": "f", "namespace": "mcp__wx__"}),
    ] {
        assert_eq!(chosen(wrong).unwrap_err().field, Some("tool_choice".into()));
    }
    let allowed = |one: Value| {
        let choice = json!({"type": "allowed_tools", "mode": "auto", "tools": [one]});
        offer(&tools, &choice).map(|offer| offer.tools.into_iter().map(|tool| tool.name).collect::<Vec<_>>())
    };
    let group = ["mcp__wx__get".to_owned(), "mcp__wx__ask".to_owned()];
    assert_eq!(allowed(json!({"type": "namespace", "name": "mcp__wx__"})), Ok(group.to_vec()));
    assert_eq!(allowed(json!({"type": "custom", "name": "ask"})), Ok(group[1..].to_vec()));
    assert!(allowed(json!({"type": "namespace", "name": "x"})).is_err());
}

#[test]
fn deferred_tools_wait_for_the_clients_search() {
    let search = json!({"type": "tool_search", "execution": "client", "description": "Finds tools.",
        "parameters": {"type": "object", "properties": {"query": {"type": "string"}}}});
    let group = json!({"type": "namespace", "name": "crm", "tools": [deferred("orders"), function("users")]});
    let tools = json!([search, deferred("a"), function("b"), group]);
    let offered = |items: Value| {
        let offer = offer_after(&items, &tools, &Value::Null).unwrap();
        offer.tools.into_iter().map(|tool| tool.name).collect::<Vec<_>>()
    };
    let first = ["tool_search", "b", "crm__users"];
    assert_eq!(offered(json!([])), first);
    let found = json!({"type": "namespace", "name": "crm", "tools": [deferred("orders"), function("users")]});
    let items = json!([{"type": "tool_search_output", "call_id": "c", "tools": [deferred("a"), found]},
        {"type": "additional_tools", "role": "developer", "tools": [function("c"), function("b")]}]);
    assert_eq!(offered(items), [&first[..], &["a", "crm__orders", "c"]].concat());
    let forced = offer(
        &tools,
        &json!({"type": "allowed_tools", "mode": "required", "tools": [{"type": "tool_search"}]}),
    );
    assert_eq!(names(&forced.unwrap()), ["tool_search"]);
}

#[test]
fn deferred_tools_are_offered_where_nothing_could_load_them() {
    let hosted = json!({"type": "tool_search"});
    let offer = offer(&json!([hosted, deferred("a")]), &Value::Null).unwrap();
    assert_eq!(names(&offer), ["a"]);
    assert_eq!(offer.shown[0], hosted);
}

#[test]
fn invalid_tool_is_named() {
    for (tool, param) in [
        (json!({"type": "namespace", "tools": []}), "tools[0].name"),
        (json!({"type": "namespace", "name": "n"}), "tools[0].tools"),
        (
            json!({"type": "namespace", "name": "n", "tools": [{"type": "function"}]}),
            "tools[0].tools[0].name",
        ),
        (json!({"type": "custom", "name": "c", "format": {"type": "grammar"}}), "tools[0].format.syntax"),
        (
            json!({"type": "custom", "name": "c", "format": {"type": "grammar", "syntax": "lark"}}),
            "tools[0].format.definition",
        ),
        (json!({"type": "namespace", "name": "n", "tools": [function("f"), function("f")]}), "tools"),
    ] {
        let error = offer(&json!([tool]), &Value::Null).map(drop).unwrap_err();
        assert_eq!(error.field, Some(param.into()), "{tool}");
    }
}
