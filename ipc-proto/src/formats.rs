//! The names of the formats that a model's settings can choose. A test compares the worker's own formats with them.

/// How a model writes function calls.
pub const TOOLS: [&str; 15] = [
    "hermes",
    "qwen-xml",
    "llama",
    "pythonic",
    "mistral",
    "mistral-args",
    "gemma",
    "phi",
    "granite",
    "glm",
    "seed",
    "minimax",
    "cohere",
    "json",
    "harmony",
];

/// How a model marks its reasoning.
pub const REASONING: [&str; 6] = ["none", "think", "mistral-think", "seed-think", "granite", "cohere"];
