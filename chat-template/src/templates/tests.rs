use ipc_proto::generate::{Message, Tool};
use serde_json::json;

use super::*;

fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    folder
}

fn templates(files: &[(&str, &str)]) -> Templates {
    Templates::read(folder(files).path(), &BTreeMap::new()).unwrap()
}

fn prompt(has_tools: bool, has_documents: bool) -> ChatPrompt {
    let documents = json!({"documents": [{"text": "x"}]}).to_string();
    ChatPrompt {
        messages: vec![Message { content: "q".into(), ..Message::default() }],
        tools: if has_tools { vec![Tool { name: "f".into(), ..Tool::default() }] } else { Vec::new() },
        template_kwargs: has_documents.then_some(documents),
        ..ChatPrompt::default()
    }
}

/// The file and the name of the template that serves a request.
fn chosen(templates: &Templates, has_tools: bool, has_documents: bool) -> (String, String) {
    let (file, _) = templates.choose(&prompt(has_tools, has_documents)).unwrap();
    (file.source.path().to_owned(), file.name.clone())
}

const SETTINGS: &str = r#"{"chat_template": "settings"}"#;
const NAMED: &str = r#"{"chat_template": [{"name": "default", "template": "D"}, {"name": "tool_use", "template": "T {{ tools }}"},
    {"name": "rag", "template": "R {{ documents }}"}]}"#;

#[test]
fn templates_precedence_is_that_of_transformers() {
    let pair = |path: &str, name: &str| (path.to_owned(), name.to_owned());
    let processor = ("chat_template.json", r#"{"chat_template": "processor"}"#);
    let all = [("chat_template.jinja", "own"), processor, ("tokenizer_config.json", SETTINGS)];
    assert_eq!(chosen(&templates(&all), false, false), pair("chat_template.jinja", "default"));
    assert_eq!(chosen(&templates(&all[1..]), false, false), pair("chat_template.json", "default"));
    assert_eq!(chosen(&templates(&all[2..]), false, false), pair("tokenizer_config.json", "default"));
}

#[test]
fn request_with_tools_or_documents_gets_its_named_template() {
    let named = templates(&[("tokenizer_config.json", NAMED)]);
    let files = templates(&[
        ("chat_template.jinja", "D"),
        ("additional_chat_templates/tool_use.jinja", "T {{ tools }}"),
        ("additional_chat_templates/rag.jinja", "R {{ documents }}"),
        ("additional_chat_templates/._rag.jinja", "{% broken"),
    ]);
    for templates in [named, files] {
        assert_eq!(chosen(&templates, false, false).1, "default");
        assert_eq!(chosen(&templates, true, false).1, "tool_use");
        assert_eq!(chosen(&templates, false, true).1, "rag");
        assert_eq!(chosen(&templates, true, true).1, "tool_use");
        let none = ChatPrompt { tool_choice: ToolChoice::None, ..prompt(true, false) };
        assert_eq!(templates.choose(&none).unwrap().0.name, "default");
    }
}

#[test]
fn invalid_template_breaks_chats_only() {
    let broken = templates(&[("chat_template.jinja", "{% if %}")]);
    assert!(!broken.can_chat());
    assert!(broken.problem().unwrap().starts_with("chat_template.jinja: the chat template is not valid"));
    let error = broken.choose(&prompt(false, false)).unwrap_err();
    assert!(error.contains("plain completions can"), "{error}");
    // Chats with tools have a template of their own.
    let other =
        templates(&[("chat_template.jinja", "D"), ("additional_chat_templates/tool_use.jinja", "{% if %}")]);
    assert!(other.can_chat() && other.choose(&prompt(true, false)).is_err());
}

#[test]
fn folder_without_template_is_reported() {
    let none = templates(&[("tokenizer_config.json", "{}")]);
    assert!(!none.can_chat() && none.problem().is_none());
    assert!(none.choose(&prompt(false, false)).unwrap_err().contains("no chat template"));
    let only = templates(&[("additional_chat_templates/rag.jinja", "R")]);
    assert!(only.choose(&prompt(false, false)).unwrap_err().contains("only rag"));
    assert!(only.can_chat() && only.problem().unwrap().contains("only rag"));
}

#[test]
fn byte_order_mark_is_stripped() {
    let templates = templates(&[("chat_template.jinja", "\u{feff}x")]);
    assert_eq!(templates.text(Purpose::Chat), Some("x"));
}

#[test]
fn directory_instead_of_file_is_an_error() {
    let folder = folder(&[("chat_template.jinja/x", "")]);
    let error = Templates::read(folder.path(), &BTreeMap::new()).unwrap_err();
    assert!(error.contains("chat_template.jinja"), "{error}");
}
