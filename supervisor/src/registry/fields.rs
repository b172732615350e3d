//! The sizes that config.json states, and the memory that follows from them.

use serde_json::Value;

/// Tokens in a block of the worker's KV pool.
const BLOCK_TOKENS: u64 = 32;
/// Fields that Gemma's files omit have these default values. The worker assumes the same.
const GEMMA3_DEFAULTS: [(&str, u64); 4] = [
    ("num_attention_heads", 8),
    ("num_key_value_heads", 4),
    ("head_dim", 256),
    ("max_position_embeddings", 131_072),
];
const GEMMA4_DEFAULTS: [(&str, u64); 8] = [
    ("num_attention_heads", 8),
    ("num_key_value_heads", 1),
    ("head_dim", 256),
    ("global_head_dim", 512),
    ("num_hidden_layers", 35),
    ("num_kv_shared_layers", 20),
    ("sliding_window_pattern", 5),
    ("max_position_embeddings", 131_072),
];

/// The fields of a language model.
pub(super) struct Fields<'a> {
    /// A vision model keeps them in a nested object.
    inner: &'a Value,
    defaults: &'static [(&'static str, u64)],
}

impl<'a> Fields<'a> {
    pub(super) fn new(config: &'a Value, architecture: &str) -> Self {
        let defaults: &[(&str, u64)] = match architecture {
            "gemma3" => &GEMMA3_DEFAULTS,
            "gemma4" | "gemma4_text" | "gemma4_unified" => &GEMMA4_DEFAULTS,
            _ => &[],
        };
        Self { inner: config.get("text_config").unwrap_or(config), defaults }
    }

    fn number(&self, name: &str) -> Option<u64> {
        let default = || self.defaults.iter().find(|(field, _)| *field == name).map(|(_, value)| *value);
        self.inner.get(name).and_then(Value::as_u64).or_else(default)
    }

    fn list(&self, name: &str) -> Option<&'a Vec<Value>> {
        self.inner.get(name).and_then(Value::as_array)
    }

    /// The longest text, in tokens.
    pub(super) fn context(&self) -> Option<u32> {
        self.number("max_position_embeddings").and_then(|n| u32::try_from(n).ok())
    }

    /// Bytes of the KV pool for a token, with its share of other states, in fp32 as on a CPU.
    pub(super) fn kv_bytes_per_token(&self) -> u64 {
        let others = self.layers_without_attention();
        let attention = self.attention_numbers(others).saturating_mul(BLOCK_TOKENS);
        let [key_heads, key_dim, value_heads, value_dim] = [
            "linear_num_key_heads",
            "linear_key_head_dim",
            "linear_num_value_heads",
            "linear_value_head_dim",
        ]
        .map(|name| self.number(name).unwrap_or(0));
        let channels = match self.number("conv_L_cache") {
            Some(_) => self.number("hidden_size").unwrap_or(0),
            None => product([2, key_heads, key_dim]).saturating_add(product([1, value_heads, value_dim])),
        };
        // Of every block, the inputs of the kernel's last tokens.
        let kernel =
            self.number("conv_L_cache").or_else(|| self.number("linear_conv_kernel_dim")).unwrap_or(0);
        let block = attention.saturating_add(product([others, channels, kernel]));
        // As many states as take the memory of the blocks.
        let state = product([others, value_heads, value_dim]).saturating_mul(key_dim);
        let share = state.checked_div(state.div_ceil(block.max(1))).unwrap_or(0);
        block.saturating_add(share).div_ceil(BLOCK_TOKENS).saturating_mul(4)
    }

    fn layers(&self) -> u64 {
        self.number("num_hidden_layers").unwrap_or(0)
    }

    /// The numbers of a token's keys and values in all layers, of which `others` have none.
    fn attention_numbers(&self, others: u64) -> u64 {
        match (self.number("kv_lora_rank"), self.number("qk_rope_head_dim")) {
            // Latent attention: one vector for all heads, of which the values are a part.
            (Some(rank), Some(rotated)) => product([self.layers(), rank.saturating_add(rotated), 1]),
            _ => self.heads_of_all_layers(others).saturating_mul(2),
        }
    }

    /// The numbers of a token's keys in all layers; there are as many values. `others` layers have none.
    fn heads_of_all_layers(&self, others: u64) -> u64 {
        let heads = self.number("num_attention_heads").unwrap_or(0);
        let width = self.number("head_dim").or_else(|| self.number("hidden_size")?.checked_div(heads));
        let (width, keys) = (width.unwrap_or(0), self.number("num_key_value_heads").unwrap_or(heads));
        let Some(global_width) = self.number("global_head_dim") else {
            return product([self.layers().saturating_sub(others), keys, width]);
        };
        let shares = self.inner.get("attention_k_eq_v").and_then(Value::as_bool).unwrap_or(false);
        let global_keys = self.number("num_global_key_value_heads").filter(|_| shares).unwrap_or(keys);
        // The last layers read the keys of earlier ones.
        let own = self.layers().saturating_sub(self.number("num_kv_shared_layers").unwrap_or(0));
        let global = self.global_layers(own);
        product([own - global, keys, width]).saturating_add(product([global, global_keys, global_width]))
    }

    /// How many of the first `own` layers attend to the whole text.
    fn global_layers(&self, own: u64) -> u64 {
        let step = self.number("sliding_window_pattern").unwrap_or(1).max(1);
        let Some(types) = self.list("layer_types") else { return own / step };
        let first = types.iter().take(usize::try_from(own).unwrap_or(usize::MAX));
        first.filter(|kind| kind.as_str() == Some("full_attention")).count() as u64
    }

    /// How many layers have a short convolution (LFM2) or linear attention (Qwen 3.5) in place of attention.
    fn layers_without_attention(&self) -> u64 {
        let layers = self.layers();
        if self.inner.get("conv_L_cache").or_else(|| self.inner.get("linear_conv_kernel_dim")).is_none() {
            return 0;
        }
        let attention = self.list("full_attn_idxs").map(Vec::len).or_else(|| {
            let types = self.list("layer_types")?;
            Some(types.iter().filter(|kind| kind.as_str() == Some("full_attention")).count())
        });
        let interval = self.number("full_attention_interval").unwrap_or(4).max(1);
        let attention = attention.map_or(layers / interval, |attention| attention as u64);
        layers.saturating_sub(attention)
    }
}

fn product(numbers: [u64; 3]) -> u64 {
    numbers.into_iter().fold(1, u64::saturating_mul)
}
