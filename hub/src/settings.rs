//! The settings of the hub, from the variables that huggingface_hub reads, and the names of models.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use model_folder::hub_cache;
use reqwest::Url;
use secrecy::SecretString;

use crate::error::HubError;

const DEFAULT_ENDPOINT: &str = "https://huggingface.co";
/// The revision if none is named.
const MAIN: &str = "main";

/// The variables among those of [`Settings`] that children of the server do not inherit: their names end as those of secrets do.
pub const PRIVATE_VARIABLES: [&str; 3] =
    ["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_HUB_DISABLE_IMPLICIT_TOKEN"];

/// The hub's address, the token, and the folder of the cache.
#[derive(Debug, Clone)]
pub struct Settings {
    /// HF_ENDPOINT: the hub or a mirror.
    pub endpoint: Url,
    /// HF_TOKEN, or the file that HF_TOKEN_PATH names, or the file `token` in HF_HOME.
    pub token: Option<SecretString>,
    /// HF_HUB_OFFLINE: nothing is asked of the hub.
    pub offline: bool,
    /// The cache's folder.
    pub cache: PathBuf,
}

impl Settings {
    /// Reads the variables, and the token's file.
    ///
    /// # Errors
    /// HF_ENDPOINT is no URL, or no variable says where the cache is.
    pub fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Result<Self, HubError> {
        let path = |name: &str| variable(name).map(PathBuf::from);
        let endpoint = variable("HF_ENDPOINT").unwrap_or_else(|| DEFAULT_ENDPOINT.to_owned());
        let url = Url::parse(endpoint.trim_end_matches('/')).ok().filter(|url| url.has_host());
        let endpoint = url.ok_or(HubError::Endpoint(endpoint))?;
        let cache = hub_cache::location(path).ok_or(HubError::NoCache)?;
        let is_set = |name: &str| variable(name).is_some_and(|value| is_true(&value));
        let token = if is_set("HF_HUB_DISABLE_IMPLICIT_TOKEN") { None } else { token(&variable) };
        let offline = is_set("HF_HUB_OFFLINE") || is_set("TRANSFORMERS_OFFLINE");
        Ok(Self { endpoint, token, offline, cache })
    }
}

fn token(variable: impl Fn(&str) -> Option<String>) -> Option<SecretString> {
    let path = |name: &str| variable(name).map(PathBuf::from);
    let own = variable("HF_TOKEN").or_else(|| variable("HUGGING_FACE_HUB_TOKEN"));
    let file = || path("HF_TOKEN_PATH").or_else(|| Some(hub_cache::settings_folder(path)?.join("token")));
    let text = own.or_else(|| std::fs::read_to_string(file()?).ok())?;
    // A file or a variable may end with a newline.
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned().into())
}

/// huggingface_hub's rule.
fn is_true(value: &str) -> bool {
    ["1", "on", "yes", "true"].contains(&value.to_lowercase().as_str())
}

/// A model of the hub, and one of its revisions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelName {
    /// `organisation/name`, or a name alone.
    pub id: String,
    /// A branch, a tag or a commit.
    pub revision: String,
}

impl ModelName {
    /// Whether the revision is a commit, which never changes.
    pub fn is_pinned(&self) -> bool {
        is_commit(&self.revision)
    }
}

/// Whether the text is a commit's name.
pub(crate) fn is_commit(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

impl FromStr for ModelName {
    type Err = HubError;

    /// Reads `organisation/name` or `organisation/name@revision`, or the address of the model's page.
    fn from_str(text: &str) -> Result<Self, HubError> {
        let name = text.strip_prefix(DEFAULT_ENDPOINT).map_or(text, |path| path.trim_matches('/'));
        let (id, revision) = name.split_once('@').unwrap_or((name, MAIN));
        // Both become parts of paths and URLs.
        let is_plain = |part: &str| {
            let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
            !part.is_empty() && !part.starts_with('.') && !part.contains("..") && part.bytes().all(allowed)
        };
        let is_valid = id.split('/').count() <= 2
            && id.split('/').all(|part| is_plain(part) && !part.contains("--"))
            && revision.split('/').all(is_plain);
        let parsed = Self { id: id.to_owned(), revision: revision.to_owned() };
        if is_valid { Ok(parsed) } else { Err(HubError::Name(text.to_owned())) }
    }
}

impl fmt::Display for ModelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.revision.as_str() {
            MAIN => write!(f, "{}", self.id),
            revision => write!(f, "{}@{revision}", self.id),
        }
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    fn settings(set: &[(&str, &str)]) -> Result<Settings, HubError> {
        Settings::from_variables(|name| {
            set.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn token_is_the_variables_then_the_named_files_then_the_homes() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().to_str().unwrap();
        let named = folder.path().join("named");
        std::fs::write(folder.path().join("token"), "of-home\n").unwrap();
        std::fs::write(&named, "of-file\n").unwrap();
        let token = |set: &[(&str, &str)]| {
            let set = [&[("HF_HOME", home)], set].concat();
            settings(&set).unwrap().token.map(|token| token.expose_secret().to_owned())
        };
        let file = ("HF_TOKEN_PATH", named.to_str().unwrap());
        assert_eq!(token(&[]).as_deref(), Some("of-home"));
        assert_eq!(token(&[file]).as_deref(), Some("of-file"));
        assert_eq!(token(&[file, ("HF_TOKEN", " own ")]).as_deref(), Some("own"));
        assert_eq!(token(&[file, ("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")]), None);
        assert_eq!(token(&[("HF_TOKEN_PATH", "/nowhere")]), None);
    }

    #[test]
    fn endpoint_and_offline_are_read() {
        let plain = settings(&[("HOME", "/h")]).unwrap();
        assert_eq!((plain.endpoint.as_str(), plain.offline), ("https://huggingface.co/", false));
        let set = [("HOME", "/h"), ("HF_ENDPOINT", "http://127.0.0.1:1/"), ("HF_HUB_OFFLINE", "YES")];
        let mirror = settings(&set).unwrap();
        assert_eq!((mirror.endpoint.as_str(), mirror.offline), ("http://127.0.0.1:1/", true));
        let wrong = settings(&[("HOME", "/h"), ("HF_ENDPOINT", "mirror")]).unwrap_err().to_string();
        assert!(wrong.contains("HF_ENDPOINT"), "{wrong}");
        assert!(settings(&[]).unwrap_err().to_string().contains("HF_HOME"));
    }

    #[test]
    fn names_have_an_optional_revision() {
        let name = |text: &str| text.parse::<ModelName>().map(|name| (name.id, name.revision));
        assert_eq!(name("org/m").unwrap(), ("org/m".into(), "main".into()));
        assert_eq!(name("gpt2@v1.0").unwrap(), ("gpt2".into(), "v1.0".into()));
        assert_eq!(name("org/m@refs/pr/1").unwrap(), ("org/m".into(), "refs/pr/1".into()));
        assert_eq!(name("https://huggingface.co/org/m").unwrap().0, "org/m");
        for wrong in ["", "org/", "/m", "a/b/c", "../m", "org/..", "org/a--b", "org/m@", "org/m@../x", "a b"]
        {
            assert!(name(wrong).unwrap_err().to_string().contains("organisation/name"), "{wrong}");
        }
    }
}
