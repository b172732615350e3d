//! The request fields of other servers and libraries, read in their sources: OpenAI's Python library 7.59, vLLM's
//! `entrypoints/openai/*/protocol.py` and llama.cpp's `server-schema.cpp`, as of November 2026. Each works, is refused by its name, or is
//! listed here with the reason why it has no effect on the answer.

use schemars::{JsonSchema, schema_for};
use serde_json::{Value, json};

use crate::protocols::common::{body, field_names};
use crate::protocols::embeddings::{parse as embeddings, rerank, wire as embedding};
use crate::protocols::openai::chat::{parse as chat, wire as chat_wire};
use crate::protocols::openai::completions::{parse as completions, wire as completion};
use ipc_proto::Result;

/// The effect of a field with a value that is not neutral.
enum Fate {
    Works,
    Refused,
    /// Has no effect on the answer, because of this.
    Inert(&'static str),
}

use Fate::{Inert, Refused, Works};

type Fields = Vec<(&'static str, Value, Fate)>;

const OWN_BATCHING: &str = "this server places and batches requests itself";
const NO_MEDIA: &str = "there are no media";
const NEEDS_ANOTHER: &str = "does nothing without another field, which is refused";

/// Fields that chat completions and completions have in vLLM and llama.cpp.
#[expect(clippy::too_many_lines, reason = "a table of fields")]
fn shared() -> Fields {
    vec![
        // OpenAI.
        ("frequency_penalty", json!(0.5), Works),
        ("logit_bias", json!({"1": 2}), Works),
        ("max_tokens", json!(9), Works),
        ("n", json!(2), Works),
        ("presence_penalty", json!(0.5), Works),
        ("seed", json!(7), Works),
        ("stop", json!("x"), Works),
        ("stream", json!(true), Works),
        ("temperature", json!(0.5), Works),
        ("top_p", json!(0.5), Works),
        ("user", json!("u"), Works),
        // vLLM.
        ("use_beam_search", json!(true), Refused),
        ("top_k", json!(4), Works),
        ("min_p", json!(0.1), Works),
        ("repetition_penalty", json!(1.1), Works),
        ("watermarking", json!(true), Refused),
        ("length_penalty", json!(1.5), Refused),
        ("stop_token_ids", json!([1]), Works),
        ("include_stop_str_in_output", json!(true), Refused),
        ("ignore_eos", json!(true), Works),
        ("min_tokens", json!(2), Works),
        ("skip_special_tokens", json!(false), Refused),
        ("spaces_between_special_tokens", json!(false), Refused),
        ("truncate_prompt_tokens", json!(3), Refused),
        ("truncation_side", json!("left"), Inert(NEEDS_ANOTHER)),
        ("prompt_logprobs", json!(1), Refused),
        ("logprob_token_ids", json!([1]), Refused),
        ("allowed_token_ids", json!([1]), Refused),
        ("bad_words", json!(["x"]), Refused),
        ("response_format", json!({"type": "json_object"}), Works),
        ("structured_outputs", json!({"regex": "a"}), Works),
        ("structural_tag", json!("{}"), Refused),
        ("priority", json!(-1), Works),
        ("request_id", json!("a1"), Works),
        ("session_id", json!("a1"), Works),
        ("return_tokens_as_token_ids", json!(true), Refused),
        ("return_token_ids", json!(true), Refused),
        ("routed_experts_prompt_start", json!(3), Refused),
        ("return_token_offsets", json!(true), Refused),
        ("return_mm_kwargs", json!(false), Inert(NO_MEDIA)),
        ("cache_salt", json!("x"), Works),
        ("kv_transfer_params", json!({"a": 1}), Refused),
        ("ec_transfer_params", json!({"a": 1}), Refused),
        ("vllm_xargs", json!({"a": 1}), Refused),
        ("repetition_detection", json!({"max_pattern_size": 3}), Refused),
        ("stream_interval", json!(8), Refused),
        // Earlier names of vLLM's.
        ("guided_json", json!({"type": "object"}), Works),
        ("guided_regex", json!("a"), Works),
        ("guided_choice", json!(["a"]), Works),
        ("guided_grammar", json!("start: \"a\""), Works),
        ("guided_whitespace_pattern", json!("x"), Refused),
        ("guided_decoding_backend", json!("x"), Inert("there is one engine of grammars")),
        ("logits_processors", json!(["x"]), Refused),
        // llama.cpp.
        ("verbose", json!(true), Refused),
        ("timings_per_token", json!(true), Works),
        ("cache_prompt", json!(false), Inert("a cached prompt gives the same answer")),
        ("return_tokens", json!(true), Refused),
        ("return_progress", json!(true), Works),
        ("sse_ping_interval", json!(3), Inert("pings are comments")),
        ("n_predict", json!(3), Refused),
        ("n_indent", json!(2), Refused),
        ("n_keep", json!(2), Inert("no context is shifted")),
        ("n_discard", json!(2), Inert("no context is shifted")),
        ("n_cmpl", json!(2), Refused),
        ("n_cache_reuse", json!(2), Inert("a cached prompt gives the same answer")),
        ("id_slot", json!(1), Inert(OWN_BATCHING)),
        ("t_max_predict_ms", json!(2), Refused),
        ("response_fields", json!(["content"]), Refused),
        ("top_n_sigma", json!(1.5), Refused),
        ("xtc_probability", json!(0.5), Refused),
        ("xtc_threshold", json!(0.5), Inert(NEEDS_ANOTHER)),
        ("typical_p", json!(0.5), Refused),
        ("dynatemp_range", json!(0.5), Refused),
        ("dynatemp_exponent", json!(2), Inert(NEEDS_ANOTHER)),
        ("repeat_penalty", json!(1.1), Works),
        ("dry_multiplier", json!(0.5), Refused),
        ("dry_base", json!(2), Inert(NEEDS_ANOTHER)),
        ("dry_allowed_length", json!(2), Inert(NEEDS_ANOTHER)),
        ("dry_penalty_last_n", json!(2), Inert(NEEDS_ANOTHER)),
        ("dry_sequence_breakers", json!(["x"]), Inert(NEEDS_ANOTHER)),
        ("mirostat", json!(2), Refused),
        ("mirostat_tau", json!(2), Inert(NEEDS_ANOTHER)),
        ("mirostat_eta", json!(2), Inert(NEEDS_ANOTHER)),
        ("adaptive_target", json!(0.5), Refused),
        ("adaptive_decay", json!(0.5), Inert(NEEDS_ANOTHER)),
        ("n_probs", json!(2), Refused),
        ("min_keep", json!(2), Refused),
        ("backend_sampling", json!(true), Inert("where the tokens are sampled makes no difference")),
        ("post_sampling_probs", json!(true), Refused),
        ("lora", json!([{"id": 0}]), Refused),
        ("json_schema", json!({"type": "object"}), Works),
        ("grammar", json!("root ::= x"), Refused),
        ("grammar_lazy", json!(true), Refused),
        ("grammar_triggers", json!(["x"]), Refused),
        ("preserved_tokens", json!(["x"]), Refused),
        ("chat_format", json!(1), Inert("llama.cpp's own number of a template's form")),
        ("reasoning_format", json!("none"), Refused),
        ("generation_prompt", json!("x"), Refused),
        ("parse_tool_calls", json!(false), Refused),
        ("chat_parser", json!("x"), Refused),
        ("reasoning_control", json!(true), Refused),
        ("reasoning_budget_start_tag", json!("x"), Refused),
        ("reasoning_budget_end_tag", json!("x"), Refused),
        ("reasoning_budget_end_tags", json!(["x"]), Refused),
        ("reasoning_budget_message", json!("x"), Refused),
        ("samplers", json!(["top_k"]), Refused),
        ("image_data", json!([{"id": 1}]), Refused),
    ]
}

fn chat_only() -> Fields {
    vec![
        // OpenAI.
        ("audio", json!({"voice": "x"}), Refused),
        ("function_call", json!("none"), Works),
        ("functions", json!([{"name": "f"}]), Works),
        ("logprobs", json!(true), Works),
        ("max_completion_tokens", json!(9), Works),
        ("metadata", json!({"a": "b"}), Works),
        ("modalities", json!(["text", "audio"]), Refused),
        ("moderation", json!({"model": "x"}), Refused),
        ("parallel_tool_calls", json!(false), Works),
        ("prediction", json!({"type": "content"}), Refused),
        ("prompt_cache_key", json!("x"), Works),
        ("prompt_cache_options", json!({"mode": "explicit"}), Refused),
        ("prompt_cache_retention", json!("24h"), Refused),
        ("reasoning_effort", json!("low"), Works),
        ("safety_identifier", json!("x"), Works),
        ("service_tier", json!("flex"), Works),
        ("store", json!(true), Refused),
        ("tool_choice", json!("none"), Works),
        ("tools", json!([{"type": "function", "function": {"name": "f"}}]), Works),
        ("web_search_options", json!({"search_context_size": "low"}), Refused),
        // vLLM.
        ("thinking_token_budget", json!(9), Works),
        ("include_reasoning", json!(false), Works),
        ("echo", json!(true), Works),
        ("add_generation_prompt", json!(false), Works),
        ("continue_final_message", json!(false), Works),
        ("add_special_tokens", json!(true), Refused),
        ("documents", json!([{"text": "x"}]), Works),
        ("chat_template", json!("{{ x }}"), Refused),
        ("chat_template_kwargs", json!({"a": 1}), Works),
        ("media_io_kwargs", json!({"video": {}}), Inert(NO_MEDIA)),
        ("mm_processor_kwargs", json!({"a": 1}), Inert(NO_MEDIA)),
        ("return_prompt_text", json!(true), Refused),
        ("best_of", json!(2), Refused),
        // llama.cpp.
        ("reasoning_budget_tokens", json!(9), Works),
    ]
}

fn completions_only() -> Fields {
    vec![
        ("best_of", json!(2), Works),
        ("echo", json!(true), Works),
        ("logprobs", json!(2), Works),
        ("suffix", json!("x"), Works),
        ("prompt_embeds", json!("AA=="), Refused),
        ("add_special_tokens", json!(false), Refused),
        ("thinking_token_budget", json!(9), Inert("a completion holds no reasoning")),
    ]
}

fn embeddings_fields() -> Fields {
    vec![
        // OpenAI.
        ("dimensions", json!(8), Works),
        ("encoding_format", json!("base64"), Works),
        ("user", json!("u"), Works),
        // vLLM.
        ("truncate_prompt_tokens", json!(3), Works),
        ("truncation_side", json!("left"), Refused),
        ("padding", json!("max_length"), Refused),
        ("request_id", json!("a1"), Inert("an embedding has no id")),
        ("priority", json!(-1), Refused),
        ("mm_processor_kwargs", json!({"a": 1}), Inert(NO_MEDIA)),
        ("cache_salt", json!("x"), Inert("an encoder has no prefix cache")),
        ("add_special_tokens", json!(false), Refused),
        ("messages", json!([{"role": "user", "content": "x"}]), Refused),
        ("use_activation", json!(false), Refused),
        ("normalize", json!(false), Refused),
        // llama.cpp.
        ("embd_normalize", json!(0), Refused),
        ("image_data", json!([{"id": 1}]), Refused),
        ("lora", json!([{"id": 0}]), Refused),
    ]
}

fn rerank_fields() -> Fields {
    vec![
        ("top_n", json!(1), Works),
        ("max_tokens_per_doc", json!(9), Works),
        ("return_documents", json!(true), Works),
        ("truncate_prompt_tokens", json!(9), Refused),
        ("truncation_side", json!("left"), Refused),
        ("use_activation", json!(false), Refused),
        ("priority", json!(-1), Refused),
        ("rank_fields", json!(["a"]), Refused),
        ("max_chunks_per_doc", json!(2), Refused),
    ]
}

/// The fields of a request that the OpenAPI document lists.
fn known<T: JsonSchema>() -> Vec<String> {
    let schema = schema_for!(T).to_value();
    schema["properties"].as_object().unwrap().keys().cloned().collect()
}

fn check<T: JsonSchema, V>(fields: Fields, body: &Value, parse: impl Fn(&[u8]) -> Result<V>) {
    let known = known::<T>();
    for (name, value, fate) in fields {
        let mut body = body.clone();
        body[name] = value;
        let error = parse(body.to_string().as_bytes()).err();
        let blamed = error.as_ref().and_then(|error| field_names::param(error, field_names::chat));
        match fate {
            Works => {
                assert_eq!(blamed, None, "{error:?}");
                assert!(known.iter().any(|known| known == name), "{name} works, but is not in the schema");
            }
            Refused => {
                let field = blamed.as_deref().and_then(|field| field.split('.').next());
                assert_eq!(field, Some(name), "{error:?}");
            }
            Inert(reason) => assert!(error.is_none() && !reason.is_empty(), "{error:?}"),
        }
    }
}

#[test]
fn chat_fields_of_peers_work_or_are_refused_by_name() {
    let body = json!({"model": "m", "messages": [{"role": "user", "content": "Hi"}]});
    let parse = |bytes: &[u8]| body::parse(bytes).and_then(chat::parse);
    check::<chat_wire::Request, _>(shared(), &body, parse);
    check::<chat_wire::Request, _>(chat_only(), &body, parse);
}

#[test]
fn completion_fields_of_peers_work_or_are_refused_by_name() {
    let body = json!({"model": "m", "prompt": "Hi"});
    let parse = |bytes: &[u8]| body::parse(bytes).and_then(completions::parse);
    check::<completion::Request, _>(shared(), &body, parse);
    check::<completion::Request, _>(completions_only(), &body, parse);
}

#[test]
fn embedding_and_rerank_fields_of_peers_work_or_are_refused_by_name() {
    let body = json!({"model": "m", "input": "Hi"});
    let parse = |bytes: &[u8]| body::parse(bytes).and_then(embeddings::parse_embed);
    check::<embedding::Request, _>(embeddings_fields(), &body, parse);
    let body = json!({"model": "m", "query": "q", "documents": ["a"]});
    let parse = |bytes: &[u8]| body::parse(bytes).and_then(embeddings::parse_rerank);
    check::<rerank::Request, _>(rerank_fields(), &body, parse);
}

#[test]
fn settings_of_a_stream_work_or_are_refused_by_name() {
    let body = json!({"model": "m", "messages": [{"role": "user", "content": "Hi"}], "stream": true});
    let parse = |options: Value| {
        let mut body = body.clone();
        body["stream_options"] = options;
        body::parse(body.to_string().as_bytes()).and_then(chat::parse)
    };
    let form = parse(json!({"continuous_usage_stats": true})).unwrap().form;
    assert!(form.telemetry.usage);
    let error = parse(json!({"include_obfuscation": true})).unwrap_err();
    assert_eq!(error.field, Some("stream_options.include_obfuscation".into()));
}
