//! A model that follows a script: the real engine runs it, and its weights are made by hand.
//!
//! The network is an induction circuit (Olsson et al. 2022, <https://arxiv.org/abs/2209.11895>). It searches the prompt for the
//! place whose last 31 tokens resemble its own last 31 most, and repeats the text after it. The chat template writes a script
//! at the beginning of each prompt and the number of the turn at its end. So the answer is that turn of the script.
//!
//! Real are the tokenizer, the chat template, prefill, decode, KV cache, prefix cache, sampling and parsing of calls. The model
//! reads its script from cached blocks: a wrong block gives a wrong answer. Nothing else that a prompt says changes an answer.

use std::path::{Path, PathBuf};

use safetensors::{Dtype, tensor::TensorView};
use serde_json::{Value, json};

use crate::derived;

/// The model's name.
pub const SCRIPTED: &str = "scripted";

/// A turn of the assistant.
#[derive(Debug, Clone)]
pub enum Turn {
    /// It says a text.
    Say(String),
    /// It calls a function with an object of strings.
    Call(&'static str, Value),
}

/// The turns and answers that the model writes.
#[derive(Debug, Clone)]
pub struct Script {
    /// Its turns in a conversation with tools. The last one repeats.
    pub turns: Vec<Turn>,
    /// Its answer where there are no tools: agents ask for titles and summaries.
    pub aside: &'static str,
    /// How one of its turns sums up the conversation.
    pub summary: Option<Summary>,
}

/// A turn that sums up. Agents ask for it, and replace messages by it.
#[derive(Debug, Clone, Copy)]
pub struct Summary {
    /// Words of the turn. After a message that has them, the conversation goes on with the next turn of the script.
    pub words: &'static str,
    /// Words of a last message that asks for the turn, whatever stands before.
    pub asked_by: &'static str,
}

/// Writes the model into `folder`.
///
/// # Panics
/// When the files cannot be written.
pub fn write(folder: &Path, script: &Script) {
    let model = derived::write(folder, SCRIPTED, &template(script));
    replace(&model, "config.json", config().to_string().as_bytes());
    replace(&model, "model.safetensors", &file(&tensors()));
}

/// Replaces a link by a file.
fn replace(model: &Path, name: &str, bytes: &[u8]) {
    let path: PathBuf = model.join(name);
    std::fs::remove_file(&path).unwrap();
    std::fs::write(path, bytes).unwrap();
}

// ---------------------------------------------------------------- the chat template

/// ChatML. The script stands first, each turn as it is rendered in a conversation. The mark before a turn fills the model's
/// context, so that nothing before it matters. Turns with the same first 31 tokens cannot be distinguished.
const TEMPLATE: &str = r#"
{%- set mark = '[The script at the beginning of this prompt goes on, word by word and without a change, with the following turn of the assistant, which has the number ' %}
{%- set position = namespace(turn=0, summary=0) %}
{%- for step in script %}{% if summary and summary.words in (step.text or '') %}{% set position.summary = loop.index %}{% endif %}{% endfor %}
{{- '<|im_start|>system\n' }}
{%- for step in script %}
{{- '<|im_start|>assistant\n' + mark + (loop.index | string) + ']\n' }}
{%- if step.name %}{{ '<tool_call>\n{"name": "' + step.name + '", "arguments": ' + (step.arguments | tojson) + '}\n</tool_call>' }}{% else %}{{ step.text }}{% endif %}
{{- '<|im_end|>\n' }}
{%- endfor %}
{{- '<|im_start|>assistant\n' + mark + 'aside]\n' + aside + '<|im_end|>\n' }}
{%- if tools %}{{ '<tools>' }}{% for tool in tools %}{{ '\n' + (tool | tojson) }}{% endfor %}{{ '\n</tools>' }}{% endif %}
{{- '<|im_end|>\n' }}
{%- for message in messages %}
{{- '<|im_start|>' + message.role + '\n' }}
{%- if message.role == 'assistant' %}{% set position.turn = position.turn + 1 %}{% endif %}
{%- if summary and summary.words in (message.content | string) %}{% set position.turn = position.summary %}{% endif %}
{%- if message.role == 'assistant' %}{{ mark + (position.turn | string) + ']\n' }}{% endif %}
{{- message.content or '' }}
{%- for call in message.tool_calls or [] %}
{{- '<tool_call>\n{"name": "' + call.function.name + '", "arguments": ' + (call.function.arguments | tojson) + '}\n</tool_call>' }}
{%- endfor %}
{{- '<|im_end|>\n' }}
{%- endfor %}
{%- if summary and summary.asked_by in (messages[-1].content | string) %}{% set position.turn = position.summary - 1 %}{% endif %}
{{- '<|im_start|>assistant\n' + mark }}
{%- if tools %}{{ [position.turn + 1, script | length] | min }}{% else %}aside{% endif %}{{ ']\n' }}"#;

fn template(script: &Script) -> String {
    let turns: Vec<Value> = script.turns.iter().map(written).collect();
    // A JSON value of strings is an expression of Jinja.
    let summary =
        script.summary.map(|Summary { words, asked_by }| json!({"words": words, "asked_by": asked_by}));
    let values = [
        ("script", json!(turns)),
        ("aside", json!(script.aside)),
        ("summary", json!(summary.unwrap_or(false.into()))),
    ];
    let set = values.map(|(name, value)| format!("{{%- set {name} = {value} %}}"));
    set.concat() + TEMPLATE
}

fn written(turn: &Turn) -> Value {
    match turn {
        Turn::Say(text) => json!({"text": text}),
        Turn::Call(name, arguments) => json!({"name": name, "arguments": arguments}),
    }
}

// ---------------------------------------------------------------- the weights

/// Tokens that are compared.
const CONTEXT: usize = 31;
/// Layers that collect these tokens: each doubles what a position knows.
const COLLECTING: usize = 5;
/// A token's id as ±1 for each bit.
const ID_BITS: usize = 16;
/// A hash of the id, in the same form. The comparison uses it.
const HASH_BITS: usize = 4;
/// Hashes that a position holds: its own and those of the `CONTEXT` tokens before it.
const SLOTS: usize = CONTEXT + 1;
/// The coordinate that is 1 in every embedding.
const ONE: usize = slot(SLOTS);
const HIDDEN: usize = 160;
const HEAD: usize = 128;
const INTERMEDIATE: usize = 32;
const LAYERS: usize = COLLECTING + 1;
const VOCABULARY: usize = 49_152;
/// Small, so that all waves are short: a position differs from its neighbour, and from every other one up to `POSITIONS`.
const THETA: f32 = 3.0;
const POSITIONS: usize = 32_768;

/// Attention to the right distance, before the softmax. Every other distance has 49 less or still less.
const DISTANCE_SCORE: f32 = 250.0;
/// Query and key per bit: one wrong bit costs 45 before the softmax.
const MATCH: f32 = 16.0;
/// The next token beside the current one in the residual stream.
const LOUDNESS: f32 = 8.0;
/// A wrong bit costs about 100 in the logits, so that no temperature matters.
const SHARPNESS: f32 = 20.0;

/// The first coordinate of slot `number`.
const fn slot(number: usize) -> usize {
    ID_BITS + HASH_BITS * number
}

fn config() -> Value {
    json!({"model_type": "smollm3", "architectures": ["SmolLM3ForCausalLM"], "hidden_size": HIDDEN, "num_hidden_layers": LAYERS,
        "intermediate_size": INTERMEDIATE, "num_attention_heads": 1, "num_key_value_heads": 1, "head_dim": HEAD,
        "rms_norm_eps": 1e-6, "vocab_size": VOCABULARY, "rope_theta": THETA, "max_position_embeddings": POSITIONS,
        // The last layer compares tokens at any distance.
        "no_rope_layers": [1, 1, 1, 1, 1, 0], "tie_word_embeddings": true, "torch_dtype": "float32",
        "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 2})
}

/// A tensor with its name; a norm has one row.
#[derive(Clone)]
struct Tensor {
    name: String,
    rows: usize,
    columns: usize,
    values: Vec<f32>,
}

impl Tensor {
    fn zeros(name: impl Into<String>, rows: usize, columns: usize) -> Self {
        Self { name: name.into(), rows, columns, values: vec![0.0; rows * columns] }
    }

    fn set(&mut self, row: usize, column: usize, value: f32) {
        self.values[row * self.columns + column] = value;
    }

    /// Moves `count` coordinates, multiplied by `factor`.
    fn copy(mut self, to: usize, from: usize, count: usize, factor: f32) -> Self {
        (0..count).for_each(|at| self.set(to + at, from + at, factor));
        self
    }

    fn filled(name: impl Into<String>, value: f32) -> Self {
        Self { name: name.into(), rows: 1, columns: HIDDEN, values: vec![value; HIDDEN] }
    }
}

fn tensors() -> Vec<Tensor> {
    let mut last_norm = Tensor::zeros("model.norm.weight", 1, HIDDEN);
    (0..ID_BITS).for_each(|bit| last_norm.set(0, bit, SHARPNESS));
    let mut all = vec![embedding(), last_norm];
    all.extend((0..COLLECTING).flat_map(collecting_layer));
    all.extend(matching_layer());
    all
}

fn embedding() -> Tensor {
    let mut embedding = Tensor::zeros("model.embed_tokens.weight", VOCABULARY, HIDDEN);
    let sign = |number: u32, bit: usize| if number >> bit & 1 == 1 { 1.0 } else { -1.0 };
    for id in 0..VOCABULARY as u32 {
        let row = id as usize;
        // Neighbours differ, and so do the digits of a turn's number.
        let hash = id ^ id >> 4 ^ id >> 8 ^ id >> 12;
        (0..ID_BITS).for_each(|bit| embedding.set(row, bit, sign(id, bit)));
        (0..HASH_BITS).for_each(|bit| embedding.set(row, slot(0) + bit, sign(hash, bit)));
        embedding.set(row, ONE, 1.0);
    }
    embedding
}

/// Fetches what the position `2^layer` tokens before knows: its first `2^layer` slots.
fn collecting_layer(layer: usize) -> Vec<Tensor> {
    let distance = 1 << layer;
    let waves = HEAD / 2;
    let strength = (DISTANCE_SCORE * (HEAD as f32).sqrt() / waves as f32).sqrt();
    let name = |part: &str| format!("model.layers.{layer}.self_attn.{part}_proj.weight");
    let (mut query, mut key) =
        (Tensor::zeros(name("q"), HEAD, HIDDEN), Tensor::zeros(name("k"), HEAD, HIDDEN));
    for wave in 0..waves {
        let angle = THETA.powf(-(wave as f32) / waves as f32) * distance as f32;
        query.set(wave, ONE, strength * angle.cos());
        query.set(wave + waves, ONE, -strength * angle.sin());
        key.set(wave, ONE, strength);
    }
    let width = HASH_BITS * distance;
    let value = Tensor::zeros(name("v"), HEAD, HIDDEN).copy(0, slot(0), width, 1.0);
    let output = Tensor::zeros(name("o"), HIDDEN, HEAD).copy(slot(distance), 0, width, 1.0);
    [vec![query, key, value, output], rest_of_layer(layer, distance)].concat()
}

/// Compares a position's last tokens with those before every earlier token, and takes the token that followed.
fn matching_layer() -> Vec<Tensor> {
    let name = |part: &str| format!("model.layers.{COLLECTING}.self_attn.{part}_proj.weight");
    let width = HASH_BITS * CONTEXT;
    let query = Tensor::zeros(name("q"), HEAD, HIDDEN).copy(0, slot(0), width, MATCH);
    let key = Tensor::zeros(name("k"), HEAD, HIDDEN).copy(0, slot(1), width, MATCH);
    let value = Tensor::zeros(name("v"), HEAD, HIDDEN).copy(0, 0, ID_BITS, 1.0);
    let output = Tensor::zeros(name("o"), HIDDEN, HEAD).copy(0, 0, ID_BITS, LOUDNESS);
    [vec![query, key, value, output], rest_of_layer(COLLECTING, SLOTS)].concat()
}

/// The norms and an MLP that does nothing. With `slots` slots filled, the norm's weight undoes the norm.
fn rest_of_layer(layer: usize, slots: usize) -> Vec<Tensor> {
    let name = |part: &str| format!("model.layers.{layer}.{part}.weight");
    let ones = ID_BITS + HASH_BITS * slots + 1;
    vec![
        Tensor::filled(name("input_layernorm"), (ones as f32 / HIDDEN as f32).sqrt()),
        Tensor::filled(name("post_attention_layernorm"), 1.0),
        Tensor::zeros(name("mlp.gate_proj"), INTERMEDIATE, HIDDEN),
        Tensor::zeros(name("mlp.up_proj"), INTERMEDIATE, HIDDEN),
        Tensor::zeros(name("mlp.down_proj"), HIDDEN, INTERMEDIATE),
    ]
}

/// The tensors as a safetensors file.
fn file(tensors: &[Tensor]) -> Vec<u8> {
    let bytes =
        |tensor: &Tensor| tensor.values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<_>>();
    let data: Vec<_> = tensors.iter().map(bytes).collect();
    let views = tensors.iter().zip(&data).map(|(Tensor { name, rows, columns, .. }, data)| {
        let shape = if *rows == 1 { vec![*columns] } else { vec![*rows, *columns] };
        (name, TensorView::new(Dtype::F32, shape, data).unwrap())
    });
    safetensors::serialize(views, None).unwrap()
}

const _: () = assert!(ONE < HIDDEN && HASH_BITS * CONTEXT <= HEAD && SLOTS == 1 << COLLECTING);
