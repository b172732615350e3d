use serde_json::{Value, json};

use super::*;
use crate::protocols::openai::tools::call_forms::{CallForm, CallKind};

fn turns_of(items: &Value) -> Result<Vec<Message>> {
    let items: Vec<Item> = serde_json::from_value(items.clone()).unwrap();
    let mut calls = CallForms::default();
    let form = CallForm { kind: CallKind::Function, namespace: Some("wx".into()), name: "get".into() };
    calls.insert("wx__get__2".into(), form);
    turns(None, &paths(&[], &items), &calls)
}

/// The turns in short: `role text`, and `name arguments` of each call.
fn short(items: Value) -> Vec<String> {
    let mut all = vec![json!({"role": "user", "content": "q"})];
    let Value::Array(items) = items else { panic!("{items} is no list") };
    all.extend(items);
    let turn = |turn: &Message| {
        let calls: String =
            turn.tool_calls.iter().map(|call| format!(" {} {}", call.name, call.arguments)).collect();
        let name = turn.name.as_ref().map_or_else(String::new, |name| format!("({name})"));
        format!("{}{name} {}{calls}", turn.role.as_str(), turn.content.text()).trim_end().to_owned()
    };
    turns_of(&all.into()).unwrap().iter().skip(1).map(turn).collect()
}

#[test]
fn parts_of_an_output_are_lines() {
    let parts = json!([{"type": "input_text", "text": "a, b"}, {"type": "input_text", "text": "c"}]);
    let items = json!([
        {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": parts},
    ]);
    assert_eq!(short(items)[1], "tool(f) a, b\nc");
}

#[test]
fn custom_call_and_its_output_become_turns() {
    let items = json!([
        {"type": "custom_tool_call", "call_id": "c1", "name": "patch", "input": "a\n\"b\""},
        {"type": "custom_tool_call_output", "call_id": "c1", "output": "done"},
    ]);
    assert_eq!(short(items), [r#"assistant  patch {"input":"a\n\"b\""}"#, "tool(patch) done"]);
}

#[test]
fn call_in_a_namespace_has_the_name_that_was_offered() {
    let call = |namespace: &str| {
        json!([{"type": "function_call", "call_id": "c1", "namespace": namespace, "name": "get", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c1", "output": "r"}])
    };
    assert_eq!(short(call("wx")), ["assistant  wx__get__2 {}", "tool(wx__get__2) r"]);
    assert_eq!(short(call("gone")), ["assistant  gone__get {}", "tool(gone__get) r"]);
}

#[test]
fn tool_search_becomes_a_call_and_the_names_it_found() {
    let items = json!([
        {"type": "tool_search_call", "call_id": "s1", "execution": "client", "arguments": {"query": "x"}},
        {"type": "tool_search_output", "call_id": "s1", "tools": [{"type": "function", "name": "f"}]},
        {"type": "tool_search_call", "id": "s2", "call_id": null, "execution": "server", "arguments": {}},
        {"type": "tool_search_output", "call_id": null, "tools": []},
    ]);
    let call = r#"assistant  tool_search {"query":"x"}"#;
    assert_eq!(short(items), [call, r#"tool(tool_search) {"tools":["f"]}"#]);
}

#[test]
fn calls_of_vendors_tools_become_turns() {
    let exec = json!({"type": "exec", "command": ["ls"]});
    for (items, expected) in [
        (
            json!([{"type": "local_shell_call", "call_id": "c", "status": "completed", "action": exec},
                {"type": "local_shell_call_output", "id": "c", "output": "a.txt"}]),
            vec![r#"assistant  local_shell {"type":"exec","command":["ls"]}"#, "tool(local_shell) a.txt"],
        ),
        (
            json!([{"type": "shell_call", "call_id": "c", "action": {"commands": ["ls"]}},
                {"type": "shell_call_output", "call_id": "c", "output": [
                    {"stdout": "a", "stderr": "", "outcome": {"type": "exit", "exit_code": 0}},
                    {"stdout": "", "stderr": "b", "outcome": {"type": "exit", "exit_code": 2}},
                    {"stdout": "", "stderr": "", "outcome": {"type": "timeout"}}]}]),
            vec![r#"assistant  shell {"commands":["ls"]}"#, "tool(shell) a\nb\n[exit code 2]\n\n[timeout]"],
        ),
        (
            json!([{"type": "apply_patch_call", "call_id": "c", "operation": {"type": "delete_file", "path": "a"}},
                {"type": "apply_patch_call_output", "call_id": "c", "status": "completed"}]),
            vec![
                r#"assistant  apply_patch {"type":"delete_file","path":"a"}"#,
                "tool(apply_patch) completed",
            ],
        ),
        (
            json!([{"type": "computer_call", "call_id": "c", "action": {"type": "wait"}},
                {"type": "computer_call_output", "call_id": "c", "output": {"type": "computer_screenshot", "image_url": "data:"}}]),
            vec![r#"assistant  computer {"type":"wait"}"#, "tool(computer) [screenshot]"],
        ),
        (
            json!([{"type": "code_interpreter_call", "id": "c", "code": "1+1", "outputs": [{"type": "logs", "logs": "2"}]}]),
            vec![r#"assistant  code_interpreter {"code":"1+1"}"#, "tool(code_interpreter) 2"],
        ),
        (
            json!([{"type": "image_generation_call", "id": "c", "result": "aGk=", "revised_prompt": "a cat"}]),
            vec![r#"assistant  image_generation {"prompt":"a cat"}"#, "tool(image_generation) [image]"],
        ),
        (
            json!([{"type": "file_search_call", "id": "c", "queries": ["x"], "results": [{"text": "y"}]}]),
            vec![r#"assistant  file_search {"queries":["x"]}"#, r#"tool(file_search) [{"text":"y"}]"#],
        ),
        (
            json!([{"type": "mcp_call", "id": "m", "server_label": "wx", "name": "get", "arguments": "{}", "output": "rain"}]),
            vec!["assistant  wx__get__2 {}", "tool(wx__get__2) rain"],
        ),
        (
            json!([{"type": "program", "id": "p", "call_id": "c", "code": "f()", "fingerprint": "x"},
                {"type": "program_output", "id": "o", "call_id": "c", "result": "3", "status": "completed"}]),
            vec![r#"assistant  program {"code":"f()"}"#, "tool(program) 3"],
        ),
    ] {
        assert_eq!(short(items), expected);
    }
}

#[test]
fn approval_of_a_call_leaves_one_call() {
    let request = json!({"type": "mcp_approval_request", "id": "a", "server_label": "s", "name": "f", "arguments": "{}"});
    let answer = |approve: bool| json!({"type": "mcp_approval_response", "approval_request_id": "a", "approve": approve, "reason": "No."});
    let call = json!({"type": "mcp_call", "id": "m", "approval_request_id": "a", "server_label": "s", "name": "f",
        "arguments": "{}", "output": "r"});
    assert_eq!(short(json!([request, answer(true), call])), ["assistant  s__f {}", "tool(s__f) r"]);
    let declined = "tool(s__f) The user declined this call. No.";
    assert_eq!(short(json!([request, answer(false)])), ["assistant  s__f {}", declined]);
}

#[test]
fn marks_are_left_out() {
    for mark in [
        json!({"type": "web_search_call", "id": "ws", "status": "completed", "action": {"type": "search"}}),
        json!({"type": "file_search_call", "id": "fs", "queries": ["x"], "results": null}),
        json!({"type": "mcp_list_tools", "id": "l", "server_label": "s", "tools": [{"name": "f"}]}),
        json!({"type": "additional_tools", "role": "developer", "tools": []}),
        json!({"type": "configuration_update", "reasoning": {"effort": "low"}}),
        json!({"type": "new_mark", "id": "x", "status": "completed", "encrypted_content": "y"}),
    ] {
        assert_eq!(short(json!([mark])), Vec::<String>::new(), "{mark}");
    }
}

#[test]
fn unknown_items_become_text() {
    for (item, expected) in [
        (json!({"type": "note", "text": "x", "id": "n"}), r#"user <note>{"text":"x"}</note>"#),
        (json!({"type": "agent_message", "role": "assistant", "content": "x"}), "assistant x"),
        (
            json!({"type": "teleport_call", "call_id": "c", "place": "x"}),
            r#"assistant  teleport {"place":"x"}"#,
        ),
        (json!({"type": "teleport_call_output", "call_id": "c", "output": {"at": 1}}), r#"tool {"at":1}"#),
    ] {
        assert_eq!(short(json!([item])), [expected], "{item}");
    }
}

#[test]
fn images_in_items_are_kept_unless_the_kind_is_unknown() {
    let url = "data:image/png;base64,iVBORw0KGgo=";
    let image = json!({"type": "input_image", "image_url": url});
    let screen = json!({"type": "computer_screenshot", "image_url": url});
    for (item, images) in [
        (json!({"role": "user", "content": [image]}), 1),
        (json!({"type": "function_call_output", "call_id": "c", "output": [image, image]}), 2),
        (json!({"type": "custom_tool_call_output", "call_id": "c", "output": [image]}), 1),
        (json!({"type": "teleport_call_output", "call_id": "c", "output": [image]}), 1),
        (json!({"type": "computer_call_output", "call_id": "c", "output": screen}), 1),
        (json!({"type": "agent_message", "role": "user", "content": [image]}), 0),
    ] {
        let turns = turns_of(&json!([{"role": "user", "content": "q"}, item])).unwrap();
        assert_eq!(turns[1].content.images().count(), images, "{item}");
    }
    let unknown = json!([{"type": "agent_message", "role": "user", "content": [image]}]);
    assert_eq!(short(unknown), ["user [image left out]"]);
}

#[test]
fn image_of_a_file_is_refused_in_the_newest_turn_only() {
    let image = json!({"type": "input_image", "file_id": "f"});
    let error = turns_of(&json!([{"role": "user", "content": [image]}])).unwrap_err();
    assert_eq!(error.field, Some("input[0].content[0].file_id".into()));
    let output = json!([{"type": "function_call_output", "call_id": "c", "output": [image]}]);
    assert_eq!(short(output), ["tool [image left out: it cannot be read]"]);
}

/// Such items come from the client, so they do not end its turn.
#[test]
fn media_before_a_mark_of_the_client_are_in_the_newest_turn() {
    let file = json!({"type": "input_file", "file_data": "x"});
    for kind in ["additional_tools", "configuration_update", "compaction_trigger"] {
        let items = json!([{"role": "user", "content": [file]}, {"type": kind}]);
        assert_eq!(turns_of(&items).unwrap_err().field, Some("input[0].content[0].type".into()), "{kind}");
    }
}

/// A stored response keeps all fields of its items.
#[test]
fn item_keeps_the_fields_of_its_kind() {
    let item = json!({"type": "shell_call", "id": "s", "call_id": "c", "action": {"commands": ["ls"]}, "environment": null,
        "output": [{"stdout": "x"}], "arguments": {"a": 1}});
    let image = json!({"type": "input_image", "image_url": "https://a.example/", "detail": "low"});
    for item in [item, json!({"type": "message", "role": "user", "content": [image]})] {
        let read: Item = serde_json::from_value(item.clone()).unwrap();
        assert_eq!(serde_json::to_value(&read).unwrap(), item);
    }
}

#[test]
fn result_of_an_unknown_call_is_refused_after_a_previous_response_only() {
    let items = |items: Value| serde_json::from_value::<Vec<Item>>(items).unwrap();
    let call = items(json!([{"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}]));
    let text = items(json!([{"role": "user", "content": "Hi"}]));
    let result = |id| {
        items(
            json!([{"role": "user", "content": "x"}, {"type": "function_call_output", "call_id": id, "output": ""}]),
        )
    };
    assert!(check_results(&call, &result("c")).is_ok());
    assert!(check_results(&text, &[call.clone(), result("c")].concat()).is_ok());
    assert!(check_results(&[], &result("d")).is_ok());
    let error = check_results(&call, &result("d")).unwrap_err();
    assert_eq!(error.field, Some("input[1].call_id".into()));
    assert!(error.message.contains("\"d\""), "{error}");
}
