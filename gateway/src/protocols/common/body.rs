//! Parses request bodies with a size limit. Errors name the invalid field.

pub mod escapes;
mod raw;

use axum::extract::Request;
use axum::http::header::CONTENT_LENGTH;
use futures::StreamExt;
use ipc_proto::generate::Prompt;
use ipc_proto::{Error, ErrorKind, Origin, Result, wording};
use serde::de::{DeserializeOwned, Deserializer};
use serde_json::{Value, de};

use crate::inference::images;
use crate::inference::request_id::RequestId;

pub use raw::RawBody;

/// The largest body without images, in bytes.
pub const MAX_BODY_BYTES: usize = 32 << 20;
/// The largest body of a request that may have images, in bytes. Without its images it has at most [`MAX_BODY_BYTES`].
pub const MAX_IMAGE_BODY_BYTES: usize = 64 << 20;
/// The largest body of a request that returns its prompt, in bytes. The worker returns the prompt with all its tokens in one
/// frame of at most 64 MiB.
pub const MAX_PROMPT_BYTES: usize = 8 << 20;

/// Parses the request's body.
///
/// # Errors
/// Returns an error if the body is too large, not JSON, or not a `T`. A too large `Content-Length` is refused before the body is
/// read.
pub async fn json<T: Body>(request: Request) -> Result<T> {
    json_within(request, MAX_BODY_BYTES).await
}

/// Like [`json`], with a limit in bytes.
///
/// # Errors
/// The same as [`json`].
pub async fn json_within<T: Body>(request: Request, limit: usize) -> Result<T> {
    parse_raw(&read_within(request, limit).await?)
}

/// Like [`json`], but returns the default for an empty body.
///
/// # Errors
/// The same as [`json`].
pub async fn json_or_default<T: Body + Default>(request: Request) -> Result<T> {
    let body = read_within(request, MAX_BODY_BYTES).await?;
    if body.size() == 0 { Ok(T::default()) } else { parse_raw(&body) }
}

/// Reads the body of a request that may have images.
///
/// # Errors
/// Returns an error if the body is too large or the connection fails.
pub(crate) async fn read(request: Request) -> Result<RawBody> {
    read_within(request, MAX_IMAGE_BODY_BYTES).await
}

/// Refuses a body that is too large without the images in `prompts`: a worker takes no longer texts.
///
/// # Errors
/// It has more than [`MAX_BODY_BYTES`] besides them.
pub fn check_text<'a>(bytes: usize, prompts: impl IntoIterator<Item = &'a Prompt>) -> Result<()> {
    if bytes <= MAX_BODY_BYTES {
        return Ok(());
    }
    let encoded: usize = prompts.into_iter().map(images::encoded_bytes).sum();
    if bytes.saturating_sub(encoded) > MAX_BODY_BYTES { Err(too_large(MAX_BODY_BYTES)) } else { Ok(()) }
}

async fn read_within(request: Request, limit: usize) -> Result<RawBody> {
    let announced: Option<u64> =
        request.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    if announced.is_some_and(|length| length > limit as u64) {
        return Err(too_large(limit));
    }
    let content = request.extensions().get::<RequestId>().and_then(|id| id.content.clone());
    let mut pieces = request.into_body().into_data_stream();
    let mut body = RawBody::with_capacity(announced.unwrap_or(0) as usize);
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(|e| Error::invalid("body", format!("the body cannot be read: {e}")))?;
        if body.size() + piece.len() > limit {
            return Err(too_large(limit));
        }
        body.push(&piece);
        if let Some(content) = &content {
            content.add_request(&piece);
        }
    }
    Ok(body)
}

fn too_large(limit: usize) -> Error {
    let besides = if limit == MAX_BODY_BYTES { ", not counting images" } else { "" };
    let text = format!("the body is larger than {} MiB{besides}", limit >> 20);
    Error::new(ErrorKind::TooLarge, Origin::Client, text)
}

/// Parses `bytes` as a `T`. Repairs invalid escapes and halves of surrogate pairs, which clients of every protocol send: paths
/// that were not escaped, and texts that were cut in the middle of an emoji. They stay in the history of a conversation.
///
/// # Errors
/// Returns an error for invalid JSON, or an error that names the path of the invalid field.
pub fn parse<T: Body>(bytes: &[u8]) -> Result<T> {
    parse_exactly(de::SliceRead::new(bytes), bytes).or_else(|error| parse_repaired(error, bytes))
}

/// Like [`parse`].
///
/// # Errors
/// The same as [`parse`].
pub fn parse_raw<T: Body>(body: &RawBody) -> Result<T> {
    let Some(text) = body.text() else { return parse(&body.to_bytes()) };
    let parsed = parse_exactly(de::StrRead::new(text), text.as_bytes());
    parsed.or_else(|error| parse_repaired(error, text.as_bytes()))
}

/// Parses the repaired body, if repairing `bytes` may help against `error`.
fn parse_repaired<T: Body>(error: Error, bytes: &[u8]) -> Result<T> {
    // An error that names a field means that the JSON was valid.
    if error.field.is_some() || !bytes.contains(&b'\\') {
        return Err(error);
    }
    let repaired = escapes::repair_escapes(&String::from_utf8_lossy(bytes));
    parse_exactly(de::StrRead::new(&repaired), repaired.as_bytes())
        .map_err(|second| if second.field.is_some() { second } else { error })
}

fn parse_exactly<'a, T: Body>(json: impl de::Read<'a>, bytes: &[u8]) -> Result<T> {
    let mut json = serde_json::Deserializer::new(json);
    let parsed =
        deserialize(&mut json).map_err(|error| blame_value::<T>(blame_part::<T>(error, bytes), bytes))?;
    let end = json.end().map_err(|e| format!("the body is not JSON: {e}"));
    end.map_err(|text| Error::new(ErrorKind::InvalidRequest, Origin::Client, text))?;
    Ok(parsed)
}

/// Converts a JSON value to a `T`.
///
/// # Errors
/// The same as [`parse`].
pub fn from_json<T: Body>(json: Value) -> Result<T> {
    if T::PARTS.is_empty() {
        return deserialize(json);
    }
    deserialize(&json).map_err(|error| blame_part::<T>(error, json.to_string().as_bytes()))
}

/// The largest body that is parsed once more for a better error, in bytes. Its values take many times as much.
const MAX_EXPLAINED_BYTES: usize = 1 << 20;

/// Returns `error`, or the error of the same JSON as a value if `error` names no field. serde_json says that a text is no JSON where
/// an enum has a number.
fn blame_value<T: Body>(error: Error, bytes: &[u8]) -> Error {
    if error.field.is_some() || bytes.len() > MAX_EXPLAINED_BYTES {
        return error;
    }
    let value = serde_json::from_slice::<Value>(bytes).ok();
    let second = value.and_then(|value| deserialize::<T>(value).err());
    second.filter(|second| second.field.is_some()).unwrap_or(error)
}

/// The type of a request body.
pub trait Body: DeserializeOwned {
    /// Checks of the flattened parts. serde reports no path for an error inside one, so each is parsed again on its own.
    const PARTS: &'static [Check] = &[];
}

/// Parses one flattened part of a body.
pub type Check = fn(&[u8]) -> Result<()>;

/// Parses the flattened part `P` of a body.
///
/// # Errors
/// Returns an error that names the invalid field.
pub fn check_part<P: DeserializeOwned>(bytes: &[u8]) -> Result<()> {
    deserialize::<P>(&mut serde_json::Deserializer::from_slice(bytes)).map(drop)
}

impl Body for Value {}
impl Body for serde_json::Map<String, Value> {}
impl Body for ipc_proto::supervisor::ModelSettings {}

/// Returns `error`, or the error of a flattened part if `error` names no field.
fn blame_part<T: Body>(error: Error, bytes: &[u8]) -> Error {
    if error.field.is_some() {
        return error;
    }
    T::PARTS
        .iter()
        .find_map(|check| check(bytes).err())
        .filter(|error| error.field.is_some())
        .unwrap_or(error)
}

fn deserialize<'a, T: DeserializeOwned>(json: impl Deserializer<'a, Error = serde_json::Error>) -> Result<T> {
    serde_path_to_error::deserialize(json).map_err(|e| {
        let path = e.path().to_string();
        let cause = e.into_inner();
        if let Some((field, text)) = below(&path, &cause.to_string()) {
            return Error::invalid(field, text);
        }
        match cause.classify() {
            serde_json::error::Category::Data if path != "." => {
                Error::invalid(&path, wording::JSON.sentence(&path, &cause.to_string()))
            }
            serde_json::error::Category::Data => match missing_field(&cause) {
                Some(field) => Error::invalid(&field, format!("{field} is missing")),
                None => Error::new(
                    ErrorKind::InvalidRequest,
                    Origin::Client,
                    wording::JSON.sentence("the body", &cause.to_string()),
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

/// The whole path and the sentence of a message that begins with the rest of its path, as `.levels[0] must be …` does.
fn below(path: &str, message: &str) -> Option<(String, String)> {
    let rest = wording::without_position(message).strip_prefix('.').filter(|_| path != ".")?;
    let end = rest.find([' ', ':'])?;
    Some((format!("{path}.{}", &rest[..end]), format!("{path}.{rest}")))
}

/// Extracts a missing field from serde's message, because the path does not contain it.
fn missing_field(error: &serde_json::Error) -> Option<String> {
    let text = error.to_string();
    let (field, _) = text.strip_prefix("missing field `")?.split_once('`')?;
    Some(field.to_owned())
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Class {
        High,
    }

    #[derive(Debug, Deserialize)]
    struct Order {
        class: Class,
    }

    impl Body for Order {}

    #[test]
    fn number_for_a_name_is_blamed_on_its_field() {
        let order: Order = parse(br#"{"class": "high"}"#).unwrap();
        assert!(matches!(order.class, Class::High));
        let error = parse::<Order>(br#"{"class": 3}"#).unwrap_err();
        assert_eq!(error.field, Error::invalid("class", "").field, "{}", error.message);
        assert!(!error.message.contains("not JSON"), "{}", error.message);
    }
}
