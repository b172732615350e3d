//! The HTTP client of the exporters. They run on threads of their own, and their requests on the gateway's runtime.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use async_trait::async_trait;
use ipc_proto::gateway::OtlpHeaders;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use tokio::runtime::Handle;

const TIMEOUT: Duration = Duration::from_secs(10);
/// Pause between two warnings about a collector that does not take reports.
const WARNING_INTERVAL: Duration = Duration::from_secs(300);

/// Sends reports with the headers of the settings.
#[derive(Debug, Clone)]
pub(super) struct Client {
    http: reqwest::Client,
    runtime: Handle,
    last_warning: Arc<Mutex<Option<Instant>>>,
}

impl Client {
    /// Needs a runtime.
    ///
    /// # Errors
    /// A header cannot be used.
    pub(super) fn new(headers: Option<&OtlpHeaders>) -> anyhow::Result<Self> {
        // Fails if it is installed already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let pairs: HashMap<String, String> = headers.into_iter().flat_map(OtlpHeaders::expose).collect();
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            let problem = || format!("otlp_headers: {name}");
            let mut value = HeaderValue::try_from(value).with_context(problem)?;
            value.set_sensitive(true);
            headers.insert(HeaderName::try_from(&name).with_context(problem)?, value);
        }
        let http = reqwest::Client::builder()
            .user_agent(concat!("mlxd/", env!("CARGO_PKG_VERSION")))
            .default_headers(headers)
            .timeout(TIMEOUT)
            // A redirect could carry the headers to another host.
            .redirect(reqwest::redirect::Policy::none())
            .build()?;
        Ok(Self { http, runtime: Handle::current(), last_warning: Arc::default() })
    }

    fn warn(&self, problem: &str) {
        let mut last = self.last_warning.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_none_or(|last| last.elapsed() >= WARNING_INTERVAL) {
            *last = Some(Instant::now());
            tracing::warn!(problem, "traces, metrics or logs cannot be reported, and are lost meanwhile");
        }
    }
}

#[async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let request = reqwest::Request::try_from(request)?;
        let path = request.url().path().to_owned();
        let http = self.http.clone();
        let sent = self.runtime.spawn(async move {
            let response = http.execute(request).await?;
            let status = response.status();
            Ok::<_, reqwest::Error>((status, response.bytes().await?))
        });
        match sent.await? {
            Ok((status, body)) => {
                if !status.is_success() {
                    self.warn(&format!("the collector answers {status} to {path}"));
                }
                Ok(Response::builder().status(status).body(body)?)
            }
            Err(error) => {
                self.warn(&error.without_url().to_string());
                Err("the collector cannot be reached".into())
            }
        }
    }
}
