//! The names of the formats that a model's settings can choose. A test compares the worker's own formats with them.

/// How a model writes function calls.
pub const TOOLS: [&str; 20] = [
    "hermes",
    "qwen-xml",
    "llama",
    "pythonic",
    "mistral",
    "mistral-args",
    "gemma",
    "gemma4",
    "lfm2",
    "phi",
    "granite",
    "glm",
    "seed",
    "minimax",
    "cohere",
    "deepseek",
    "deepseek-r1",
    "kimi",
    "json",
    "harmony",
];

/// How a model marks its reasoning.
pub const REASONING: [&str; 7] =
    ["none", "think", "mistral-think", "seed-think", "granite", "cohere", "gemma"];
