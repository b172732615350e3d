//! Fields that the requests of both protocols share.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ipc_proto::generate::ImageSource;
use ipc_proto::{Error, Field, Result};
use serde_json::{Map, Value};

use crate::inference::images::{FORMATS, media_type};

/// A number as the client wrote it: 0.1 as `f64` is not the `f32` 0.1.
pub(super) fn number(value: f32) -> Value {
    value.to_string().parse::<f64>().map_or(Value::Null, Value::from)
}

/// A number that is an integer if it is whole, as the types of some fields demand.
pub(super) fn whole_number(value: f32) -> Value {
    if value.fract() == 0.0 { Value::from(value as i64) } else { number(value) }
}

/// A schema, given as text.
///
/// # Errors
/// It is not JSON.
pub(super) fn schema(text: &str) -> Result<Value> {
    serde_json::from_str(text)
        .map_err(|error| Error::invalid(Field::OutputFormat, format!("the schema is not JSON: {error}")))
}

/// The variables of a chat template, given as text.
pub(super) fn template_kwargs(text: Option<&str>) -> Map<String, Value> {
    text.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
}

/// The media type of an image and its file in Base64.
///
/// # Errors
/// It is of no known format.
pub(super) fn encoded(source: &ImageSource) -> Result<(&'static str, String)> {
    let data: &[u8] = if let ImageSource::Data(data) = source { data } else { &[] };
    let wrong = || Error::invalid(Field::Messages, format!("the image is no {FORMATS}"));
    Ok((media_type(data).ok_or_else(wrong)?, STANDARD.encode(data)))
}

/// The address of an image as it is, or a data URL.
///
/// # Errors
/// It is of no known format.
pub(super) fn image_url(source: &ImageSource) -> Result<String> {
    if let ImageSource::Url(url) = source {
        return Ok(url.clone());
    }
    let (kind, data) = encoded(source)?;
    Ok(format!("data:{kind};base64,{data}"))
}

/// The error of a setting that the provider's protocol cannot express.
pub(super) fn refused(field: impl Into<Field>, what: &str) -> Error {
    Error::invalid(field, format!("the model's provider does not take {what}"))
}
