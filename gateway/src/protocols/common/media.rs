//! Images, sound and files, which a text model cannot read. Pure.
//!
//! The user's own media in the newest turn are refused, so that no answer pretends to have seen them. A stand-in replaces all others:
//! clients resend the history and the results of tools, and one image would end the conversation for good.

use ipc_proto::{Error, Result};

/// The author of a message, for [`refused_from`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Author {
    /// The user.
    User,
    /// The result of a tool, or a message that contains one.
    Tool,
    /// The model.
    Assistant,
    /// Anything else, such as instructions.
    Other,
}

/// Returns the index of the first message in which the user's media are refused: the beginning of the newest turn. Returns the number
/// of messages if that turn answers the model's calls: then its media come from an agent's tools.
pub fn refused_from(authors: &[Author]) -> usize {
    let end = match authors {
        // The answer continues the last message, so the newest turn stands before it.
        [before @ .., Author::Assistant] => before.len(),
        all => all.len(),
    };
    let start = authors[..end].iter().rposition(|author| *author == Author::Assistant).map_or(0, |at| at + 1);
    if authors[start..end].contains(&Author::Tool) { authors.len() } else { start }
}

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
    use super::Author::{Assistant, Other, Tool, User};
    use super::*;

    #[test]
    fn newest_turn_of_the_user_is_refused() {
        for (authors, first) in [
            (&[User][..], 0),
            (&[Other, User], 0),
            (&[User, Assistant, User], 2),
            (&[User, Assistant, User, Other, User], 2),
            (&[User, Assistant], 0),
            (&[User, Assistant, User, Assistant], 2),
        ] {
            assert_eq!(refused_from(authors), first, "{authors:?}");
        }
    }

    #[test]
    fn turn_that_answers_calls_is_not_refused() {
        for authors in [
            &[User, Assistant, Tool][..],
            &[User, Assistant, Tool, User],
            &[User, Assistant, Tool, Assistant],
        ] {
            assert_eq!(refused_from(authors), authors.len(), "{authors:?}");
        }
    }

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
