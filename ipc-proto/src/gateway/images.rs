//! Settings of images in requests.

use serde::de::{Deserialize, Deserializer, Error};
use serde::ser::{Serialize, Serializer};

/// What the server does with images.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ImageSettings {
    /// The addresses from which images are fetched.
    pub urls: ImageUrls,
}

/// The addresses from which images are fetched: in text form `off`, `public`, or a list of hosts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ImageUrls {
    /// None.
    Off,
    /// Those of the public internet.
    #[default]
    Public,
    /// Those of these hosts only, wherever they are: names or IP addresses in lower case, with a port where it is not 80 or 443.
    Hosts(Vec<String>),
}

impl ImageUrls {
    /// Whether a list of hosts has this one, with this port. `has_usual_port`: the port is 80 or 443.
    pub fn lists(&self, host: &str, port: u16, has_usual_port: bool) -> bool {
        let Self::Hosts(hosts) = self else { return false };
        let with_port = format!("{host}:{port}");
        hosts.iter().any(|known| *known == with_port || (has_usual_port && known == host))
    }

    fn hosts(entries: &[String]) -> Result<Self, String> {
        let lower = entries.iter().map(|entry| entry.trim().to_ascii_lowercase());
        let hosts: Vec<String> = lower.filter(|entry| !entry.is_empty()).collect();
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '[' | ']');
        match hosts.iter().find(|host| !host.chars().all(fits)) {
            Some(wrong) => Err(format!("\"{wrong}\" is no host, such as images.example or nas.local:8080")),
            None => Ok(Self::Hosts(hosts)),
        }
    }
}

impl Serialize for ImageUrls {
    fn serialize<S: Serializer>(&self, target: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Off => target.serialize_str("off"),
            Self::Public => target.serialize_str("public"),
            Self::Hosts(hosts) => target.collect_seq(hosts),
        }
    }
}

impl<'de> Deserialize<'de> for ImageUrls {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        #[derive(serde::Deserialize)]
        #[serde(untagged, expecting = "must be \"off\", \"public\" or a list of hosts")]
        enum Text {
            One(String),
            List(Vec<String>),
        }
        match Text::deserialize(source)? {
            Text::One(text) if text == "off" => Ok(Self::Off),
            Text::One(text) if text == "public" => Ok(Self::Public),
            Text::One(_) => Err(D::Error::custom("must be \"off\", \"public\" or a list of hosts")),
            Text::List(entries) => Self::hosts(&entries).map_err(D::Error::custom),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<ImageUrls, String> {
        let parsed = serde_json::from_str::<ImageSettings>(text);
        parsed.map(|settings| settings.urls).map_err(|error| error.to_string())
    }

    #[test]
    fn urls_are_a_word_or_hosts() {
        assert_eq!(parse("{}"), Ok(ImageUrls::Public));
        assert_eq!(parse(r#"{"urls": "off"}"#), Ok(ImageUrls::Off));
        let hosts = parse(r#"{"urls": [" NAS.local:8080 ", "images.example", ""]}"#).unwrap();
        assert_eq!(hosts, ImageUrls::Hosts(vec!["nas.local:8080".into(), "images.example".into()]));
        for (text, part) in [
            (r#"{"urls": "all"}"#, "a list of hosts"),
            (r#"{"urls": 3}"#, "a list of hosts"),
            (r#"{"urls": ["http://a"]}"#, "is no host"),
            (r#"{"urls": ["*"]}"#, "is no host"),
            (r#"{"url": "off"}"#, "url"),
        ] {
            assert!(parse(text).unwrap_err().contains(part), "{text}");
        }
    }

    #[test]
    fn host_is_listed_with_its_port() {
        let urls = parse(r#"{"urls": ["nas.local:8080", "images.example", "[::1]:9"]}"#).unwrap();
        assert!(urls.lists("nas.local", 8080, false) && urls.lists("images.example", 443, true));
        assert!(urls.lists("[::1]", 9, false));
        assert!(!urls.lists("nas.local", 80, true) && !urls.lists("images.example", 8080, false));
        assert!(!urls.lists("a.images.example", 443, true));
        assert!(!ImageUrls::Public.lists("images.example", 443, true));
    }
}
