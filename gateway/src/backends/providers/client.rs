//! The HTTP client of one provider.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use backon::{ExponentialBuilder, Retryable};
use hyper::body::Bytes;
use ipc_proto::gateway::{ManagedBackend, Provider, ProviderKind};
use ipc_proto::generate::Priority;
use ipc_proto::supervisor::KeepAlive;
use ipc_proto::{Error, Result};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Response, Url};
use secrecy::ExposeSecret;
use serde_json::Value;

use super::failure::Failure;
use super::guard::{Guard, is_guarded, refusal};
use super::translator::broken;
use crate::fleet::FleetClient;
use crate::inference::course::Course;

mod managed;

use managed::Managed;

/// Limit of asking for a list.
const GET_TIMEOUT: Duration = Duration::from_secs(20);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Retries of a request whose answer has not begun.
const RETRIES: usize = 2;
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// A longer pause than this is left to the client.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// The version of Anthropic's API.
const ANTHROPIC_VERSION: &str = "2023-06-01";

/// A request to a provider.
pub(super) struct Post {
    /// The path below the provider's address.
    pub path: &'static str,
    /// The body, which is JSON.
    pub body: Bytes,
    /// Headers besides those of every request, or instead of them.
    pub headers: HeaderMap,
    /// Its place in the queue, if a program has to be started for it.
    pub priority: Priority,
}

impl Post {
    /// A request with this body.
    pub(super) fn json(path: &'static str, body: &Value) -> Self {
        Self { path, body: body.to_string().into(), headers: HeaderMap::new(), priority: Priority::Normal }
    }
}

/// Sends requests to one provider, over a pool of connections.
pub(super) struct Client {
    name: Arc<str>,
    timeout: Duration,
    /// The time without a byte after which a request ends.
    idle: Option<Duration>,
    server: Server,
}

/// Where the requests go.
enum Server {
    /// A fixed address.
    Fixed(Link),
    /// A program on this machine, which may have to be started.
    Managed(Managed),
}

/// A way to a server.
#[derive(Debug, Clone)]
struct Link {
    url: Arc<str>,
    http: reqwest::Client,
}

impl Client {
    pub(super) fn new(name: &str, provider: &Provider) -> anyhow::Result<Self> {
        let url =
            Url::parse(&provider.url).with_context(|| format!("providers.{name}.url: {}", provider.url))?;
        let address = url.host_str().and_then(|host| host.trim_matches(['[', ']']).parse().ok());
        if !provider.allow_link_local
            && let Some(address) = address.filter(|address| is_guarded(*address))
        {
            anyhow::bail!("providers.{name}.url: {}", refusal(&address.to_string()));
        }
        // Fails if it is installed already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let timeout = Duration::from_secs(provider.timeout_seconds.into());
        let idle = provider.idle_seconds.map(|seconds| Duration::from_secs(seconds.into()));
        let mut http = reqwest::Client::builder();
        if !provider.allow_link_local {
            http = http.dns_resolver(Arc::new(Guard));
        }
        let http = http
            .user_agent(concat!("mlxd/", env!("CARGO_PKG_VERSION")))
            .default_headers(headers(name, provider)?)
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(timeout)
            .read_timeout(idle.unwrap_or(timeout))
            // A redirect could carry prompts and the key to another host.
            .redirect(Policy::none())
            .build()
            .with_context(|| format!("providers.{name}"))?;
        let url = match provider.kind {
            // Its paths begin with the version; many write it into the address too.
            ProviderKind::Anthropic => provider.url.trim_end_matches("/v1"),
            _ => &provider.url,
        };
        Ok(Self { name: name.into(), timeout, idle, server: Server::Fixed(Link { url: url.into(), http }) })
    }

    /// A client of a backend's program.
    pub(super) fn managed(name: &str, backend: &ManagedBackend, fleet: Arc<FleetClient>) -> Self {
        let timeout = Duration::from_secs(backend.timeout_seconds.into());
        let managed = Managed::new(fleet, backend.model_id(name), timeout);
        Self { name: name.into(), timeout, idle: None, server: Server::Managed(managed) }
    }

    /// Sets how long a backend's program stays when it is idle, as the last request asks. Does not wait.
    pub(super) fn keep_alive(&self, keep: Option<KeepAlive>) {
        if let Server::Managed(managed) = &self.server {
            managed.keep_alive(keep.unwrap_or_default());
        }
    }

    fn url(&self) -> &str {
        match &self.server {
            Server::Fixed(link) => &link.url,
            Server::Managed(_) => managed::URL,
        }
    }

    /// The way to the server now.
    async fn link(&self, priority: Priority) -> Result<Link, Failure> {
        match &self.server {
            Server::Fixed(link) => Ok(link.clone()),
            Server::Managed(managed) => managed.link(priority).await,
        }
    }

    /// The provider's name in the settings.
    pub(super) fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Sends a request, and returns the answer once it has begun. Retries failures that may pass.
    ///
    /// # Errors
    /// The provider refuses the request, cannot be reached, or does not answer in time.
    pub(super) async fn stream(&self, post: Post, course: &Course) -> Result<Response> {
        if let Some(content) = course.content() {
            content.set_sent(format!("{}{}", self.url(), post.path), &post.body);
        }
        let pauses =
            ExponentialBuilder::default().with_min_delay(FIRST_PAUSE).with_max_times(RETRIES).with_jitter();
        (|| self.send(&post))
            .retry(pauses)
            .when(|failure| failure.is_passing && failure.pause.is_none_or(|pause| pause <= LONGEST_PAUSE))
            .adjust(|failure, pause| pause.map(|pause| failure.pause.map_or(pause, |asked| asked.max(pause))))
            .notify(|failure, pause| {
                course.ask_again();
                let (provider, cause) = (&*self.name, &failure.error);
                tracing::warn!(provider, %cause, after_ms = pause.as_millis() as u64, "asks a provider again");
            })
            .await
            .map_err(|failure| failure.error)
    }

    /// Sends a request, and returns the JSON of the answer.
    ///
    /// # Errors
    /// As [`Self::stream`], and the answer is no JSON.
    pub(super) async fn call(&self, post: Post, course: &Course) -> Result<Value> {
        let body = self.stream(post, course).await?.bytes().await.map_err(|error| self.lost(&error))?;
        serde_json::from_slice(&body).map_err(|error| broken(&format!("{}: no JSON: {error}", self.name)))
    }

    /// Asks for a JSON document, once.
    ///
    /// # Errors
    /// As [`Self::call`].
    pub(super) async fn get(&self, path: &str) -> Result<Value> {
        let link = self.link(Priority::Normal).await.map_err(|failure| failure.error)?;
        let sent = link.http.get(format!("{}{path}", link.url)).timeout(GET_TIMEOUT).send().await;
        let response = self.accepted(sent).await.map_err(|failure| failure.error)?;
        let body = response.bytes().await.map_err(|error| self.lost(&error))?;
        serde_json::from_slice(&body).map_err(|error| broken(&format!("{}: no JSON: {error}", self.name)))
    }

    async fn send(&self, post: &Post) -> Result<Response, Failure> {
        let link = self.link(post.priority).await?;
        let request = link.http.post(format!("{}{}", link.url, post.path)).headers(post.headers.clone());
        let request = request.header(CONTENT_TYPE, "application/json").body(post.body.clone());
        self.accepted(request.send().await).await
    }

    /// The answer of the provider, if it is a success.
    async fn accepted(&self, sent: reqwest::Result<Response>) -> Result<Response, Failure> {
        let response = sent.map_err(|error| self.unsent(error))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let headers = response.headers().clone();
        let body = response.text().await.unwrap_or_default();
        Err(Failure::from_status(&self.name, status, &headers, &body))
    }

    fn unsent(&self, error: reqwest::Error) -> Failure {
        if error.is_timeout() && !error.is_connect() {
            return Failure::late(&self.name, self.timeout, self.idle);
        }
        Failure::unreachable(&self.name, &chain(&error.without_url()))
    }

    /// An answer that broke off.
    pub(super) fn lost(&self, error: &(dyn std::error::Error + 'static)) -> Error {
        let is_timeout = error.downcast_ref::<reqwest::Error>().is_some_and(reqwest::Error::is_timeout);
        if is_timeout {
            return Failure::late(&self.name, self.timeout, self.idle).error;
        }
        broken(&format!("{} broke off its answer: {}", self.name, chain(error)))
    }
}

impl Link {
    /// A way to a runner's socket. Each request has a connection of its own: the runner counts them.
    fn to_socket(socket: PathBuf, timeout: Duration) -> anyhow::Result<Self> {
        // Fails if it is installed already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder()
            .user_agent(concat!("mlxd/", env!("CARGO_PKG_VERSION")))
            .unix_socket(socket)
            .no_proxy()
            .pool_max_idle_per_host(0)
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(timeout)
            .redirect(Policy::none())
            .build()?;
        Ok(Self { url: managed::URL.into(), http })
    }
}

/// The headers of every request.
fn headers(name: &str, provider: &Provider) -> anyhow::Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    let is_anthropic = provider.kind == ProviderKind::Anthropic;
    if is_anthropic {
        let version = HeaderName::from_static("anthropic-version");
        headers.insert(version, HeaderValue::from_static(ANTHROPIC_VERSION));
    }
    for (header, value) in provider.headers.iter() {
        let wrong = || format!("providers.{name}.headers: {header}");
        headers.insert(
            HeaderName::try_from(header).with_context(wrong)?,
            HeaderValue::try_from(value).with_context(wrong)?,
        );
    }
    if let Some(key) = &provider.api_key {
        let (header, value) = if is_anthropic {
            (HeaderName::from_static("x-api-key"), key.expose_secret().to_owned())
        } else {
            (AUTHORIZATION, format!("Bearer {}", key.expose_secret()))
        };
        // The usual error would not say which key it is about.
        let mut value = HeaderValue::from_str(&value).map_err(|_| {
            anyhow::anyhow!("providers.{name}.api_key has characters that no header may have")
        })?;
        value.set_sensitive(true);
        headers.insert(header, value);
    }
    Ok(headers)
}

/// An error with its causes. The outer one alone says only that sending failed.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}
