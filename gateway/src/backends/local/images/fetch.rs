//! Fetches images from addresses of http and https.
//!
//! Names are resolved where the connection is made, and only there, so the address that was checked is the one that is asked. One
//! parser reads the URL for the check and for the request. Each redirect is checked as the first address was.

use std::error::Error as StdError;
use std::net::SocketAddr;
use std::sync::OnceLock;
use std::time::Duration;

use hyper::body::Bytes;
use ipc_proto::gateway::ImageUrls;
use ipc_proto::{Error, Field, Result};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{ACCEPT, LOCATION};
use reqwest::redirect::Policy;
use reqwest::{Response, Url};

use super::addresses::{NOT_PUBLIC, check, is_public};
use crate::inference::images::MAX_IMAGE_BYTES;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The time for one image, redirects included.
const TIMEOUT: Duration = Duration::from_secs(20);
const MAX_REDIRECTS: usize = 3;

/// Fetches images from the addresses that the settings allow.
pub(super) struct Fetcher {
    allowed: ImageUrls,
    client: OnceLock<reqwest::Client>,
}

impl Fetcher {
    /// A fetcher for these addresses. The client is made for the first image.
    pub(super) fn new(allowed: ImageUrls) -> Self {
        Self { allowed, client: OnceLock::new() }
    }

    /// Fetches the image at `url`.
    ///
    /// # Errors
    /// The address is not allowed, does not answer in time, or sends more than [`MAX_IMAGE_BYTES`].
    pub(super) async fn fetch(&self, url: &str) -> Result<Bytes> {
        let url = Url::parse(url).map_err(|_| refused("no host", "this is no valid address"))?;
        let host = url.host_str().unwrap_or_default().to_owned();
        let late = |_| Err(format!("it did not come within {} s", TIMEOUT.as_secs()));
        let fetched = tokio::time::timeout(TIMEOUT, self.follow(url)).await.unwrap_or_else(late);
        fetched.map_err(|reason| refused(&host, &reason))
    }

    async fn follow(&self, mut url: Url) -> Result<Bytes, String> {
        for _ in 0..=MAX_REDIRECTS {
            check(&url, &self.allowed)?;
            let request = self.client()?.get(url.clone()).header(ACCEPT, "image/*");
            let response = request.send().await.map_err(|error| reason(&error))?;
            let status = response.status();
            if status.is_success() {
                return read(response).await;
            }
            if !status.is_redirection() {
                return Err(format!("it answers {status}"));
            }
            let target = response.headers().get(LOCATION).and_then(|target| target.to_str().ok());
            url = target.and_then(|target| url.join(target).ok()).ok_or("it redirects to no address")?;
        }
        Err(format!("it redirects more than {MAX_REDIRECTS} times"))
    }

    fn client(&self) -> Result<&reqwest::Client, String> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        // Fails if it is installed already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder()
            .dns_resolver(CheckedResolver { only_public: !matches!(self.allowed, ImageUrls::Hosts(_)) })
            .redirect(Policy::none())
            .no_proxy()
            .connect_timeout(CONNECT_TIMEOUT)
            // Each connection is made for the address that was checked.
            .pool_max_idle_per_host(0)
            .user_agent(concat!("mlxd/", env!("CARGO_PKG_VERSION")))
            .build();
        let client = client.map_err(|error| {
            tracing::error!(%error, "there is no client for images");
            "this server cannot open connections".to_owned()
        })?;
        Ok(self.client.get_or_init(|| client))
    }
}

/// Reads the body, and stops at once where it is too large. The announced length may be wrong.
async fn read(mut response: Response) -> Result<Bytes, String> {
    let too_large = || format!("it has more than {} MiB", MAX_IMAGE_BYTES >> 20);
    if response.content_length().is_some_and(|length| length > MAX_IMAGE_BYTES as u64) {
        return Err(too_large());
    }
    let mut body = Vec::new();
    while let Some(piece) = response.chunk().await.map_err(|error| reason(&error))? {
        if body.len() + piece.len() > MAX_IMAGE_BYTES {
            return Err(too_large());
        }
        body.extend_from_slice(&piece);
    }
    Ok(body.into())
}

/// What a client may know of a failed request.
fn reason(error: &reqwest::Error) -> String {
    let mut cause: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(error) = cause {
        if error.is::<NotPublic>() {
            return NOT_PUBLIC.into();
        }
        cause = error.source();
    }
    tracing::debug!(%error, "an image could not be fetched");
    if error.is_timeout() {
        "it did not answer in time".into()
    } else if error.is_connect() {
        "no connection to it is possible".into()
    } else {
        "the connection broke off".into()
    }
}

fn refused(host: &str, reason: &str) -> Error {
    Error::invalid(Field::Messages, format!("the image at {host} is not fetched: {reason}"))
}

/// Resolves names for connections. A name with any address that is not public is refused.
struct CheckedResolver {
    only_public: bool,
}

/// A name has an address that is not public.
#[derive(Debug, thiserror::Error)]
#[error("{NOT_PUBLIC}")]
struct NotPublic;

impl Resolve for CheckedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let only_public = self.only_public;
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            if only_public && !found.iter().all(|address| is_public(address.ip())) {
                return Err(NotPublic.into());
            }
            let all: Addrs = Box::new(found.into_iter());
            Ok(all)
        })
    }
}

#[cfg(test)]
mod tests;
