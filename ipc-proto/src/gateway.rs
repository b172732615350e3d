//! The gateway's settings.
//!
//! The command line resolves them, and each gateway receives them at its start as one JSON document. The supervisor forwards
//! the document unread. A new setting is a field of [`GatewayConfig`], with its default and its check. The field's name is
//! also its key in `config.toml` and, in capitals behind `MLXD_`, its environment variable.

mod backends;
mod images;
mod judge;
mod master_key;
mod otlp;
mod prices;
mod providers;
mod roles;
mod routes;
mod text;

pub use backends::{Backends, MODEL, ManagedBackend, PORT, Preset, short_model};
pub use images::{ImageSettings, ImageUrls};
pub use judge::JudgeSettings;
pub use master_key::MasterKey;
pub use otlp::OtlpHeaders;
pub use prices::{Price, PricedTokens, Prices, Rate};
pub use providers::{
    Dollars, Provider, ProviderHeaders, ProviderKind, ProviderLimits, ProviderModel, Providers,
};
pub use roles::{ROLE_PREFIX, Role, Roles};
pub use routes::{
    LocalCondition, LocalState, NamePattern, NameRegex, References, Route, RouteFault, Routes, Share,
    Similar, TimeRange, TokenRange, minute_of,
};
use secrecy::{ExposeSecret, SecretString};
use serde::de::{Deserialize, Deserializer, Error};
use serde::ser::{Serialize, Serializer};

/// The file in the home folder that says that there are API keys or a password in the database. It exists before the first one does.
pub const KEYS_REQUIRED: &str = "keys-required";

/// The folder in the run folder in which gateways keep images for workers. Those of a gateway that was killed stay behind.
pub const IMAGES: &str = "images";

/// All settings of the gateway. `docs/src/configuration.md` documents each for users.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GatewayConfig {
    /// Times that a request may move to another worker after its own was lost.
    pub recoveries: u32,
    /// Seconds that a replaced gateway has to finish its requests.
    pub drain_seconds: u32,
    /// Seconds after which a connection without a complete request head ends.
    #[serde(deserialize_with = "within::<1, 86_400, _>")]
    pub idle_connection_seconds: u32,
    /// Seconds in which each further part of a request's body must come.
    #[serde(deserialize_with = "within::<1, 86_400, _>")]
    pub body_seconds: u32,
    /// Days after which stored responses are deleted.
    #[serde(deserialize_with = "within::<1, 36_500, _>")]
    pub response_days: u32,
    /// Days after which the request log forgets a request.
    #[serde(deserialize_with = "within::<31, 36_500, _>")]
    pub request_days: u32,
    /// The latest requests that the request log keeps, besides those of the current month.
    #[serde(deserialize_with = "within::<1000, 100_000_000, _>")]
    pub request_rows: u32,
    /// Days after which stored prompts and outputs of requests are deleted.
    #[serde(deserialize_with = "within::<1, 36_500, _>")]
    pub content_days: u32,
    /// Origins of web pages that may read answers.
    pub cors_origins: CorsOrigins,
    /// Names besides `localhost` under which clients without a key may address the server.
    pub allowed_hosts: AllowedHosts,
    /// Keys that clients must present; without any, clients need none.
    pub api_keys: ApiKeys,
    /// Whether requests need a key or a session even if there is none yet. Always so where other machines can connect.
    pub require_login: bool,
    /// Days after which an unused session of the web UI ends.
    #[serde(deserialize_with = "within::<1, 3650, _>")]
    pub session_idle_days: u32,
    /// Days after which every session of the web UI ends.
    #[serde(deserialize_with = "within::<1, 3650, _>")]
    pub session_days: u32,
    /// Whether a request for a model of the hub that is not here begins its download.
    pub auto_download: bool,
    /// The key that seals the keys of providers in the database; without it, it is in a file of the home folder.
    pub master_key: Option<MasterKey>,
    /// A program and its arguments that write this key, if it is not given: those of a keychain, for example.
    pub master_key_command: Vec<String>,
    /// The address that traces and metrics of requests go to by OTLP over HTTP, before `/v1/traces`; none by default.
    #[serde(deserialize_with = "address")]
    pub otlp_endpoint: Option<String>,
    /// Whether warnings and errors of the log go there too.
    pub otlp_logs: bool,
    /// The name of the service in them.
    pub otlp_service: String,
    /// The headers that go with them.
    pub otlp_headers: Option<OtlpHeaders>,
    /// Servers elsewhere that answer for models of theirs.
    pub providers: Providers,
    /// Programs of this machine that the supervisor starts, which answer for models of theirs.
    pub backends: Backends,
    /// The models that answer for further names.
    pub routes: Routes,
    /// Names for the models that are good at something.
    pub roles: Roles,
    /// The models of this machine that judge for conditions of routes.
    pub judge: JudgeSettings,
    /// What the server does with images.
    pub images: ImageSettings,
}

/// A problem between several settings.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{setting}: {problem}")]
pub struct ConfigFault {
    /// The setting to blame.
    pub setting: &'static str,
    /// The problem.
    pub problem: String,
}

impl GatewayConfig {
    /// The settings that routes refer to.
    pub fn references(&self) -> References<'_> {
        let Self { roles, judge, providers, backends, .. } = self;
        References { roles, judge, providers, backends }
    }

    /// Checks settings that refer to others.
    ///
    /// # Errors
    /// The first wrong one.
    pub fn check(&self) -> Result<(), ConfigFault> {
        let references = self.references();
        references.check_judge().map_err(|problem| ConfigFault { setting: "judge", problem })?;
        let fault = |fault: RouteFault| ConfigFault { setting: "routes", problem: fault.to_string() };
        self.routes.check_references(&references, 0).map_err(fault)
    }
}

impl Default for GatewayConfig {
    fn default() -> Self {
        Self {
            recoveries: 2,
            drain_seconds: 600,
            idle_connection_seconds: 120,
            body_seconds: 30,
            response_days: 30,
            request_days: 365,
            request_rows: 1_000_000,
            content_days: 7,
            cors_origins: CorsOrigins::default(),
            allowed_hosts: AllowedHosts::default(),
            api_keys: ApiKeys::default(),
            require_login: false,
            session_idle_days: 7,
            session_days: 30,
            auto_download: false,
            master_key: None,
            master_key_command: Vec::new(),
            otlp_endpoint: None,
            otlp_logs: true,
            otlp_service: "mlxd".into(),
            otlp_headers: None,
            providers: Providers::default(),
            backends: Backends::default(),
            routes: Routes::default(),
            roles: Roles::default(),
            judge: JudgeSettings::default(),
            images: ImageSettings::default(),
        }
    }
}

/// An address of HTTP.
fn address<'de, D: Deserializer<'de>>(source: D) -> Result<Option<String>, D::Error> {
    let Some(url) = Option::<String>::deserialize(source)? else { return Ok(None) };
    check_address(&url).map_err(D::Error::custom)?;
    Ok(Some(url))
}

/// Checks that a text is an address of HTTP without user, query and fragment.
///
/// # Errors
/// The problem.
pub fn check_address(url: &str) -> Result<(), String> {
    if text::is_address(url) {
        Ok(())
    } else {
        Err(format!("\"{url}\" is no address such as http://localhost:4318"))
    }
}

/// A number from `MIN` to `MAX`.
fn within<'de, const MIN: u32, const MAX: u32, D: Deserializer<'de>>(source: D) -> Result<u32, D::Error> {
    let number = u32::deserialize(source)?;
    if (MIN..=MAX).contains(&number) {
        Ok(number)
    } else {
        Err(D::Error::custom(format!("must lie between {MIN} and {MAX}")))
    }
}

/// The entry of [`CorsOrigins::Only`] for pages of this machine, on any port.
pub const LOCALHOST: &str = "localhost";

/// Origins of web pages that may read answers.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "Vec<String>", into = "Vec<String>")]
pub enum CorsOrigins {
    /// Every origin, written `*`.
    Any,
    /// These, in visible ASCII, such as `https://chat.example`. [`LOCALHOST`] stands for this machine with any port.
    Only(Vec<String>),
}

impl Default for CorsOrigins {
    fn default() -> Self {
        Self::Only(Vec::new())
    }
}

impl TryFrom<Vec<String>> for CorsOrigins {
    type Error = String;

    fn try_from(entries: Vec<String>) -> Result<Self, String> {
        let trimmed = entries.iter().map(|entry| entry.trim().to_owned());
        let origins: Vec<String> = trimmed.filter(|entry| !entry.is_empty()).collect();
        if origins == ["*"] {
            return Ok(Self::Any);
        }
        match origins.iter().find(|entry| *entry != LOCALHOST && !is_origin(entry)) {
            Some(wrong) => {
                Err(format!("\"{wrong}\" is no origin, such as https://chat.example, and not localhost"))
            }
            None => Ok(Self::Only(origins)),
        }
    }
}

fn is_origin(entry: &str) -> bool {
    let host = entry.split_once("://").map_or("", |(_, host)| host);
    !host.is_empty()
        && !host.contains(['/', '*', '?', '#'])
        && entry.bytes().all(|byte| byte.is_ascii_graphic())
}

impl From<CorsOrigins> for Vec<String> {
    fn from(origins: CorsOrigins) -> Self {
        match origins {
            CorsOrigins::Any => vec!["*".into()],
            CorsOrigins::Only(origins) => origins,
        }
    }
}

/// Names of this server, in lower case and without a port, such as `host.docker.internal`.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "Vec<String>", into = "Vec<String>")]
pub struct AllowedHosts(Vec<String>);

impl AllowedHosts {
    /// Whether `name` is one of them. Case does not matter.
    pub fn includes(&self, name: &str) -> bool {
        self.0.iter().any(|host| host.eq_ignore_ascii_case(name))
    }
}

impl TryFrom<Vec<String>> for AllowedHosts {
    type Error = String;

    fn try_from(entries: Vec<String>) -> Result<Self, String> {
        let lower = entries.iter().map(|entry| entry.trim().to_ascii_lowercase());
        let hosts: Vec<String> = lower.filter(|entry| !entry.is_empty()).collect();
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        match hosts.iter().find(|host| !host.chars().all(fits)) {
            Some(wrong) => {
                Err(format!("\"{wrong}\" is no name without a port, such as host.docker.internal"))
            }
            None => Ok(Self(hosts)),
        }
    }
}

impl From<AllowedHosts> for Vec<String> {
    fn from(hosts: AllowedHosts) -> Self {
        hosts.0
    }
}

/// Keys that open the API, none of them empty. `Debug` redacts them.
#[derive(Debug, Clone, Default)]
pub struct ApiKeys(Vec<SecretString>);

impl ApiKeys {
    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each key in clear text.
    pub fn expose(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(SecretString::expose_secret)
    }
}

impl<T: AsRef<str>> FromIterator<T> for ApiKeys {
    /// Drops white space around keys, and empty ones.
    fn from_iter<I: IntoIterator<Item = T>>(keys: I) -> Self {
        let mut secrets = Vec::new();
        for key in keys {
            let key = key.as_ref().trim();
            if !key.is_empty() {
                secrets.push(SecretString::from(key));
            }
        }
        Self(secrets)
    }
}

impl Serialize for ApiKeys {
    /// In clear text, for the document.
    fn serialize<S: Serializer>(&self, target: S) -> Result<S::Ok, S::Error> {
        target.collect_seq(self.expose())
    }
}

impl<'de> Deserialize<'de> for ApiKeys {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        // The usual message would quote the value.
        let keys = Vec::<SecretString>::deserialize(source)
            .map_err(|_| D::Error::custom("must be a list of texts"))?;
        Ok(keys.iter().map(SecretString::expose_secret).collect())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Result<GatewayConfig, String> {
        serde_json::from_str(text).map_err(|error| error.to_string())
    }

    fn document(config: &GatewayConfig) -> String {
        serde_json::to_string(config).unwrap()
    }

    fn origins(entries: &[&str]) -> Result<CorsOrigins, String> {
        entries.iter().map(|entry| (*entry).to_owned()).collect::<Vec<_>>().try_into()
    }

    #[test]
    fn empty_document_gives_the_defaults() {
        assert_eq!(document(&parse("{}").unwrap()), document(&GatewayConfig::default()));
    }

    #[test]
    fn unknown_key_is_refused_by_name() {
        assert!(parse(r#"{"recoverys": 3}"#).unwrap_err().contains("recoverys"));
    }

    #[test]
    fn response_days_out_of_range_are_refused_with_the_bounds() {
        for days in [0, 36_501] {
            let problem = parse(&format!(r#"{{"response_days": {days}}}"#)).unwrap_err();
            assert!(problem.contains("between 1 and 36500"), "{problem}");
        }
    }

    #[test]
    fn only_origins_are_accepted() {
        assert_eq!(origins(&["*"]), Ok(CorsOrigins::Any));
        assert_eq!(origins(&["", " "]), Ok(CorsOrigins::default()));
        assert_eq!(origins(&[LOCALHOST]), Ok(CorsOrigins::Only(vec![LOCALHOST.into()])));
        let two = ["http://localhost:3000", "https://b.example"];
        assert_eq!(
            origins(&[" http://localhost:3000 ", two[1], ""]),
            Ok(CorsOrigins::Only(two.map(String::from).into()))
        );
        for wrong in [
            "a.example",
            "https://",
            "https://a.example/x",
            "https://*.example",
            "https://a b",
            "https://ä.example",
            "localhost:3000",
        ] {
            assert!(origins(&[wrong]).unwrap_err().contains(wrong), "{wrong}");
        }
        assert!(origins(&["*", "https://a.example"]).is_err());
    }

    #[test]
    fn hosts_are_names_without_ports() {
        let hosts = |entries: &[&str]| {
            AllowedHosts::try_from(entries.iter().map(|entry| (*entry).to_owned()).collect::<Vec<_>>())
        };
        let two = hosts(&[" Host.Docker.Internal ", "", "my-mac.local"]).unwrap();
        assert!(two.includes("host.docker.internal") && two.includes("MY-MAC.local"));
        assert!(!two.includes("local") && !two.includes(""));
        for wrong in ["a:1", "http://a", "*", "*.local", "a b"] {
            assert!(hosts(&[wrong]).unwrap_err().contains(wrong), "{wrong}");
        }
    }

    #[test]
    fn empty_keys_are_dropped() {
        let config = parse(r#"{"api_keys": ["", " ", " sk-one "]}"#).unwrap();
        assert!(config.api_keys.expose().eq(["sk-one"]));
        assert!(parse(r#"{"api_keys": [" "]}"#).unwrap().api_keys.is_empty());
    }

    #[test]
    fn keys_are_not_printed() {
        let config = parse(r#"{"api_keys": ["sk-hidden"]}"#).unwrap();
        assert!(!format!("{config:?}").contains("hidden"));
        for wrong in [r#"{"api_keys": "sk-hidden"}"#, r#"{"api_keys": ["sk-hidden", 3]}"#] {
            let problem = parse(wrong).unwrap_err();
            assert!(problem.contains("list of texts") && !problem.contains("hidden"), "{problem}");
        }
    }

    proptest! {
        #[test]
        fn document_restores_what_was_written(
            numbers in (any::<u32>(), any::<u32>(), 1u32..=36_500, 1u32..=86_400, 1u32..=60_000),
            log in (31u32..=36_500, 1000u32..=100_000_000),
            otlp in proptest::option::of("[a-z]{1,9}=[a-z0-9]{0,9}"),
            names in proptest::collection::vec("[a-z]{1,9}(\\.local)?", 0..4),
            hosts in proptest::collection::vec("https?://[a-z]{1,9}(:[0-9]{1,4})?", 0..4),
            any_origin in any::<bool>(),
            keys in proptest::collection::vec("[!-~]{1,20}", 0..4),
            master_key in proptest::option::of(any::<[u8; 32]>()),
        ) {
            let config = GatewayConfig {
                recoveries: numbers.0,
                drain_seconds: numbers.1,
                response_days: numbers.2,
                idle_connection_seconds: numbers.3,
                body_seconds: numbers.4,
                request_days: log.0,
                request_rows: log.1,
                content_days: numbers.2,
                otlp_endpoint: otlp.as_ref().map(|_| "http://localhost:4318".into()),
                otlp_logs: any_origin,
                otlp_service: "a service".into(),
                otlp_headers: otlp.map(|text| OtlpHeaders::parse(&text).unwrap()),
                cors_origins: if any_origin { CorsOrigins::Any } else { CorsOrigins::Only(hosts) },
                allowed_hosts: names.try_into().unwrap(),
                api_keys: keys.iter().collect(),
                require_login: any_origin,
                session_idle_days: numbers.2 % 3650 + 1,
                session_days: 3650 - numbers.2 % 3650,
                auto_download: any_origin,
                master_key: master_key.map(MasterKey::new),
                master_key_command: keys.clone(),
                providers: Providers::default(),
                backends: Backends::default(),
                routes: Routes::default(),
                roles: serde_json::from_str(r#"{"fast": ["m", "far/n"]}"#).unwrap(),
                judge: JudgeSettings { model: Some("m".into()), timeout_ms: numbers.4, ..JudgeSettings::default() },
                images: ImageSettings { urls: if any_origin { ImageUrls::Public } else { ImageUrls::Hosts(vec!["a.example".into()]) } },
            };
            let parsed = parse(&document(&config)).unwrap();
            prop_assert_eq!(document(&parsed), document(&config));
        }
    }
}
