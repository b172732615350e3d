//! The hub's HTTP API.
//!
//! Redirects are followed by hand, because the token must not travel to another host: files lie on other servers, under addresses
//! that are signed and expire.

use std::time::Duration;

use futures::StreamExt;
use reqwest::header::{ACCEPT_ENCODING, HeaderMap, HeaderValue, IF_RANGE, LOCATION, RANGE};
use reqwest::redirect::Policy;
use reqwest::{Method, Response, StatusCode, Url};
use secrecy::ExposeSecret;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::backoff::{Backoff, spread};
use crate::error::HubError;
use crate::info::{ModelInfo, RemoteFile, WireEntry, WireInfo};
use crate::search::{Found, Query};
use crate::settings::{ModelName, Settings};

mod failure;
mod headers;

pub(crate) use failure::{Failure, unreachable};
pub(crate) use headers::{content_range, version};
use headers::{next_page, number, quoted};

const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// The longest silence of a server.
const SILENCE: Duration = Duration::from_secs(30);
const MAX_REDIRECTS: usize = 5;
/// Bytes of an answer in JSON. A tree of ten thousand files has a few megabytes.
const MAX_ANSWER: usize = 64 << 20;
/// Entries of a tree. The largest repositories of models have a few hundred.
const MAX_ENTRIES: usize = 100_000;
/// Bytes in which the headers of small safetensors files fit.
const FIRST_BYTES: u64 = 16 << 10;
/// Bytes of a header at most.
const MAX_HEADER: u64 = 64 << 20;

/// A client of the hub or of a mirror.
#[derive(Debug)]
pub struct Hub {
    http: reqwest::Client,
    settings: Settings,
}

/// The location of a file's bytes.
#[derive(Debug, Clone)]
pub(crate) struct Location {
    pub(crate) url: Url,
    /// Bytes, if the hub says so.
    pub(crate) size: Option<u64>,
}

impl Hub {
    /// A client with these settings. Proxies are those of the environment.
    ///
    /// # Errors
    /// The certificates of the system cannot be read.
    pub fn new(settings: Settings) -> Result<Self, HubError> {
        // Fails if it is installed already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder()
            .user_agent(concat!("mlxd/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_LIMIT)
            .read_timeout(SILENCE)
            .redirect(Policy::none())
            .build()
            .map_err(|error| unreachable(&settings.endpoint, &error))?;
        Ok(Self { http, settings })
    }

    /// The settings.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// A model at a revision.
    ///
    /// # Errors
    /// The hub does not know it, hides it, or cannot be reached.
    pub async fn model(&self, name: &ModelName) -> Result<ModelInfo, HubError> {
        let url = self.url(&format!("/api/models/{}/revision/{}", name.id, quoted(&name.revision)));
        let (info, _): (WireInfo, _) = self.json(url, name).await?;
        info.into_info().ok_or_else(|| self.senseless("the revision has no commit"))
    }

    /// All files of a model at a commit.
    ///
    /// # Errors
    /// As [`Self::model`].
    pub async fn files(&self, id: &str, commit: &str) -> Result<Vec<RemoteFile>, HubError> {
        let name = ModelName { id: id.to_owned(), revision: commit.to_owned() };
        let mut url = self.url(&format!("/api/models/{id}/tree/{commit}"));
        url.query_pairs_mut().append_pair("recursive", "true").append_pair("expand", "false");
        let entries: Vec<WireEntry> = self.pages(url, &name, MAX_ENTRIES).await?;
        let files = entries.into_iter().filter_map(WireEntry::into_file).collect::<Result<_, _>>();
        files.map_err(|problem| self.senseless(&problem))
    }

    /// The models that a query finds.
    ///
    /// # Errors
    /// The hub cannot be reached, or refuses the query.
    pub async fn search(&self, query: &Query) -> Result<Vec<Found>, HubError> {
        self.require_online("a search needs the hub")?;
        let mut url = self.url("/api/models");
        url.query_pairs_mut().extend_pairs(query.parameters());
        let name = ModelName { id: query.text.clone(), revision: String::new() };
        let mut found: Vec<Found> = self.pages(url, &name, query.limit).await?;
        found.truncate(query.limit);
        Ok(found)
    }

    /// The content of a small file, of at most `limit` bytes.
    ///
    /// # Errors
    /// As [`Self::model`]. The model has no such file, or it is larger.
    pub async fn read(&self, id: &str, commit: &str, path: &str, limit: usize) -> Result<Vec<u8>, HubError> {
        let name = ModelName { id: id.to_owned(), revision: commit.to_owned() };
        let url = self.resolve_url(id, commit, path);
        self.again(path, || async {
            let response = self.follow(Method::GET, &url, &HeaderMap::new()).await?;
            let response = self.accepted(response, &name, Some(path)).await?;
            self.body(response, limit).await
        })
        .await
    }

    /// The header of a safetensors file, which names its tensors, by one or two requests for its first bytes.
    ///
    /// # Errors
    /// As [`Self::read`]. It is no safetensors file.
    pub async fn tensors(&self, id: &str, commit: &str, path: &str) -> Result<Map<String, Value>, HubError> {
        let name = ModelName { id: id.to_owned(), revision: commit.to_owned() };
        let strange = || self.senseless(&format!("{path} is no safetensors file"));
        let mut bytes = self.first_bytes(&name, path, FIRST_BYTES).await?;
        let length = bytes.first_chunk().map(|length| u64::from_le_bytes(*length)).ok_or_else(strange)?;
        let end = length.saturating_add(8);
        if length > MAX_HEADER {
            return Err(strange());
        }
        if (bytes.len() as u64) < end {
            bytes = self.first_bytes(&name, path, end).await?;
        }
        let header = bytes.get(8..end as usize).ok_or_else(strange)?;
        let mut tensors: Map<String, Value> = serde_json::from_slice(header).map_err(|_| strange())?;
        tensors.remove("__metadata__");
        Ok(tensors)
    }

    /// The first bytes of a file, or all of a shorter one.
    async fn first_bytes(&self, name: &ModelName, path: &str, count: u64) -> Result<Vec<u8>, HubError> {
        self.again(path, || async {
            let location = self.locate(name, path).await?;
            let count = location.size.map_or(count, |size| size.min(count)).max(1);
            let response = self.open(&location, Some((0, count)), None).await?;
            let url = response.url().clone();
            let (mut bytes, mut stream) = (Vec::new(), response.bytes_stream());
            // A server without ranges sends the whole file.
            while (bytes.len() as u64) < count
                && let Some(piece) = stream.next().await
            {
                bytes.extend_from_slice(&piece.map_err(|error| Failure::passing(unreachable(&url, &error)))?);
            }
            bytes.truncate(count as usize);
            Ok(bytes)
        })
        .await
    }

    /// Finds the server that has a file's bytes.
    ///
    /// # Errors
    /// The hub refuses, or cannot be reached.
    pub(crate) async fn locate(&self, name: &ModelName, path: &str) -> Result<Location, Failure> {
        let mut url = self.resolve_url(&name.id, &name.revision, path);
        for _ in 0..=MAX_REDIRECTS {
            let response = self.send(Method::HEAD, &url, &HeaderMap::new()).await?;
            let status = response.status();
            if !status.is_redirection() {
                let response = self.accepted(response, name, Some(path)).await?;
                return Ok(Location { url, size: number(response.headers(), "content-length") });
            }
            let next = self.redirection(&response, &url)?;
            if !self.is_own(&next) {
                return Ok(Location { url: next, size: number(response.headers(), "x-linked-size") });
            }
            url = next;
        }
        Err(Failure::fatal(self.senseless("too many redirects")))
    }

    /// Begins to read bytes `begin..end` of a file. The answer may be the whole file, with status 200.
    ///
    /// # Errors
    /// The server refuses, or cannot be reached.
    pub(crate) async fn open(
        &self,
        location: &Location,
        range: Option<(u64, u64)>,
        version: Option<&str>,
    ) -> Result<Response, Failure> {
        let mut headers = HeaderMap::new();
        if let Some((begin, end)) = range {
            let value = |text: &str| HeaderValue::from_str(text).ok();
            headers.extend(value(&format!("bytes={begin}-{}", end - 1)).map(|value| (RANGE, value)));
            headers.extend(version.and_then(value).map(|value| (IF_RANGE, value)));
        }
        let response = self.follow(Method::GET, &location.url, &headers).await?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let is_foreign = !self.is_own(&location.url);
        let error = failure::status(response).await;
        Err(Failure::of_file(status, is_foreign, error))
    }

    /// Refuses if HF_HUB_OFFLINE is set.
    ///
    /// # Errors
    /// It is set. `what` begins the sentence.
    pub(crate) fn require_online(&self, what: &str) -> Result<(), HubError> {
        if self.settings.offline { Err(HubError::Offline(what.to_owned())) } else { Ok(()) }
    }

    /// The address of a page for people.
    pub(crate) fn page(&self, path: &str) -> String {
        self.url(&format!("/{path}")).to_string()
    }

    fn url(&self, path: &str) -> Url {
        let mut url = self.settings.endpoint.clone();
        let base = url.path().trim_end_matches('/').to_owned();
        url.set_path(&format!("{base}{path}"));
        url
    }

    fn resolve_url(&self, id: &str, commit: &str, path: &str) -> Url {
        let path: Vec<String> = path.split('/').map(quoted).collect();
        self.url(&format!("/{id}/resolve/{}/{}", quoted(commit), path.join("/")))
    }

    /// Whether the address is the hub's own, to which the token may go.
    fn is_own(&self, url: &Url) -> bool {
        url.origin() == self.settings.endpoint.origin()
    }

    /// The lists of all pages together, up to `limit` entries.
    async fn pages<T: DeserializeOwned>(
        &self,
        url: Url,
        name: &ModelName,
        limit: usize,
    ) -> Result<Vec<T>, HubError> {
        let (mut all, mut next) = (Vec::new(), Some(url));
        while let Some(url) = next {
            let (page, headers): (Vec<T>, _) = self.json(url.clone(), name).await?;
            let is_empty = page.is_empty();
            all.extend(page);
            next = next_page(&headers)
                .and_then(|link| url.join(&link).ok())
                .filter(|next| self.is_own(next) && !is_empty && all.len() < limit);
        }
        Ok(all)
    }

    /// Asks for JSON, again after failures that may pass.
    async fn json<T: DeserializeOwned>(
        &self,
        url: Url,
        name: &ModelName,
    ) -> Result<(T, HeaderMap), HubError> {
        self.require_online(&format!("\"{}\" is not known here", name.id))?;
        self.again("the hub", || async {
            let response = self.follow(Method::GET, &url, &HeaderMap::new()).await?;
            let response = self.accepted(response, name, None).await?;
            let headers = response.headers().clone();
            let body = self.body(response, MAX_ANSWER).await?;
            let value = serde_json::from_slice(&body);
            Ok((value.map_err(|error| Failure::fatal(self.senseless(&error.to_string())))?, headers))
        })
        .await
    }

    async fn again<T, F: Future<Output = Result<T, Failure>>>(
        &self,
        what: &str,
        ask: impl Fn() -> F,
    ) -> Result<T, HubError> {
        let mut backoff = Backoff::default();
        loop {
            let failure = match ask().await {
                Ok(value) => return Ok(value),
                Err(failure) => failure,
            };
            let pause = failure.pause(&mut backoff, spread());
            let Some(pause) = pause else { return Err(failure.last(what, &backoff)) };
            tokio::time::sleep(pause).await;
        }
    }

    /// Sends a request and follows redirects. The token goes to the hub only.
    async fn follow(&self, method: Method, url: &Url, headers: &HeaderMap) -> Result<Response, Failure> {
        let mut url = url.clone();
        for _ in 0..=MAX_REDIRECTS {
            let response = self.send(method.clone(), &url, headers).await?;
            if !response.status().is_redirection() || !response.headers().contains_key(LOCATION) {
                return Ok(response);
            }
            url = self.redirection(&response, &url)?;
        }
        Err(Failure::fatal(self.senseless("too many redirects")))
    }

    async fn send(&self, method: Method, url: &Url, headers: &HeaderMap) -> Result<Response, Failure> {
        let request = self.http.request(method, url.clone()).headers(headers.clone());
        // A compressed answer would have another length, and no ranges.
        let mut request = request.header(ACCEPT_ENCODING, "identity");
        if let Some(token) = self.settings.token.as_ref().filter(|_| self.is_own(url)) {
            request = request.bearer_auth(token.expose_secret());
        }
        request.send().await.map_err(|error| Failure::passing(unreachable(url, &error)))
    }

    /// The address that an answer redirects to.
    fn redirection(&self, response: &Response, from: &Url) -> Result<Url, Failure> {
        let target = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
        let next = target.and_then(|target| from.join(target).ok());
        let next = next.filter(|next| matches!(next.scheme(), "http" | "https"));
        // From an encrypted connection to an open one is no way.
        let next = next.filter(|next| next.scheme() == "https" || from.scheme() == "http");
        next.ok_or_else(|| Failure::fatal(self.senseless("a redirect that leads nowhere")))
    }

    /// The answer if it is a success. `path` is the file that was asked for.
    async fn accepted(
        &self,
        response: Response,
        name: &ModelName,
        path: Option<&str>,
    ) -> Result<Response, Failure> {
        if response.status().is_success() {
            return Ok(response);
        }
        let has_token = self.settings.token.is_some();
        let reason = failure::Reason::read(&response);
        let (id, page) = (name.id.clone(), self.page(&name.id));
        let error = match (reason.code.as_str(), response.status()) {
            ("GatedRepo", _) => HubError::Gated { id, page, has_token },
            ("RevisionNotFound", _) => {
                HubError::Revision { page: format!("{page}/tree/main"), revision: name.revision.clone(), id }
            }
            ("EntryNotFound", _) => HubError::File { id, file: path.unwrap_or_default().to_owned() },
            (_, StatusCode::UNAUTHORIZED) if reason.message.contains("Invalid credentials") => {
                HubError::Token
            }
            ("RepoNotFound", _) | (_, StatusCode::UNAUTHORIZED | StatusCode::NOT_FOUND) => {
                HubError::NotFound { id, has_token }
            }
            (_, StatusCode::TOO_MANY_REQUESTS) => {
                let wait = reason.wait;
                return Err(Failure::after(HubError::Busy { wait, has_token }, wait));
            }
            (_, status) => {
                let (error, wait) = failure::status(response).await;
                let passes = failure::may_pass(status);
                return Err(if passes { Failure::after(error, wait) } else { Failure::fatal(error) });
            }
        };
        Err(Failure::fatal(error))
    }

    async fn body(&self, response: Response, limit: usize) -> Result<Vec<u8>, Failure> {
        let (url, mut body) = (response.url().clone(), Vec::new());
        let mut stream = response.bytes_stream();
        while let Some(piece) = stream.next().await {
            body.extend_from_slice(&piece.map_err(|error| Failure::passing(unreachable(&url, &error)))?);
            if body.len() > limit {
                return Err(Failure::fatal(self.senseless(&format!("more than {limit} bytes"))));
            }
        }
        Ok(body)
    }

    pub(crate) fn senseless(&self, problem: &str) -> HubError {
        let host = failure::host(&self.settings.endpoint);
        HubError::Answer { host, problem: problem.to_owned() }
    }
}

#[cfg(test)]
mod tests;
