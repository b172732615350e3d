//! Signing in to the web UI: the password, the one-time link, and the sessions of browsers.
//!
//! A password is hashed on a thread of its own, one at a time, and few may wait: guesses take neither the threads of other requests
//! nor more than one core. Whoever guesses has to wait longer and longer.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::body::to_bytes;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use ipc_proto::{Error, ErrorKind, Origin, Result};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Semaphore;

use super::browser;
use super::keys::refusal;
use super::login_wire::{
    Access, By, LinkView, PasswordInput, SessionList, SessionView, SetupInput, SignInInput,
};
use crate::access::Tenant;
use crate::access::budget::{Moment, rate_limited};
use crate::access::key::Scope;
use crate::access::limiter::Limiter;
use crate::access::password::{self, Password};
use crate::access::sessions::SessionRecord;
use crate::protocols::common::body::{self, Body};
use crate::protocols::error::{ApiError, unroutable};
use crate::store::login_store::{LoginStore, NewSession};

/// The largest body. Two passwords may be written with escapes of six bytes for each of theirs.
const MAX_BODY_BYTES: usize = 16 << 10;
/// Attempts that may wait for their turn.
const MAX_WAITING: usize = 8;
/// The pause after which an attempt that may not wait tries again.
const BUSY: Duration = Duration::from_secs(2);

/// The sign-in, and the attempts at it.
#[derive(Debug)]
pub struct SignIn {
    store: LoginStore,
    limiter: Mutex<Limiter>,
    /// The one place for hashing.
    hashing: Semaphore,
    /// The places for those that hash or wait.
    waiting: Semaphore,
}

/// The address of a client; `None` if the system does not say it.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub Option<IpAddr>);

/// The session of a request; none for one with a key.
#[derive(Debug, Clone, Default)]
pub struct SessionId(pub Option<String>);

/// The sender of a request that everybody may send.
#[derive(Debug, Clone, Default)]
pub struct Visitor {
    /// Its rights; none if it has neither key nor session and needs one.
    pub tenant: Option<Tenant>,
    /// Its session.
    pub session: SessionId,
}

/// The browser of a request that begins or ends a session.
struct Browser {
    name: String,
    /// Whether its page came over HTTPS, from a proxy in front.
    is_secure: bool,
}

/// `GET /admin/v1/session`: who the client is, and how it was let in.
pub async fn who(State(sign_in): State<Arc<SignIn>>, Extension(visitor): Extension<Visitor>) -> Json<Access> {
    Json(sign_in.access(visitor.tenant.as_ref(), visitor.session.0))
}

/// `POST /admin/v1/session`: begins a session.
///
/// # Errors
/// The password is wrong, there were too many wrong ones, or the database refuses.
pub async fn sign_in(
    State(sign_in): State<Arc<SignIn>>,
    Extension(peer): Extension<Peer>,
    request: Request,
) -> Result<Response, ApiError> {
    let browser = Browser::of(request.headers());
    let SignInInput { password } = read(request).await?;
    let is_right = sign_in.check(password, peer).await?;
    if !is_right {
        let has_password = sign_in.store.keys().keys().sessions().have_password();
        let text = if has_password { "this is not the password" } else { NO_PASSWORD };
        return Err(Error::new(ErrorKind::Unauthorized, Origin::Client, text).with_field("password").into());
    }
    tracing::info!(browser = browser.name, "somebody has signed in");
    Ok(sign_in.begin(&browser).await?)
}

const NO_PASSWORD: &str = "there is no password yet: `mlxd login link` prints an address where one is set";

/// `DELETE /admin/v1/session`: ends the client's session, if it has one.
///
/// # Errors
/// The database refuses.
pub async fn sign_out(
    State(sign_in): State<Arc<SignIn>>,
    Extension(visitor): Extension<Visitor>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    if let Some(id) = &visitor.session.0 {
        sign_in.store.end(id).await.map_err(|e| refusal(&e))?;
    }
    let response = Json(sign_in.access(None, None)).into_response();
    Ok(with_cookie(response, &sign_in.cookie("", 0, &Browser::of(&headers))))
}

/// `POST /admin/v1/setup`: sets the password by a one-time link, and begins a session.
///
/// # Errors
/// The link or the password is wrong, or the database refuses.
pub async fn set_up(State(sign_in): State<Arc<SignIn>>, request: Request) -> Result<Response, ApiError> {
    let browser = Browser::of(request.headers());
    let SetupInput { token, password } = read(request).await?;
    let used_up = || {
        let text = "this link was used or is too old: `mlxd login link` prints a new one";
        Error::invalid("token", text)
    };
    if !sign_in.store.link_is_valid(&token).await.map_err(|e| refusal(&e))? {
        return Err(used_up().into());
    }
    let hash = sign_in.hash(password, "password").await?;
    if !sign_in.store.set_up(&token, &hash).await.map_err(|e| refusal(&e))? {
        return Err(used_up().into());
    }
    tracing::info!(browser = browser.name, "a password was set by a one-time link");
    Ok(sign_in.begin(&browser).await?)
}

/// `GET /admin/v1/sessions`.
///
/// # Errors
/// The database refuses.
pub async fn list(
    State(sign_in): State<Arc<SignIn>>,
    Extension(own): Extension<SessionId>,
) -> Result<Json<SessionList>, ApiError> {
    Ok(Json(sessions(&sign_in.store, own.0.as_deref()).await?))
}

/// `DELETE /admin/v1/sessions/{id}`: ends a session.
pub async fn end(State(sign_in): State<Arc<SignIn>>, Path(id): Path<String>) -> Response {
    match sign_in.store.end(&id).await {
        Ok(true) => StatusCode::NO_CONTENT.into_response(),
        Ok(false) => unroutable(
            StatusCode::NOT_FOUND,
            format!("there is no session \"{id}\"; GET /admin/v1/sessions lists all"),
        ),
        Err(error) => ApiError(refusal(&error)).into_response(),
    }
}

/// `POST /admin/v1/password`: sets the password. All other sessions end. A client that was let in by no means gets a session: it
/// needs one from now on.
///
/// # Errors
/// The old password is wrong, there were too many wrong ones, the new one cannot be, or the database refuses.
pub async fn change_password(
    State(sign_in): State<Arc<SignIn>>,
    Extension(tenant): Extension<Tenant>,
    Extension(own): Extension<SessionId>,
    Extension(peer): Extension<Peer>,
    request: Request,
) -> Result<Response, ApiError> {
    let browser = Browser::of(request.headers());
    let PasswordInput { old, new } = read(request).await?;
    if sign_in.store.password().await.map_err(|e| refusal(&e))?.is_some() {
        let missing = || Error::invalid("old", "old is missing: the present password");
        if !sign_in.check(old.ok_or_else(missing)?, peer).await? {
            return Err(Error::invalid("old", "this is not the present password").into());
        }
    }
    let hash = sign_in.hash(new, "new").await?;
    sign_in.store.set_password(&hash, own.0.as_deref()).await.map_err(|e| refusal(&e))?;
    tracing::info!(browser = browser.name, "the password was changed");
    if tenant.is_anyone() {
        return Ok(sign_in.begin(&browser).await?);
    }
    Ok(Json(sign_in.access(Some(&tenant), own.0)).into_response())
}

/// The sessions as they are shown.
///
/// # Errors
/// The database refuses.
pub async fn sessions(store: &LoginStore, own: Option<&str>) -> Result<SessionList> {
    let records = store.sessions().await.map_err(|e| refusal(&e))?;
    let view = |record: SessionRecord| SessionView {
        is_current: own == Some(&record.id),
        id: record.id,
        name: record.name,
        created_at: record.created_at,
        last_used_at: record.last_used_at,
        expires_at: record.expires_at,
    };
    Ok(SessionList { sessions: records.into_iter().map(view).collect() })
}

/// Sets the password. All sessions end.
///
/// # Errors
/// The password cannot be, or the database refuses.
pub async fn set_password(store: &LoginStore, password: SecretString) -> Result<()> {
    let hash = valid(password, "password")?.hash().map_err(|e| internal(&e))?;
    store.set_password(&hash, None).await.map_err(|e| refusal(&e))
}

/// Removes the password. All sessions end.
///
/// # Errors
/// The database refuses.
pub async fn remove(store: &LoginStore) -> Result<()> {
    store.remove().await.map_err(|e| refusal(&e))
}

/// Makes a one-time link. Its secret is shown this once.
///
/// # Errors
/// The database refuses.
pub async fn make_link(store: &LoginStore) -> Result<LinkView> {
    let link = store.new_link().await.map_err(|e| refusal(&e))?;
    Ok(LinkView { token: link.token.expose_secret().to_owned(), expires_at: link.expires_at })
}

impl SignIn {
    /// The sign-in of one home folder.
    pub fn new(store: LoginStore) -> Self {
        Self {
            store,
            limiter: Mutex::default(),
            hashing: Semaphore::new(1),
            waiting: Semaphore::new(MAX_WAITING),
        }
    }

    /// Whether a guess is the password.
    async fn check(&self, guess: SecretString, Peer(client): Peer) -> Result<bool> {
        let client = client.unwrap_or(Ipv4Addr::UNSPECIFIED.into());
        self.limiter().begin(client, Instant::now()).map_err(too_many)?;
        let hash = self.store.password().await.map_err(|e| refusal(&e))?;
        let is_right = self.alone(move || password::is_right(&guess, hash.as_deref())).await?;
        if is_right {
            self.limiter().succeeded(client);
        }
        Ok(is_right)
    }

    async fn hash(&self, password: SecretString, field: &str) -> Result<String> {
        let password = valid(password, field)?;
        self.alone(move || password.hash()).await?.map_err(|e| internal(&e))
    }

    /// Runs a slow function when it is its turn.
    async fn alone<T: Send + 'static>(&self, run: impl FnOnce() -> T + Send + 'static) -> Result<T> {
        let _waiting = self.waiting.try_acquire().map_err(|_| too_many(BUSY))?;
        let _turn = self.hashing.acquire().await.map_err(|e| internal(&e))?;
        tokio::task::spawn_blocking(run).await.map_err(|e| internal(&e))
    }

    fn limiter(&self) -> MutexGuard<'_, Limiter> {
        self.limiter.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a session, whose cookie the answer sets.
    async fn begin(&self, browser: &Browser) -> Result<Response> {
        let name = browser.name.clone();
        let NewSession { record, token } = self.store.begin(name).await.map_err(|e| refusal(&e))?;
        let keys = self.store.keys().keys();
        let now = Moment::now();
        let session = keys.sessions().find(token.expose_secret(), now);
        let tenant = session.and_then(|session| Tenant::of(&session, Scope::Admin, now).ok());
        let age = record.expires_at - record.created_at;
        let response = Json(self.access(tenant.as_ref(), Some(record.id))).into_response();
        Ok(with_cookie(response, &self.cookie(token.expose_secret(), age, browser)))
    }

    fn access(&self, tenant: Option<&Tenant>, session: Option<String>) -> Access {
        let by = tenant.map(|tenant| match (tenant.is_anyone(), tenant.is_session()) {
            (true, _) => By::Loopback,
            (false, true) => By::Session,
            (false, false) => By::Key,
        });
        let name = |tenant: &Tenant| Some(tenant.identity()?.name.to_string());
        Access {
            by,
            scopes: tenant.map(Tenant::scopes).unwrap_or_default(),
            key: tenant.filter(|_| by == Some(By::Key)).and_then(name),
            session,
            has_password: self.store.keys().keys().sessions().have_password(),
        }
    }

    /// The value of `Set-Cookie`. An age of 0 removes the cookie.
    fn cookie(&self, token: &str, age: i64, browser: &Browser) -> String {
        let name = self.store.keys().keys().sessions().cookie();
        let secure = if browser.is_secure { "; Secure" } else { "" };
        format!("{name}={token}; Path=/; Max-Age={age}; HttpOnly; SameSite=Strict{secure}")
    }
}

fn with_cookie(mut response: Response, cookie: &str) -> Response {
    if let Ok(mut cookie) = HeaderValue::from_str(cookie) {
        cookie.set_sensitive(true);
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn valid(password: SecretString, field: &str) -> Result<Password> {
    Password::new(password).map_err(|problem| Error::invalid(field, problem))
}

fn too_many(wait: Duration) -> Error {
    let seconds = wait.as_millis().div_ceil(1000);
    let text = format!("too many wrong passwords: wait {seconds} s; `mlxd login link` needs no password");
    rate_limited(text, wait)
}

fn internal(error: &impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::Internal, Origin::Gateway, error.to_string())
}

impl Browser {
    fn of(headers: &HeaderMap) -> Self {
        let agent = headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok());
        let is_secure =
            headers.get(header::ORIGIN).is_some_and(|origin| origin.as_bytes().starts_with(b"https://"));
        Self { name: browser::name(agent.unwrap_or_default()), is_secure }
    }
}

/// A small body. It is kept nowhere, whatever the key of its sender stores.
async fn read<T: Body>(request: Request) -> Result<T> {
    let text = || {
        let text = format!("the body is larger than {} KiB, or did not come whole", MAX_BODY_BYTES >> 10);
        Error::new(ErrorKind::TooLarge, Origin::Client, text)
    };
    let bytes = to_bytes(request.into_body(), MAX_BODY_BYTES).await.map_err(|_| text())?;
    body::parse(&bytes)
}
