use ipc_proto::supervisor::{Capabilities, WorkerEntry};
use serde_json::json;

use super::*;

fn entry() -> ModelEntry {
    let capabilities = Capabilities { chat: true, tools: true, ..Capabilities::default() };
    let details = supervisor::Details {
        architecture: "llama".into(),
        parameters: 134_515_008,
        quantization: "bf16".into(),
        context: Some(8192),
        capabilities,
        ..supervisor::Details::default()
    };
    ModelEntry { id: "org/m".into(), created: 5, bytes: 9, details, ..ModelEntry::default() }
}

#[test]
fn parameter_counts_have_units() {
    let words: Vec<_> = [0, 134_515_008, 999_000_000, 8_030_261_248].map(format_parameter_count).into();
    assert_eq!(words, ["0.0M", "134.5M", "999.0M", "8.0B"]);
}

#[test]
fn shown_model_has_context_capabilities_and_template() {
    let texts = FolderTexts { template: "{{ messages }}".into(), parameters: "top_k 20".into() };
    let shown = serde_json::to_value(show(entry(), texts)).unwrap();
    assert_eq!(
        shown,
        json!({"modelfile": "", "parameters": "top_k 20", "template": "{{ messages }}",
            "details": {"parent_model": "", "format": "safetensors", "family": "llama", "families": ["llama"],
                "parameter_size": "134.5M", "quantization_level": "bf16"},
            "model_info": {"general.architecture": "llama", "general.basename": "org/m",
                "general.parameter_count": 134_515_008, "llama.context_length": 8192},
            "capabilities": ["completion", "tools"], "modified_at": "1970-01-01T00:00:05Z"})
    );
}

#[test]
fn embedding_model_has_only_that_capability() {
    let mut entry = entry();
    entry.details.kind = ModelKind::Embed;
    assert_eq!(capabilities(&entry.details), ["embedding"]);
}

#[test]
fn model_that_reads_images_says_so() {
    let mut entry = entry();
    entry.details.capabilities.vision = true;
    assert_eq!(capabilities(&entry.details), ["completion", "tools", "vision"]);
}

#[test]
fn loaded_model_has_its_memory_and_its_end() {
    let now = DateTime::from_timestamp(60, 0).unwrap();
    assert!(running(entry(), now).is_none(), "a stopped model does not run");
    let worker = |expires_ms| WorkerEntry { footprint: 7, expires_ms, ..WorkerEntry::default() };
    let loaded = |workers| {
        let entry = ModelEntry { state: ModelState::Ready, workers, ..entry() };
        serde_json::to_value(running(entry, now).unwrap()).unwrap()
    };
    let shown = loaded(vec![worker(Some(1000)), worker(Some(2000))]);
    assert_eq!((&shown["size"], &shown["size_vram"]), (&json!(14), &json!(14)));
    assert_eq!(
        (&shown["expires_at"], &shown["context_length"]),
        (&json!("1970-01-01T00:01:02Z"), &json!(8192))
    );
    assert!(loaded(vec![worker(Some(1000)), worker(None)]).get("expires_at").is_none(), "it stays");
}
