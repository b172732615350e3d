//! The command line that starts a model's server in llama-swap. Pure.

/// A server's command line.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Command {
    pub(super) program: String,
    pub(super) source: Source,
    /// Tokens of prompt and output together.
    pub(super) context: Option<u32>,
    /// Flags without a counterpart.
    pub(super) others: Vec<String>,
}

/// The model of a command line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// A model of the hub that an MLX server serves.
    Hub(String),
    /// A folder that an MLX server serves.
    Folder(String),
    /// What another server serves: a file, or a model's name.
    Other(String),
}

/// Flags with the model.
const MODEL: [&str; 8] =
    ["--model", "-m", "--model-path", "--hf-repo", "-hf", "-hfr", "--hf-file", "--model-id"];
const CONTEXT: [&str; 6] =
    ["--ctx-size", "-c", "--context-length", "--max-model-len", "--max-kv-size", "--max-context-length"];
/// Flags of the server's process. They have no meaning here.
const PROCESS: [&str; 8] = [
    "--host",
    "--port",
    "--log-level",
    "--trust-remote-code",
    "--served-model-name",
    "--api-key",
    "--alias",
    "-a",
];
/// Parts of names of programs that serve MLX models.
const MLX: [&str; 2] = ["mlx", "MLX"];
/// Words that begin a command without being its program.
const LAUNCHERS: [&str; 7] = ["env", "exec", "uv", "uvx", "run", "python", "python3"];

impl Command {
    /// Reads a command line. Lines that begin with `#` are comments. `None` if its quotes do not match.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
        let lines: Vec<&str> = lines.map(|line| line.trim_end().trim_end_matches('\\')).collect();
        let words = shlex::split(&lines.join(" "))?;
        let start = words.iter().position(|word| is_program(word))?;
        let program = words[start].clone();
        let mut command =
            Self { program, source: Source::Other(String::new()), context: None, others: Vec::new() };
        let (mut named, mut positional) = (None, None);
        let mut rest = words[start + 1..].iter().map(String::as_str).peekable();
        while let Some(word) = rest.next() {
            let (flag, joined) = match word.split_once('=') {
                Some((flag, value)) if flag.starts_with("--") => (flag, Some(value)),
                _ => (word, None),
            };
            if !flag.starts_with('-') {
                // `serve MODEL`, or the name of a subcommand.
                positional = positional.or_else(|| Some(flag).filter(|flag| flag.contains('/')));
                continue;
            }
            let value = joined.or_else(|| rest.next_if(|next| !next.starts_with('-'))).unwrap_or_default();
            if MODEL.contains(&flag) {
                named = named.or(Some(value));
            } else if CONTEXT.contains(&flag) {
                command.context = value.parse().ok().filter(|tokens| *tokens >= 16);
            } else if !PROCESS.contains(&flag) {
                command.others.push(flag.to_owned());
            }
        }
        command.source = source(&command.program, named.or(positional).unwrap_or_default());
        Some(command)
    }
}

/// Whether a word is the program: neither a launcher nor its flag nor a variable.
fn is_program(word: &str) -> bool {
    let name = word.rsplit('/').next().unwrap_or(word);
    let is_variable = word.split_once('=').is_some_and(|(name, _)| !name.contains(['/', '-']));
    !word.starts_with('-') && !is_variable && !LAUNCHERS.contains(&name)
}

fn source(program: &str, model: &str) -> Source {
    if model.is_empty() || model.ends_with(".gguf") || !MLX.iter().any(|part| program.contains(part)) {
        return Source::Other(model.to_owned());
    }
    let is_id = model.split('/').count() == 2 && !model.starts_with(['/', '.', '~', '$']);
    if is_id { Source::Hub(model.to_owned()) } else { Source::Folder(model.to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> (String, Source, Option<u32>, Vec<String>) {
        let command = Command::parse(text).unwrap();
        (command.program, command.source, command.context, command.others)
    }

    #[test]
    fn mlx_servers_are_recognised_with_their_models() {
        for (text, model) in [
            ("mlx_lm.server --model org/m --port ${PORT}", Source::Hub("org/m".into())),
            (
                "HF_HUB_OFFLINE=1 uv run python -m mlx_lm.server --port 1 --model=org/m",
                Source::Hub("org/m".into()),
            ),
            ("/opt/venv/bin/vllm-mlx serve org/m --host 0.0.0.0", Source::Hub("org/m".into())),
            (
                "mlx-openai-server launch --model-path '/models/my model'",
                Source::Folder("/models/my model".into()),
            ),
        ] {
            let (program, source, context, others) = parsed(text);
            assert!(program.contains("mlx"), "{program}");
            assert_eq!((source, context, others), (model, None, vec![]), "{text}");
        }
    }

    #[test]
    fn other_servers_and_their_flags_are_named() {
        let text = "# the newest\n/opt/llama-server --port 1 \\\n  -m /gguf/Qwen3-8B-Q4_K_M.gguf -c 32768 -ngl 99 --jinja\n";
        let (program, source, context, others) = parsed(text);
        assert_eq!((program.as_str(), context), ("/opt/llama-server", Some(32_768)));
        assert_eq!(source, Source::Other("/gguf/Qwen3-8B-Q4_K_M.gguf".into()));
        assert_eq!(others, ["-ngl", "--jinja"]);
        assert_eq!(parsed("llama-server -hf org/m-GGUF:Q4_K_M").1, Source::Other("org/m-GGUF:Q4_K_M".into()));
        assert_eq!(Command::parse("say 'hello"), None);
        assert_eq!(Command::parse(""), None);
    }
}
