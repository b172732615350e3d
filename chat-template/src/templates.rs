//! The chat templates of a model folder, as Transformers 5 finds them.
//!
//! In order of precedence: `chat_template.jinja` and `additional_chat_templates/NAME.jinja`; the processor's `chat_template.json`;
//! `chat_template` of `tokenizer_config.json`, one text or a list of named ones. The template `tool_use` serves requests with tools
//! and `rag` serves requests with documents; `default` serves all others.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use ipc_proto::generate::{ChatPrompt, ToolChoice};
use model_folder::files;
use serde_json::Value;

use crate::template::ChatTemplate;

/// Larger template files are not read: published ones have at most some 30 KiB.
const MAX_BYTES: u64 = 4 << 20;
/// Larger JSON files are not read. tokenizer_config.json may list every token of a large vocabulary.
const MAX_JSON_BYTES: u64 = 64 << 20;
const DEFAULT: &str = "default";

/// Where a template was found, relative to the model folder.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// A file that holds nothing else.
    File(String),
    /// The key `chat_template` of a JSON file.
    Json(String),
}

impl Source {
    /// The file's path in the model folder.
    pub fn path(&self) -> &str {
        match self {
            Self::File(path) | Self::Json(path) => path,
        }
    }
}

/// A template as it stands in a model folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateFile {
    /// `default`, `tool_use`, `rag` or any other name.
    pub name: String,
    /// Its Jinja text.
    pub text: String,
    /// The file that contains it.
    pub source: Source,
}

/// The kind of request that a template is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// A conversation.
    Chat,
    /// A conversation with tools.
    Tools,
    /// A conversation with documents.
    Documents,
}

impl Purpose {
    fn from_prompt(prompt: &ChatPrompt) -> Self {
        let documents = || {
            let variables: Value = serde_json::from_str(prompt.template_kwargs.as_deref()?).ok()?;
            Some(!variables.get("documents")?.as_array()?.is_empty())
        };
        if !prompt.tools.is_empty() && prompt.tool_choice != ToolChoice::None {
            Self::Tools
        } else if documents() == Some(true) {
            Self::Documents
        } else {
            Self::Chat
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Chat => DEFAULT,
            Self::Tools => "tool_use",
            Self::Documents => "rag",
        }
    }
}

/// A model's templates, compiled.
#[derive(Debug, Default)]
pub struct Templates(Vec<(TemplateFile, Result<ChatTemplate, String>)>);

impl Templates {
    /// Compiles the templates of a folder. An invalid template is kept with its error, which chats then return.
    ///
    /// # Errors
    /// A sentence that names a file that cannot be read.
    pub fn read(folder: &Path, tokens: &BTreeMap<String, String>) -> Result<Self, String> {
        let files = read_template_files(folder)?;
        let compile = |file: TemplateFile| {
            let template = ChatTemplate::new(&file.text, tokens.clone());
            let template = template.map_err(|error| format!("{}: {error}", file.source.path()));
            (file, template)
        };
        Ok(Self(files.into_iter().map(compile).collect()))
    }

    /// The template for a request.
    ///
    /// # Errors
    /// A sentence: the model has no template for it, or one that is not valid.
    pub fn choose(&self, prompt: &ChatPrompt) -> Result<(&TemplateFile, &ChatTemplate), String> {
        let Some((file, template)) = self.entry(Purpose::from_prompt(prompt)) else {
            if self.0.is_empty() {
                return Err("this model has no chat template: use plain completions".to_owned());
            }
            return Err(self.missing_default());
        };
        let template = template.as_ref().map_err(|error| {
            format!("this model's chat template cannot be used, plain completions can ({error})")
        })?;
        Ok((file, template))
    }

    /// The text of the template for a purpose, if any.
    pub fn text(&self, purpose: Purpose) -> Option<&str> {
        self.entry(purpose).map(|(file, _)| &*file.text)
    }

    /// Why plain chats fail: their template is invalid, or only chats with tools or documents have one.
    pub fn problem(&self) -> Option<String> {
        match self.entry(Purpose::Chat) {
            Some((_, template)) => template.as_ref().err().cloned(),
            None => (!self.0.is_empty()).then(|| self.missing_default()),
        }
    }

    fn missing_default(&self) -> String {
        let names: Vec<&str> = self.0.iter().map(|(file, _)| &*file.name).collect();
        format!("this model has no default chat template, only {}", names.join(", "))
    }

    /// Whether chats of some purpose can be rendered.
    pub fn can_chat(&self) -> bool {
        let purposes = [Purpose::Chat, Purpose::Tools, Purpose::Documents];
        purposes.iter().any(|purpose| self.entry(*purpose).is_some_and(|(_, template)| template.is_ok()))
    }

    /// All template texts.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(file, _)| &*file.text)
    }

    fn entry(&self, purpose: Purpose) -> Option<&(TemplateFile, Result<ChatTemplate, String>)> {
        let named = |name: &str| self.0.iter().find(|(file, _)| file.name == name);
        named(purpose.name()).or_else(|| named(DEFAULT))
    }
}

/// The templates of a model folder, not compiled.
///
/// # Errors
/// A sentence that names a file that cannot be read.
pub fn read_template_files(folder: &Path) -> Result<Vec<TemplateFile>, String> {
    let mut files = Vec::new();
    if let Some(text) = read(folder, "chat_template.jinja")? {
        files.push(file(DEFAULT, text, Source::File("chat_template.jinja".into())));
    }
    for name in additional(folder) {
        let path = format!("additional_chat_templates/{name}.jinja");
        if let Some(text) = read(folder, &path)? {
            files.push(file(&name, text, Source::File(path)));
        }
    }
    for path in ["chat_template.json", "tokenizer_config.json"] {
        if !files.is_empty() {
            break;
        }
        files = in_json(folder, path)?;
    }
    Ok(files)
}

fn file(name: &str, text: String, source: Source) -> TemplateFile {
    TemplateFile { name: name.to_owned(), text, source }
}

/// Names of the files in `additional_chat_templates/`, sorted.
fn additional(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder.join("additional_chat_templates"));
    let names = entries.into_iter().flatten().filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut names: Vec<String> = names
        .filter(|name| !name.starts_with('.'))
        .filter_map(|name| Some(name.strip_suffix(".jinja")?.to_owned()))
        .collect();
    names.sort();
    names
}

/// The key `chat_template` of a JSON file: a text, or a list of named texts.
fn in_json(folder: &Path, path: &str) -> Result<Vec<TemplateFile>, String> {
    let Some(text) = read(folder, path)? else { return Ok(Vec::new()) };
    let json: Value =
        model_folder::json::parse(&text).map_err(|e| format!("{}: {e}", folder.join(path).display()))?;
    let source = || Source::Json(path.to_owned());
    Ok(match json.get("chat_template") {
        Some(Value::String(text)) => vec![file(DEFAULT, text.clone(), source())],
        Some(Value::Array(list)) => list
            .iter()
            .filter_map(|entry| {
                let (name, text) = (entry.get("name")?.as_str()?, entry.get("template")?.as_str()?);
                Some(file(name, text.to_owned(), source()))
            })
            .collect(),
        Some(Value::Object(named)) => named
            .iter()
            .filter_map(|(name, text)| Some(file(name, text.as_str()?.to_owned(), source())))
            .collect(),
        _ => Vec::new(),
    })
}

/// A file's text; `None` if the file does not exist.
fn read(folder: &Path, path: &str) -> Result<Option<String>, String> {
    let path = folder.join(path);
    let problem = |e: std::io::Error| format!("{}: {e}", path.display());
    let json = path.extension().is_some_and(|extension| extension == "json");
    let text = match files::read_text(&path, if json { MAX_JSON_BYTES } else { MAX_BYTES }) {
        Ok(text) => text,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(problem(e)),
    };
    Ok(Some(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text)))
}

#[cfg(test)]
mod tests;
