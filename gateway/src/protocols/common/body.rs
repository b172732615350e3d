//! Reads request bodies: bounded, and with errors that name the field.

pub mod escapes;

use axum::body::{Bytes, to_bytes};
use axum::extract::Request;
use axum::http::header::CONTENT_LENGTH;
use ipc_proto::{Error, ErrorKind, Origin, Result};
use serde::de::{DeserializeOwned, Deserializer};
use serde_json::Value;

/// The largest body, in bytes.
pub const MAX_BODY_BYTES: usize = 32 << 20;
/// The largest body of a request to see a prompt, in bytes: the prompt goes back through the worker's socket with all its tokens,
/// in one frame of 64 MiB at most.
pub const MAX_PROMPT_BYTES: usize = 8 << 20;

/// The request's body as `T`.
///
/// # Errors
/// When it is too large (said before it is read, where its length is announced), not JSON, or not of the form of `T`.
pub async fn json<T: Body>(request: Request) -> Result<T> {
    json_within(request, MAX_BODY_BYTES).await
}

/// [`json`] of at most `limit` bytes.
///
/// # Errors
/// As [`json`].
pub async fn json_within<T: Body>(request: Request, limit: usize) -> Result<T> {
    parse(&bytes_within(request, limit).await?)
}

/// [`json`], or what `T` is without one where the body is empty.
///
/// # Errors
/// As [`json`].
pub async fn json_or_default<T: Body + Default>(request: Request) -> Result<T> {
    let bytes = bytes(request).await?;
    if bytes.is_empty() { Ok(T::default()) } else { parse(&bytes) }
}

/// [`json`] for clients that write backslashes which escape nothing.
///
/// # Errors
/// As [`json`].
pub async fn lenient_json<T: Body>(request: Request) -> Result<T> {
    lenient_json_within(request, MAX_BODY_BYTES).await
}

/// [`lenient_json`] of at most `limit` bytes.
///
/// # Errors
/// As [`json`].
pub async fn lenient_json_within<T: Body>(request: Request, limit: usize) -> Result<T> {
    lenient(&bytes_within(request, limit).await?)
}

/// [`parse`], where backslashes may escape nothing.
///
/// # Errors
/// As [`parse`].
pub fn lenient<T: Body>(bytes: &[u8]) -> Result<T> {
    parse(bytes).or_else(|error| {
        let mended = || escapes::mended(&String::from_utf8_lossy(bytes));
        // Where a field is to blame the JSON could be read.
        if error.field.is_some() || !bytes.contains(&b'\\') {
            return Err(error);
        }
        parse(mended().as_bytes()).map_err(|second| if second.field.is_some() { second } else { error })
    })
}

/// The request's body.
///
/// # Errors
/// When it is too large, or does not come.
pub(crate) async fn bytes(request: Request) -> Result<Bytes> {
    bytes_within(request, MAX_BODY_BYTES).await
}

async fn bytes_within(request: Request, limit: usize) -> Result<Bytes> {
    let announced =
        request.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    if announced.is_some_and(|length: u64| length > limit as u64) {
        return Err(too_large(limit));
    }
    to_bytes(request.into_body(), limit).await.map_err(|e| {
        let over =
            std::error::Error::source(&e).is_some_and(|cause| cause.to_string().contains("length limit"));
        if over { too_large(limit) } else { Error::invalid("body", format!("the body cannot be read: {e}")) }
    })
}

fn too_large(limit: usize) -> Error {
    let text = format!("the body is larger than {} MiB", limit >> 20);
    Error::new(ErrorKind::TooLarge, Origin::Client, text)
}

/// `bytes` as `T`.
///
/// # Errors
/// When they are not JSON, or not of the form of `T`; then the error blames the field by its path.
pub fn parse<T: Body>(bytes: &[u8]) -> Result<T> {
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let parsed = read(&mut json).map_err(|error| located::<T>(error, bytes))?;
    let end = json.end().map_err(|e| format!("the body is not JSON: {e}"));
    end.map_err(|text| Error::new(ErrorKind::InvalidRequest, Origin::Client, text))?;
    Ok(parsed)
}

/// A body that was JSON already as `T`.
///
/// # Errors
/// As [`parse`].
pub fn of_json<T: Body>(json: Value) -> Result<T> {
    if T::PARTS.is_empty() {
        return read(json);
    }
    read(&json).map_err(|error| located::<T>(error, json.to_string().as_bytes()))
}

/// The form of a request body.
pub trait Body: DeserializeOwned {
    /// Checks of the flattened parts. serde reports no path for an error inside one, so each is read again by itself.
    const PARTS: &'static [Check] = &[];
}

/// Reads one part of a body.
pub type Check = fn(&[u8]) -> Result<()>;

/// Reads the part `P` of a body.
///
/// # Errors
/// Naming the field that is wrong.
pub fn check<P: DeserializeOwned>(bytes: &[u8]) -> Result<()> {
    read::<P>(&mut serde_json::Deserializer::from_slice(bytes)).map(drop)
}

impl Body for Value {}
impl Body for serde_json::Map<String, Value> {}
impl Body for ipc_proto::supervisor::ModelSettings {}

/// `error`, or the error of a flattened part if it blames no field.
fn located<T: Body>(error: Error, bytes: &[u8]) -> Error {
    if error.field.is_some() {
        return error;
    }
    T::PARTS
        .iter()
        .find_map(|check| check(bytes).err())
        .filter(|error| error.field.is_some())
        .unwrap_or(error)
}

fn read<'a, T: DeserializeOwned>(json: impl Deserializer<'a, Error = serde_json::Error>) -> Result<T> {
    serde_path_to_error::deserialize(json).map_err(|e| {
        let path = e.path().to_string();
        let cause = e.into_inner();
        match cause.classify() {
            serde_json::error::Category::Data if path != "." => {
                Error::invalid(&path, format!("{path}: {cause}"))
            }
            serde_json::error::Category::Data => match missing_field(&cause) {
                Some(field) => Error::invalid(&field, format!("{field} is missing")),
                None => Error::new(
                    ErrorKind::InvalidRequest,
                    Origin::Client,
                    format!("the body is wrong: {cause}"),
                ),
            },
            _ => Error::new(
                ErrorKind::InvalidRequest,
                Origin::Client,
                format!("the body is not JSON: {cause}"),
            ),
        }
    })
}

/// serde names a missing field in its message only.
fn missing_field(error: &serde_json::Error) -> Option<String> {
    let text = error.to_string();
    let (field, _) = text.strip_prefix("missing field `")?.split_once('`')?;
    Some(field.to_owned())
}
