//! Reads the files of the programs, and their folders of models.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::folders::{self, Found};
use super::plan::Plan;
use super::{ImportError, Program, litellm, llama_swap, lm_studio, ollama, omlx, read_optional};
use crate::config::Environment;
use crate::models::recommended::Recommended;

/// Levels of folders with manifests of Ollama, or with saved defaults of LM Studio.
const DEPTH: usize = 4;

/// The place that was read, and the plan from it. `path` is the user's, in place of the usual one.
///
/// # Errors
/// Nothing is there, or it cannot be read.
pub(super) fn read(
    program: Program,
    path: Option<PathBuf>,
    environment: &Environment,
) -> Result<(PathBuf, Plan), ImportError> {
    let home = environment.variable("HOME").map(PathBuf::from);
    let place = Locations { program, path, home };
    let recommended = Recommended::read().map_err(std::io::Error::from)?;
    let variable = |name: &str| environment.variable(name);
    match program {
        Program::Litellm => {
            let (file, text) = place.file(&["litellm_config.yaml", "config.yaml"])?;
            let plan = litellm::plan(&text, &variable);
            Ok((file.clone(), plan.map_err(|problem| ImportError::Format { path: file, problem })?))
        }
        Program::LlamaSwap => {
            let (file, text) = place.file(&["config.yaml", "llama-swap.yaml"])?;
            let plan = llama_swap::plan(&text, &variable, &recommended);
            Ok((file.clone(), plan.map_err(|problem| ImportError::Format { path: file, problem })?))
        }
        Program::Ollama => {
            let usual = variable("OLLAMA_MODELS").map(PathBuf::from);
            let folder = place.folder(usual, &[".ollama/models"])?;
            let plan = ollama::plan(&installed(&folder), &variable, &recommended);
            Ok((folder, plan))
        }
        Program::LmStudio => {
            let base = place.folder(None, &[".lmstudio", ".cache/lm-studio"])?;
            let plan = lm_studio(&base, place.home.as_deref(), &recommended)?;
            Ok((base, plan))
        }
        Program::Omlx => {
            let usual = variable("OMLX_BASE_PATH").map(PathBuf::from);
            let base = place.folder(usual, &[".omlx"])?;
            let plan = omlx(&base, place.home.as_deref())?;
            Ok((base, plan))
        }
    }
}

/// Where a program keeps its files.
struct Locations {
    program: Program,
    /// The user's own.
    path: Option<PathBuf>,
    home: Option<PathBuf>,
}

impl Locations {
    /// A configuration file: the user's, or one of these names in the working folder.
    fn file(&self, names: &[&str]) -> Result<(PathBuf, String), ImportError> {
        let usual = names.iter().map(PathBuf::from);
        let candidates: Vec<PathBuf> = self.path.clone().map_or_else(|| usual.collect(), |path| vec![path]);
        for path in candidates {
            if let Some(text) = read_optional(&path)? {
                return Ok((path, text));
            }
        }
        let missing = match &self.path {
            Some(path) => format!("{} does not exist", path.display()),
            None => format!("name its configuration file: no {} is in this folder", names.join(" or ")),
        };
        Err(ImportError::Missing(missing))
    }

    /// A folder: the user's, `usual`, or one of these in the user's home.
    fn folder(&self, usual: Option<PathBuf>, below_home: &[&str]) -> Result<PathBuf, ImportError> {
        let in_home = |name: &&str| Some(self.home.as_ref()?.join(name));
        let candidates: Vec<PathBuf> = match self.path.clone().or(usual) {
            Some(path) => vec![path],
            None => below_home.iter().filter_map(in_home).collect(),
        };
        let found = candidates.iter().find(|path| path.is_dir()).cloned();
        found.ok_or_else(|| {
            let places: Vec<String> = candidates.iter().map(|path| path.display().to_string()).collect();
            let text =
                format!("{} is not here: there is no folder {}", self.program.name(), places.join(" or "));
            ImportError::Missing(text)
        })
    }
}

fn lm_studio(base: &Path, home: Option<&Path>, recommended: &Recommended) -> Result<Plan, ImportError> {
    // On macOS the application has a folder of its own for settings, in some releases.
    let application = home.map(|home| home.join("Library/Application Support/LM Studio"));
    let settings = [Some(base), application.as_deref()].into_iter().flatten();
    let mut read = Value::Null;
    for folder in settings {
        if read.is_null() {
            read = json(&folder.join("settings.json"))?;
        }
    }
    let folder = lm_studio::folder(&read, base);
    let searched: Vec<PathBuf> = [".lmstudio/models", ".cache/lm-studio/models"]
        .iter()
        .filter_map(|name| Some(home?.join(name)))
        .collect();
    let root = base.join(".internal/user-concrete-model-default-config");
    let mut defaults = Vec::new();
    for path in files(&root) {
        if let Some(name) = below(&root, &path).and_then(|name| Some(name.strip_suffix(".json")?.to_owned()))
        {
            defaults.push((name, json(&path)?));
        }
    }
    let found = folders::find(&folder);
    let files = lm_studio::Files { settings: &read, defaults: &defaults, found: &found };
    Ok(lm_studio::plan(&files, &folder, &searched, recommended))
}

fn omlx(base: &Path, home: Option<&Path>) -> Result<Plan, ImportError> {
    let (settings, models) = (json(&base.join("settings.json"))?, json(&base.join("model_settings.json"))?);
    let mut folders = omlx::folders(&settings, base, home);
    folders.retain(|folder| folder.is_dir());
    let found: Vec<Found> = folders.iter().map(|folder| folders::find(folder)).collect();
    let files = omlx::Files { settings: &settings, models: &models, found: &found };
    Ok(omlx::plan(&files, &folders))
}

/// Ollama's models: `manifests/HOST/NAMESPACE/MODEL/TAG`, and blobs by digest.
fn installed(folder: &Path) -> Vec<ollama::Installed> {
    let root = folder.join("manifests");
    let mut all = Vec::new();
    for path in files(&root) {
        let Some(name) = below(&root, &path) else { continue };
        let parts: Vec<&str> = name.split('/').collect();
        let name = match parts[..] {
            [_, "library", model, tag] => format!("{model}:{tag}"),
            [_, namespace, model, tag] => format!("{namespace}/{model}:{tag}"),
            _ => continue,
        };
        // A manifest that cannot be read belongs to no model that runs.
        let Ok(manifest) = json(&path) else { continue };
        let parameters = ollama::parameters_digest(&manifest)
            .map(|digest| folder.join("blobs").join(digest.replace(':', "-")))
            .and_then(|path| json(&path).ok());
        all.push(ollama::Installed { name, manifest, parameters: parameters.unwrap_or_default() });
    }
    all
}

/// A file in JSON. Null without one.
fn json(path: &Path) -> Result<Value, ImportError> {
    let Some(text) = read_optional(path)? else { return Ok(Value::Null) };
    let problem = |error: serde_json::Error| ImportError::Format {
        path: path.to_owned(),
        problem: format!("line {}: it is no JSON", error.line()),
    };
    serde_json::from_str(&text).map_err(problem)
}

/// All files below a folder, sorted.
fn files(root: &Path) -> Vec<PathBuf> {
    fn visit(folder: &Path, depth: usize, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok) {
            let path = entry.path();
            if path.is_file() {
                found.push(path);
            } else if depth > 1 && path.is_dir() {
                visit(&path, depth - 1, found);
            }
        }
    }
    let mut found = Vec::new();
    visit(root, DEPTH, &mut found);
    found.sort();
    found
}

/// A path below a folder, with slashes.
fn below(root: &Path, path: &Path) -> Option<String> {
    path.strip_prefix(root).ok()?.to_str().map(str::to_owned)
}
