//! Sounds and files, which no model of this server reads, and images that cannot be read. Pure.
//!
//! They are refused in the newest turn of the user, and a stand-in replaces all others, as
//! [`crate::inference::newest_turn`] says.

use ipc_proto::{Error, Result};

/// Names the medium of a part or block by its type in any protocol. Returns `None` for other types.
pub fn medium(kind: &str) -> Option<&'static str> {
    match kind {
        "image" | "image_url" | "input_image" => Some("image"),
        "audio" | "audio_url" | "input_audio" => Some("audio"),
        "video" | "video_url" | "input_video" => Some("video"),
        "document" => Some("document"),
        "file" | "input_file" => Some("file"),
        "container_upload" => Some("container_upload"),
        _ => None,
    }
}

/// Returns the text that stands for a medium.
///
/// # Errors
/// Returns an error that names the field `name` if the medium is `refused`.
pub fn stand_in(name: &str, medium: &str, refused: bool) -> Result<String> {
    if refused {
        let text = format!("{name}: this model reads text only, and here is a part of kind \"{medium}\"");
        return Err(Error::invalid(name, text));
    }
    Ok(format!("[{medium} left out: this model reads text only]"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_of_every_protocol_are_known() {
        for (kind, name) in [
            ("input_image", Some("image")),
            ("input_file", Some("file")),
            ("container_upload", Some("container_upload")),
            ("text", None),
        ] {
            assert_eq!(medium(kind), name, "{kind}");
        }
    }

    #[test]
    fn refused_medium_names_field_and_kind() {
        let error = stand_in("messages[0]", "image", true).unwrap_err();
        assert_eq!(error.field, Some("messages[0]".into()));
        assert!(error.message.contains("image"), "{error}");
        assert_eq!(stand_in("x", "image", false).unwrap(), "[image left out: this model reads text only]");
    }
}
