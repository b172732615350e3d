//! `mlxd import`: takes over what another program was set to: models, settings, providers and routes.
//!
//! The files of each program become a [`plan::Plan`] by a pure function, and [`merge`] adds the plan to the text of `config.toml`. API keys
//! are named by their environment variables. Their values are neither read nor written.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::client::Home;
use crate::config::{self, ConfigError, Environment};
use crate::models::recommended::Recommended;

mod folders;
mod litellm;
mod llama_swap;
mod lm_studio;
mod merge;
mod ollama;
mod omlx;
mod plan;
mod sources;

use merge::{Outcome, Present};

/// Options of the command.
#[derive(Debug, clap::Args)]
pub(crate) struct Flags {
    /// The program whose models and settings are wanted.
    #[arg(value_enum)]
    program: Program,
    /// Its configuration file, or its folder [default: where it keeps them].
    #[arg(value_name = "PATH")]
    path: Option<PathBuf>,
    /// Show what would be taken over, and change nothing.
    #[arg(long)]
    print: bool,
    #[command(flatten)]
    home: Home,
}

/// A program to import from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Program {
    Ollama,
    LmStudio,
    LlamaSwap,
    Litellm,
    Omlx,
}

impl Program {
    /// Its name for people.
    fn name(self) -> &'static str {
        match self {
            Self::Ollama => "Ollama",
            Self::LmStudio => "LM Studio",
            Self::LlamaSwap => "llama-swap",
            Self::Litellm => "LiteLLM",
            Self::Omlx => "oMLX",
        }
    }
}

/// A reason why nothing was taken over.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ImportError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("{0}")]
    Missing(String),
    #[error("{}: {problem}", path.display())]
    Format { path: PathBuf, problem: String },
    #[error("{}: {cause}", path.display())]
    File { path: PathBuf, cause: std::io::Error },
    #[error("nothing is changed, since config.toml would be wrong: {0}")]
    Result(ConfigError),
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// Reads the other program's files, and changes or prints.
pub(crate) fn run(flags: Flags, environment: &Environment) -> Result<(), ImportError> {
    let home = config::home(flags.home.folder(), environment)?;
    let (place, plan) = sources::read(flags.program, flags.path, environment)?;
    let path = home.join("config.toml");
    let text = read_optional(&path)?.unwrap_or_default();
    let settings = config::resolve(config::Flags::at(Some(home.clone())), environment.clone())?;
    let models = supervisor::models_on_disk(&settings).into_iter().map(|model| model.id).collect();
    let present = Present {
        config: &text,
        overridden: &overridden(&home)?,
        models: &models,
        has_variable: &|name| environment.variable(name).is_some(),
        size: &|path| fs::metadata(path).ok().filter(fs::Metadata::is_file).map(|file| file.len()),
    };
    let outcome = merge::merge(plan, &present)
        .map_err(|problem| ImportError::Format { path: path.clone(), problem })?;
    config::check(&outcome.text, &path).map_err(ImportError::Result)?;
    let linked = if flags.print { Vec::new() } else { write(&home, &path, &text, &outcome)? };
    let report = report(&place, &outcome, &linked, (&path, flags.print));
    std::io::stdout().lock().write_all(report.as_bytes())?;
    Ok(())
}

/// The models with settings in `settings.toml`, which beat those of `config.toml`.
fn overridden(home: &Path) -> Result<BTreeSet<String>, ImportError> {
    let path = home.join("settings.toml");
    let Some(text) = read_optional(&path)? else { return Ok(BTreeSet::new()) };
    let table: toml::Table = toml::from_str(&text)
        .map_err(|error| ImportError::Format { path, problem: error.message().to_owned() })?;
    let models = table.get("models").and_then(toml::Value::as_table);
    Ok(models.into_iter().flat_map(|models| models.keys().cloned()).collect())
}

/// The text of a file that need not be there.
fn read_optional(path: &Path) -> Result<Option<String>, ImportError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(cause) => Err(ImportError::File { path: path.to_owned(), cause }),
    }
}

/// Replaces `config.toml` and makes links in the home's folder of models. Returns a line for each link.
fn write(home: &Path, path: &Path, before: &str, outcome: &Outcome) -> Result<Vec<String>, ImportError> {
    let file = |cause| ImportError::File { path: path.to_owned(), cause };
    if outcome.text != before {
        fs::create_dir_all(home).map_err(file)?;
        config::file::replace(path, &outcome.text).map_err(file)?;
    }
    let models = home.join("models");
    let mut lines = Vec::new();
    for target in &outcome.links {
        let Some(name) = target.file_name() else { continue };
        let link = models.join(name);
        fs::create_dir_all(&models).map_err(file)?;
        lines.push(match symlink(target, &link) {
            Ok(()) => format!("{} is linked", link.display()),
            Err(error) => format!("{} cannot be linked: {error}", link.display()),
        });
    }
    Ok(lines)
}

/// What was or would be done, as text.
fn report(place: &Path, outcome: &Outcome, linked: &[String], (path, is_print): (&Path, bool)) -> String {
    let mut text = format!("read: {}\n", place.display());
    let mut section = |title: &str, lines: &[String]| {
        if !lines.is_empty() {
            let _ = writeln!(text, "\n{title}:");
        }
        for line in lines {
            let _ = writeln!(text, "  {line}");
        }
    };
    let left: Vec<String> = outcome.left.iter().map(|left| format!("{}: {}", left.what, left.why)).collect();
    let pulls: Vec<String> = outcome.pulls.iter().map(|id| format!("mlxd pull {id}")).collect();
    section(if is_print { "would be taken over" } else { "taken over" }, &outcome.taken);
    section("links", linked);
    section("not taken over", &left);
    section("models to download", &pulls);
    let _ = match (outcome.taken.is_empty(), is_print) {
        (true, _) => writeln!(text, "\nnothing to take over"),
        (false, true) => {
            writeln!(text, "\nnothing is changed: without --print it goes into {}", path.display())
        }
        (false, false) => {
            writeln!(text, "\nit is in {}, which a server reads at its start", path.display())
        }
    };
    text
}

/// A YAML text as a document of JSON. Of a key's values the last one counts, as in PyYAML.
///
/// # Errors
/// A sentence with the line. It quotes nothing: the text may hold keys.
fn yaml(text: &str) -> Result<Value, String> {
    let options =
        serde_saphyr::options! { duplicate_keys: serde_saphyr::options::DuplicateKeyPolicy::LastWins };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| match error.location() {
        Some(at) => format!("line {}: it is no YAML", at.line()),
        None => "it is no YAML".to_owned(),
    })
}

/// What to do instead of a model that is not taken over. `names` are its names in the other program, the most telling first.
fn nearest(recommended: &Recommended, names: &[&str]) -> String {
    match names.iter().find_map(|name| recommended.nearest(name)) {
        Some(id) => format!("the nearest is `mlxd pull {id}`"),
        None => {
            let name = names.iter().find(|name| !name.is_empty()).copied().unwrap_or_default();
            format!("look for one with `mlxd search {}`", words(name))
        }
    }
}

/// The part of a name that other formats of the model share.
fn words(name: &str) -> &str {
    let name = name.rsplit('/').next().unwrap_or(name);
    let lower = name.to_ascii_lowercase();
    let is_end = |at: usize| {
        let rest = &lower[at..];
        let is_packing = rest.starts_with("-q") || rest.starts_with(".q") || rest.starts_with("_q");
        [".gguf", "-gguf", ":"].iter().any(|end| rest.starts_with(end))
            || (is_packing && rest.as_bytes().get(2).is_some_and(u8::is_ascii_digit))
    };
    let end = lower.char_indices().map(|(at, _)| at).find(|at| is_end(*at)).unwrap_or(name.len());
    &name[..end]
}

#[cfg(test)]
mod tests;
