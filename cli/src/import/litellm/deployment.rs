//! The server that a deployment of LiteLLM asks, by the prefix of its model (<https://docs.litellm.ai/docs/providers>). Pure.

use serde_json::Value;

use crate::import::plan::{self, Kind, text};

/// Parameters of a deployment that are read.
pub(super) const PARAMETERS: [&str; 10] = [
    "model",
    "api_key",
    "api_base",
    "custom_llm_provider",
    "timeout",
    "weight",
    "rpm",
    "input_cost_per_token",
    "output_cost_per_token",
    "cache_read_input_token_cost",
];
/// Reads a variable, in the file's words.
const VARIABLE: &str = "os.environ/";

/// Services with a protocol that mlxd speaks: prefix, protocol, address, and the variable of the key.
const SERVICES: [(&str, Kind, &str, &str); 13] = [
    ("openai", Kind::Openai, "https://api.openai.com/v1", "OPENAI_API_KEY"),
    ("anthropic", Kind::Anthropic, "https://api.anthropic.com", "ANTHROPIC_API_KEY"),
    ("openrouter", Kind::Compatible, "https://openrouter.ai/api/v1", "OPENROUTER_API_KEY"),
    ("groq", Kind::Compatible, "https://api.groq.com/openai/v1", "GROQ_API_KEY"),
    ("deepseek", Kind::Compatible, "https://api.deepseek.com/v1", "DEEPSEEK_API_KEY"),
    ("mistral", Kind::Compatible, "https://api.mistral.ai/v1", "MISTRAL_API_KEY"),
    ("together_ai", Kind::Compatible, "https://api.together.xyz/v1", "TOGETHERAI_API_KEY"),
    ("fireworks_ai", Kind::Compatible, "https://api.fireworks.ai/inference/v1", "FIREWORKS_AI_API_KEY"),
    ("xai", Kind::Compatible, "https://api.x.ai/v1", "XAI_API_KEY"),
    ("cerebras", Kind::Compatible, "https://api.cerebras.ai/v1", "CEREBRAS_API_KEY"),
    ("nvidia_nim", Kind::Compatible, "https://integrate.api.nvidia.com/v1", "NVIDIA_NIM_API_KEY"),
    ("perplexity", Kind::Compatible, "https://api.perplexity.ai", "PERPLEXITYAI_API_KEY"),
    ("gemini", Kind::Compatible, "https://generativelanguage.googleapis.com/v1beta/openai", "GEMINI_API_KEY"),
];
/// Servers of one's own that speak chat completions at `api_base`.
const SERVERS: [&str; 7] =
    ["hosted_vllm", "vllm", "lm_studio", "llamafile", "litellm_proxy", "openai_like", "custom_openai"];
/// Ollama's own protocol. Its chat completions are below `/v1`.
const OLLAMA: [&str; 2] = ["ollama", "ollama_chat"];
const OLLAMA_URL: &str = "http://localhost:11434";

/// The server of a deployment, and its model there.
#[derive(Debug, PartialEq)]
pub(super) struct Target {
    /// For a provider's name.
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) url: String,
    pub(super) key_env: Option<String>,
    /// The file has the key itself.
    pub(super) has_clear_key: bool,
    /// The model's id at the server.
    pub(super) id: String,
}

/// The target of a deployment.
///
/// # Errors
/// The reason why it has none here.
pub(super) fn target(
    name: &str,
    model: &str,
    deployment: &Value,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<Target, String> {
    if name.is_empty() || model.is_empty() {
        return Err("it lacks model_name or litellm_params.model".into());
    }
    if name.contains('*') || model.contains('*') {
        return Err("a provider's models are listed one by one: name them by `mlxd provider add`".into());
    }
    let mode = text(&deployment["model_info"], "mode").unwrap_or("chat");
    if !matches!(mode, "chat" | "completion" | "responses") {
        return Err(format!("its mode is {mode}, and providers are asked for generated text only"));
    }
    let parameters = &deployment["litellm_params"];
    let (prefix, id) = service(model, text(parameters, "custom_llm_provider"))?;
    let base = match text(parameters, "api_base") {
        Some(base) => Some(address(base, variable)?),
        None => None,
    };
    let (kind, url, own_key) = endpoint(prefix, base.as_deref())?;
    let name = if base.is_none() { prefix.to_owned() } else { plan::name_from_url(&url) };
    let key = text(parameters, "api_key");
    let named = key.and_then(|key| plan::variable(key, VARIABLE, ""));
    let has_clear_key = key.is_some() && named.is_none();
    // A server of one's own mostly has a placeholder there.
    let own_key = own_key.filter(|_| !plan::is_local(&url));
    let key_env = named.or(own_key).map(str::to_owned);
    Ok(Target { name, kind, url, key_env, has_clear_key, id: id.to_owned() })
}

/// The prefix and the rest of a model's name. Some names need none.
fn service<'a>(model: &'a str, explicit: Option<&'a str>) -> Result<(&'a str, &'a str), String> {
    if let Some(prefix) = explicit {
        return Ok((
            prefix,
            model.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('/')).unwrap_or(model),
        ));
    }
    if let Some((prefix, id)) = model.split_once('/') {
        return Ok((prefix, id));
    }
    let begins = |names: &[&str]| names.iter().any(|name| model.starts_with(name));
    if begins(&["gpt-", "chatgpt-", "o1", "o3", "o4"]) {
        Ok(("openai", model))
    } else if begins(&["claude-"]) {
        Ok(("anthropic", model))
    } else {
        Err("its name does not say which service has it".into())
    }
}

/// Protocol, address, and the variable of the key of a service.
fn endpoint<'a>(prefix: &'a str, base: Option<&str>) -> Result<(Kind, String, Option<&'a str>), String> {
    let trimmed = base.map(|base| base.trim_end_matches('/'));
    if OLLAMA.contains(&prefix) {
        let base = trimmed.unwrap_or(OLLAMA_URL);
        return Ok((Kind::Compatible, format!("{}/v1", base.trim_end_matches("/v1")), None));
    }
    if SERVERS.contains(&prefix) {
        let base = trimmed.ok_or_else(|| format!("{prefix} has no api_base, its address"))?;
        return Ok((Kind::Compatible, base.to_owned(), None));
    }
    let known = SERVICES.iter().find(|(name, ..)| *name == prefix);
    let (_, kind, url, key) = known
        .ok_or_else(|| format!("{prefix} has a protocol of its own: mlxd speaks OpenAI's and Anthropic's"))?;
    match (trimmed, kind) {
        (None, _) => Ok((*kind, (*url).to_owned(), Some(*key))),
        (Some(base), Kind::Anthropic) => {
            let base = base.trim_end_matches("/v1/messages").trim_end_matches("/v1");
            Ok((*kind, base.to_owned(), Some(*key)))
        }
        // At another address than OpenAI's own are compatible servers.
        (Some(base), _) if base == *url => Ok((*kind, base.to_owned(), Some(*key))),
        (Some(base), _) => Ok((Kind::Compatible, base.to_owned(), Some(*key))),
    }
}

/// An address, perhaps from a variable.
fn address(base: &str, variable: &dyn Fn(&str) -> Option<String>) -> Result<String, String> {
    let base = match plan::variable(base, VARIABLE, "") {
        Some(name) => variable(name)
            .ok_or_else(|| format!("its address is in the variable {name}, which is not set"))?,
        None => base.to_owned(),
    };
    let is_address = base.starts_with("http://") || base.starts_with("https://");
    if is_address { Ok(base) } else { Err(format!("its api_base \"{base}\" is no address")) }
}
