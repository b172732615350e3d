//! Where Hugging Face's cache lies, and how it names the folders of models.
//!
//! The layout is that of huggingface_hub (<https://huggingface.co/docs/huggingface_hub/guides/manage-cache>).

use std::path::PathBuf;

/// The prefix of a model's folder in the cache.
const MODELS: &str = "models--";

/// The cache's folder: HF_HUB_CACHE, HF_HOME/hub, XDG_CACHE_HOME/huggingface/hub, or ~/.cache/huggingface/hub.
///
/// `None` if none of these variables and no HOME is set.
pub fn location(variable: impl Fn(&str) -> Option<PathBuf>) -> Option<PathBuf> {
    variable("HF_HUB_CACHE").or_else(|| Some(settings_folder(variable)?.join("hub")))
}

/// The folder of Hugging Face's programs, with the cache and the token: HF_HOME, XDG_CACHE_HOME/huggingface, or
/// ~/.cache/huggingface.
pub fn settings_folder(variable: impl Fn(&str) -> Option<PathBuf>) -> Option<PathBuf> {
    let cache = || variable("XDG_CACHE_HOME").or_else(|| Some(variable("HOME")?.join(".cache")));
    variable("HF_HOME").or_else(|| Some(cache()?.join("huggingface")))
}

/// The name of a model's folder in the cache. `id` is `organisation/name`, or a name alone.
pub fn folder_name(id: &str) -> String {
    format!("{MODELS}{}", id.replace('/', "--"))
}

/// The model's id by the name of its folder. `None` for folders that hold no model.
pub fn model_id(folder_name: &str) -> Option<String> {
    Some(folder_name.strip_prefix(MODELS)?.replace("--", "/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cache_is_where_the_first_set_variable_says() {
        let at = |set: &[(&str, &str)]| {
            location(|name| set.iter().find(|(key, _)| *key == name).map(|(_, value)| PathBuf::from(value)))
        };
        let home = ("HOME", "/h");
        assert_eq!(at(&[home]), Some("/h/.cache/huggingface/hub".into()));
        assert_eq!(at(&[home, ("XDG_CACHE_HOME", "/x")]), Some("/x/huggingface/hub".into()));
        assert_eq!(at(&[home, ("XDG_CACHE_HOME", "/x"), ("HF_HOME", "/f")]), Some("/f/hub".into()));
        assert_eq!(at(&[home, ("HF_HOME", "/f"), ("HF_HUB_CACHE", "/c")]), Some("/c".into()));
        assert_eq!(at(&[]), None);
    }

    #[test]
    fn folder_names_and_ids_correspond() {
        assert_eq!(folder_name("org/a-model"), "models--org--a-model");
        assert_eq!(model_id("models--org--a-model").as_deref(), Some("org/a-model"));
        assert_eq!(model_id("datasets--org--a"), None);
    }
}
