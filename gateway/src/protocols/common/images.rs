//! Parses images of every protocol: data URLs, plain Base64 and addresses. Pure.
//!
//! The content of a file decides on its format, and the claimed media type does not. Paths of files are never taken: they would show
//! the client what it may not read.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ipc_proto::generate::{ContentPart, Image, ImageDetail, ImageSource, Message};
use ipc_proto::{Error, Field, Result};
use reqwest::Url;
use serde_json::Value;

use super::media;
use crate::inference::images::{FORMATS, MAX_IMAGE_BYTES, MAX_IMAGES, media_type};

/// The longest address of an image, in bytes.
const MAX_URL_BYTES: usize = 8 << 10;

/// Parses a URL, or an object with `url` and `detail`. `detail` is the one beside it.
///
/// # Errors
/// Names the field `name`.
pub fn from_value(name: &str, value: &Value, detail: Option<&str>) -> Result<Image> {
    let (url, own) = match value {
        Value::String(url) => (Some(url.as_str()), None),
        other => (other["url"].as_str(), other["detail"].as_str()),
    };
    let wrong = || Error::invalid(name, format!("{name}: expected a URL, or an object with a url"));
    let detail = parse_detail(name, own.or(detail))?;
    Ok(Image { source: from_url(name, url.ok_or_else(wrong)?)?, detail })
}

/// Parses a data URL or an address.
///
/// # Errors
/// Names the field `name`.
pub fn from_url(name: &str, url: &str) -> Result<ImageSource> {
    let refused = |text: String| Error::invalid(name, format!("{name}: {text}"));
    let scheme = url.split_once(':').map_or("", |(scheme, _)| scheme).to_ascii_lowercase();
    match &*scheme {
        "data" => from_data_url(name, &url["data:".len()..]),
        "http" | "https" if url.len() > MAX_URL_BYTES => {
            Err(refused(format!("an address has at most {MAX_URL_BYTES} bytes")))
        }
        "http" | "https" => match Url::parse(url) {
            Ok(url) if url.has_host() => Ok(ImageSource::Url(url.into())),
            _ => Err(refused("this is no valid address".into())),
        },
        _ => {
            Err(refused("an image is a data URL, or an address of http or https; files are not read".into()))
        }
    }
}

fn from_data_url(name: &str, rest: &str) -> Result<ImageSource> {
    let refused = |text: String| Error::invalid(name, format!("{name}: {text}"));
    let (head, data) = rest.split_once(',').ok_or_else(|| refused("the data URL has no data".into()))?;
    let mut parts = head.split(';').map(str::trim);
    let kind = parts.next().unwrap_or_default().to_ascii_lowercase();
    if !kind.is_empty() && !kind.starts_with("image/") && kind != "application/octet-stream" {
        let kind: String = kind.chars().take(40).collect();
        return Err(refused(format!("a data URL of type \"{kind}\" is no image")));
    }
    if !parts.any(|part| part.eq_ignore_ascii_case("base64")) {
        return Err(refused("the data URL must be in Base64: data:image/png;base64,…".into()));
    }
    from_base64(name, data)
}

/// Parses a file in Base64.
///
/// # Errors
/// Names the field `name`.
pub fn from_base64(name: &str, text: &str) -> Result<ImageSource> {
    let refused = |text: String| Error::invalid(name, format!("{name}: {text}"));
    if text.len() > MAX_IMAGE_BYTES.div_ceil(3) * 4 {
        return Err(refused(format!("an image has at most {} MiB", MAX_IMAGE_BYTES >> 20)));
    }
    if text.is_empty() {
        return Err(refused("the image is empty".into()));
    }
    let file =
        STANDARD.decode(text).map_err(|error| refused(format!("the image is no valid Base64: {error}")))?;
    if file.len() > MAX_IMAGE_BYTES {
        return Err(refused(format!("an image has at most {} MiB", MAX_IMAGE_BYTES >> 20)));
    }
    if media_type(&file).is_none() {
        return Err(refused(format!("the image is no {FORMATS}")));
    }
    Ok(ImageSource::Data(file.into()))
}

fn parse_detail(name: &str, detail: Option<&str>) -> Result<ImageDetail> {
    match detail {
        None | Some("auto") => Ok(ImageDetail::Auto),
        Some("low") => Ok(ImageDetail::Low),
        Some("high" | "original") => Ok(ImageDetail::High),
        Some(_) => Err(Error::invalid(
            name,
            format!("{name}: detail must be \"auto\", \"low\", \"high\" or \"original\""),
        )),
    }
}

/// The part that an image is. One that cannot be read is an error if it is `refused` here, and else a text that stands for it.
///
/// # Errors
/// The image's own.
pub fn part(image: Result<Image>, refused: bool) -> Result<ContentPart> {
    match image {
        Ok(image) => Ok(ContentPart::Image(image)),
        Err(error) if refused => Err(error),
        Err(_) => Ok(ContentPart::Text(format!("[image left out: {UNREADABLE}]"))),
    }
}

/// The reason in the place of an image that cannot be read.
const UNREADABLE: &str = "it cannot be read";

/// The text that stands for another medium, as a part.
///
/// # Errors
/// The medium is `refused` here.
pub fn other_part(name: &str, medium: &str, refused: bool) -> Result<ContentPart> {
    media::stand_in(name, medium, refused).map(ContentPart::Text)
}

/// Refuses a conversation with too many images.
///
/// # Errors
/// There are more than [`MAX_IMAGES`].
pub fn check_count(messages: &[Message]) -> Result<()> {
    let count: usize = messages.iter().map(|message| message.content.images().count()).sum();
    if count > MAX_IMAGES {
        let text = format!("a request has at most {MAX_IMAGES} images, and this one has {count}");
        return Err(Error::invalid(Field::Messages, text));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const PNG: &str = "iVBORw0KGgo=";

    fn refusal(value: &Value) -> String {
        let error = from_value("x", value, None).unwrap_err();
        assert_eq!(error.field, Some("x".into()));
        error.message
    }

    #[test]
    fn data_urls_are_read_by_their_content() {
        let expected = ImageSource::Data(STANDARD.decode(PNG).unwrap().into());
        for head in [
            "image/png;base64",
            "image/heic;base64",
            ";base64",
            "IMAGE/JPEG;name=a.jpg;BASE64",
            "application/octet-stream;base64",
        ] {
            let image = from_value("x", &json!(format!("data:{head},{PNG}")), None).unwrap();
            assert_eq!(image.source, expected, "{head}");
        }
        assert_eq!(from_base64("x", PNG).unwrap(), expected);
    }

    #[test]
    fn object_and_string_are_taken_with_their_detail() {
        let url = "https://a.example/b.png?c=d";
        for (value, beside, detail) in [
            (json!(url), None, ImageDetail::Auto),
            (json!({"url": url}), None, ImageDetail::Auto),
            (json!({"url": url, "detail": "auto"}), None, ImageDetail::Auto),
            (json!({"url": url, "detail": "low"}), Some("high"), ImageDetail::Low),
            (json!({"url": url, "detail": "original"}), None, ImageDetail::High),
            (json!(url), Some("high"), ImageDetail::High),
        ] {
            let image = from_value("x", &value, beside).unwrap();
            assert_eq!(image, Image { source: ImageSource::Url(url.into()), detail }, "{value}");
        }
        assert!(refusal(&json!({"url": url, "detail": "huge"})).contains("detail must be"));
    }

    #[test]
    fn everything_else_is_refused_with_a_sentence() {
        let too_long = format!("https://a.example/{}", "a".repeat(MAX_URL_BYTES));
        for (url, reason) in [
            ("file:///etc/passwd", "files are not read"),
            ("ftp://a.example/b", "files are not read"),
            ("/etc/passwd", "files are not read"),
            ("C:\\a.png", "files are not read"),
            ("", "files are not read"),
            ("https://", "no valid address"),
            (&too_long, "at most 8192 bytes"),
            ("data:image/png;base64", "has no data"),
            ("data:image/png;base64,", "is empty"),
            ("data:image/png,abc", "must be in Base64"),
            ("data:audio/wav;base64,iVBORw0KGgo=", "\"audio/wav\" is no image"),
            ("data:image/png;base64,iVBORw0KGgo", "no valid Base64"),
            ("data:image/png;base64,iVBO Rw0KGgo=", "no valid Base64"),
            ("data:image/png;base64,aGVsbG8=", "no PNG, JPEG"),
        ] {
            let text = refusal(&json!(url));
            assert!(text.starts_with("x: ") && text.contains(reason), "{url}: {text}");
        }
        for wrong in [json!(null), json!(7), json!({"detail": "low"})] {
            assert!(refusal(&wrong).contains("expected a URL"), "{wrong}");
        }
    }

    #[test]
    fn large_images_are_refused() {
        let mut file = vec![0; MAX_IMAGE_BYTES];
        file[..3].copy_from_slice(&[0xff, 0xd8, 0xff]);
        from_base64("x", &STANDARD.encode(&file)).unwrap();
        file.push(0);
        assert!(from_base64("x", &STANDARD.encode(&file)).unwrap_err().message.contains("20 MiB"));
        file.extend([0; 9]);
        assert!(from_base64("x", &STANDARD.encode(&file)).unwrap_err().message.contains("20 MiB"));
    }

    #[test]
    fn many_images_are_refused() {
        let source = ImageSource::Url("https://a.example/".into());
        let image = Image { source, detail: ImageDetail::Auto };
        let messages = vec![Message { content: image.into(), ..Message::default() }; MAX_IMAGES + 1];
        check_count(&messages[1..]).unwrap();
        assert!(check_count(&messages).unwrap_err().message.contains("has 51"));
    }
}
