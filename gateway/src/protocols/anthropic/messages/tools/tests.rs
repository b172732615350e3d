use super::*;

fn definition(name: &str) -> Value {
    json!({"name": name, "description": "d", "input_schema": {"type": "object"}})
}

fn declared(tools: Value) -> Toolset {
    Toolset::declare(serde_json::from_value(tools).unwrap()).unwrap()
}

fn changed(tools: &mut Toolset, change: Value) -> Result<()> {
    tools.change("c", serde_json::from_value(change).unwrap())
}

fn addition(name: &str) -> Value {
    json!({"type": "tool_addition", "tool": {"type": "tool_reference", "name": name}})
}

fn removal(name: &str) -> Value {
    json!({"type": "tool_removal", "tool": {"type": "tool_reference", "name": name}})
}

fn names(tools: &[Tool]) -> Vec<&str> {
    tools.iter().map(|tool| &*tool.name).collect()
}

fn with_deferred() -> Toolset {
    let mut late = definition("late");
    late["defer_loading"] = true.into();
    declared(json!([definition("a"), late]))
}

#[test]
fn deferred_tool_is_described_when_it_is_added() {
    let mut tools = with_deferred();
    assert_eq!(tools.take_announcement(), None);
    assert_eq!(names(&tools.listed), ["a"]);
    changed(&mut tools, addition("late")).unwrap();
    let text = tools.take_announcement().unwrap();
    let line =
        r#"{"type":"function","function":{"name":"late","description":"d","parameters":{"type":"object"}}}"#;
    assert_eq!(text, format!("These functions can be called from here on:\n<tools>\n{line}\n</tools>"));
    let (listed, changes) = tools.into_parts();
    assert_eq!((names(&listed), names(&changes.added)), (vec!["a"], vec!["late"]));
}

#[test]
fn definition_in_a_block_adds_a_tool() {
    for change in [
        json!({"type": "tool_addition", "tool": {"type": "tool_definition", "definition": definition("b")}}),
        json!({"type": "tool_addition", "tools": [definition("b")]}),
    ] {
        let mut tools = declared(json!([definition("a")]));
        changed(&mut tools, change).unwrap();
        assert!(tools.take_announcement().unwrap().contains("\"name\":\"b\""));
        assert_eq!(names(&tools.changes.added), ["b"]);
    }
}

#[test]
fn first_tool_of_all_is_listed_at_the_head() {
    let mut tools = declared(json!([]));
    changed(&mut tools, json!({"type": "tool_addition", "tools": [definition("b"), definition("c")]}))
        .unwrap();
    let (listed, changes) = tools.into_parts();
    assert_eq!((names(&listed), names(&changes.added)), (vec!["b"], vec!["c"]));
}

#[test]
fn removed_tool_can_be_added_again() {
    let mut tools = with_deferred();
    for name in ["a", "late"] {
        changed(&mut tools, addition(name)).unwrap();
        changed(&mut tools, removal(name)).unwrap();
    }
    assert!(tools.take_announcement().unwrap().ends_with("These functions can no longer be called: a, late"));
    assert_eq!((names(&tools.changes.added), &*tools.changes.withdrawn), (vec![], &["a".to_owned()][..]));
    for name in ["a", "late"] {
        changed(&mut tools, addition(name)).unwrap();
    }
    assert!(tools.take_announcement().unwrap().ends_with("These functions can be called: a"));
    assert_eq!((names(&tools.changes.added), tools.changes.withdrawn.len()), (vec!["late"], 0));
}

#[test]
fn new_definition_replaces_a_listed_tool_without_a_change_of_the_head() {
    let mut tools = declared(json!([definition("a")]));
    let mut newer = definition("a");
    newer["description"] = "newer".into();
    changed(&mut tools, json!({"type": "tool_addition", "tools": [newer]})).unwrap();
    let (listed, changes) = tools.into_parts();
    assert_eq!(listed[0].description.as_deref(), Some("d"));
    assert_eq!(changes.added[0].description.as_deref(), Some("newer"));
    assert_eq!(changes.withdrawn, ["a"]);
}

#[test]
fn changes_as_blocks_lead_to_the_same_tools() {
    let mut tools = with_deferred();
    let mut newer = definition("a");
    newer["description"] = "newer".into();
    changed(&mut tools, json!({"type": "tool_addition", "tools": [newer, definition("b")]})).unwrap();
    changed(&mut tools, addition("late")).unwrap();
    changed(&mut tools, removal("b")).unwrap();
    let mut again = with_deferred();
    for block in tools.as_blocks() {
        changed(&mut again, block).unwrap();
    }
    assert_eq!((&again.listed, &again.changes), (&tools.listed, &tools.changes));
    assert!(with_deferred().as_blocks().is_empty());
    let mut listed = declared(json!([definition("a"), definition("b")]));
    changed(&mut listed, removal("b")).unwrap();
    assert_eq!(listed.as_blocks(), [removal("b")]);
}

#[test]
fn reference_to_an_unknown_tool_is_said_to_be_unknown() {
    let mut tools = with_deferred();
    tools.refer("gone");
    tools.refer("a");
    let text = "These functions can be called: a\nThese functions do not exist: gone";
    assert_eq!(tools.take_announcement().as_deref(), Some(text));
}

#[test]
fn tool_search_offers_deferred_tools_at_once() {
    let mut late = definition("late");
    late["defer_loading"] = true.into();
    for kind in ["tool_search_tool_regex_20251119", "tool_search_tool_bm25"] {
        let search = json!({"type": kind, "name": "tool_search"});
        assert_eq!(names(&declared(json!([definition("a"), late, search])).listed), ["a", "late"]);
    }
}

#[test]
fn invalid_change_is_named() {
    let definition = json!({"type": "tool_definition", "definition": {"name": "x"}});
    for (change, field) in [
        (addition("gone"), "c.tool.name"),
        (removal("gone"), "c.tool.name"),
        (json!({"type": "tool_addition"}), "c.tool"),
        (json!({"type": "tool_addition", "tool": {"type": "tool_definition"}}), "c.tool.type"),
        (json!({"type": "tool_addition", "tool": definition}), "c.tool.definition.input_schema"),
        (
            json!({"type": "tool_removal", "tool": {"type": "mcp_toolset_reference", "server_name": "s"}}),
            "c.tool.type",
        ),
        (json!({"type": "tool_addition", "tools": [{}]}), "c.tools[0]"),
    ] {
        let error = changed(&mut with_deferred(), change.clone()).unwrap_err();
        assert_eq!(error.field, Some(field.into()), "{change}: {error}");
    }
}
