//! Reads the texts in a model folder that `/api/show` returns.

use std::path::Path;

use model_folder::files;
use serde_json::Value;

/// Keys of `generation_config.json`, with Ollama's names.
const PARAMETERS: [(&str, &str); 5] = [
    ("temperature", "temperature"),
    ("top_k", "top_k"),
    ("top_p", "top_p"),
    ("min_p", "min_p"),
    ("repetition_penalty", "repeat_penalty"),
];

/// The texts. They are empty if the folder has none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FolderTexts {
    /// The chat template, in Jinja.
    pub template: String,
    /// The sampling that the model's authors recommend, a line for each option.
    pub parameters: String,
}

impl FolderTexts {
    /// Reads the texts. A file that cannot be read counts as missing: other endpoints report its problem.
    pub fn read(folder: &Path) -> Self {
        let templates = chat_template::read_template_files(folder).unwrap_or_default();
        let default = templates.iter().position(|file| file.name == "default").unwrap_or_default();
        let template = templates.into_iter().nth(default).map(|file| file.text).unwrap_or_default();
        let config = files::read(&folder.join("generation_config.json"), files::MAX_TEXT).unwrap_or_default();
        let config: Value = serde_json::from_slice(&config).unwrap_or_default();
        let line = |(key, name): (&str, &str)| {
            let number = config.get(key).filter(|value| value.is_number())?;
            Some(format!("{name} {number}"))
        };
        let parameters: Vec<String> = PARAMETERS.into_iter().filter_map(line).collect();
        Self { template, parameters: parameters.join("\n") }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn texts_are_read_from_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(FolderTexts::read(folder.path()), FolderTexts::default());
        fs::write(folder.path().join("chat_template.jinja"), "{{ messages }}").unwrap();
        let config = r#"{"temperature": 0.6, "top_k": 20, "repetition_penalty": null, "eos_token_id": 2}"#;
        fs::write(folder.path().join("generation_config.json"), config).unwrap();
        let texts = FolderTexts::read(folder.path());
        assert_eq!(texts.template, "{{ messages }}");
        assert_eq!(texts.parameters, "temperature 0.6\ntop_k 20");
    }
}
