//! Images of prompts: their limits, their formats, and what stands for them where a model reads text only. Pure.

use ipc_proto::generate::{Content, ContentPart, Image, ImageSource, Message, Prompt, Role};

use super::newest_turn::{Author, refused_from};

/// The largest image, in bytes of its file.
pub const MAX_IMAGE_BYTES: usize = 20 << 20;
/// The largest number of images in a request.
pub const MAX_IMAGES: usize = 50;
/// The formats of images, for messages.
pub const FORMATS: &str = "PNG, JPEG, WebP, GIF, BMP or TIFF";
/// The text in the place of an image.
const STAND_IN: &str = "[image left out: this model reads text only]";

/// The media type of an image, by the first bytes of its file. `None` if it is none of [`FORMATS`].
pub fn media_type(file: &[u8]) -> Option<&'static str> {
    match file {
        [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => Some("image/png"),
        [0xff, 0xd8, 0xff, ..] => Some("image/jpeg"),
        [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Some("image/gif"),
        [b'B', b'M', ..] => Some("image/bmp"),
        [b'I', b'I', b'*', 0, ..] | [b'M', b'M', 0, b'*', ..] => Some("image/tiff"),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some("image/webp"),
        _ => None,
    }
}

/// The images of a prompt, in order.
pub fn of_prompt(prompt: &Prompt) -> impl Iterator<Item = &Image> {
    let messages = if let Prompt::Chat(chat) = prompt { &chat.messages[..] } else { &[] };
    messages.iter().flat_map(|message| message.content.images())
}

/// Whether a prompt has an image.
pub fn are_in(prompt: &Prompt) -> bool {
    of_prompt(prompt).next().is_some()
}

/// The bytes that the images in a prompt had in the body of the request, as Base64.
pub fn encoded_bytes(prompt: &Prompt) -> usize {
    let bytes = |image: &Image| match &image.source {
        ImageSource::Data(data) => data.len().div_ceil(3) * 4,
        ImageSource::Url(_) | ImageSource::File(_) => 0,
    };
    of_prompt(prompt).map(bytes).sum()
}

/// Whether the newest turn has an image of the user's. A model that reads text only must refuse it.
pub fn user_sends_one(messages: &[Message]) -> bool {
    let authors: Vec<Author> = messages.iter().map(|message| message.role.into()).collect();
    let newest = &messages[refused_from(&authors)..];
    newest.iter().any(|message| message.role == Role::User && message.content.images().next().is_some())
}

/// Puts a text in the place of each image.
pub fn leave_out(messages: &mut [Message]) {
    for message in messages.iter_mut().filter(|message| message.content.images().next().is_some()) {
        message.content = with_stand_ins(&message.content, STAND_IN);
    }
}

/// The content with `text` in the place of each image, on a line of its own beside other words.
pub fn with_stand_ins(content: &Content, text: &str) -> Content {
    let mut joined = Content::default();
    let mut follows_image = false;
    for part in content.parts() {
        let (part, is_image) = match part {
            ContentPart::Text(text) => (text.as_str(), false),
            ContentPart::Image(_) => (text, true),
        };
        let before = joined.texts().last().is_some_and(|text| !text.ends_with(char::is_whitespace));
        if before && (is_image || follows_image) && !part.starts_with(char::is_whitespace) {
            joined.push_text("\n");
        }
        joined.push_text(part);
        follows_image = is_image;
    }
    joined
}

/// Joins the parts of a content. `separator` stands between texts that follow each other.
pub fn join(parts: impl IntoIterator<Item = ContentPart>, separator: &str) -> Content {
    let mut content = Content::default();
    let mut follows_text = false;
    for part in parts {
        match part {
            ContentPart::Text(text) => {
                if follows_text {
                    content.push_text(separator);
                }
                content.push_text(&text);
                follows_text = true;
            }
            ContentPart::Image(image) => {
                content.push_image(image);
                follows_text = false;
            }
        }
    }
    content
}

#[cfg(test)]
mod tests {
    use ipc_proto::generate::ImageDetail;

    use super::*;

    fn image() -> Image {
        Image { source: ImageSource::Url("https://a.example/".into()), detail: ImageDetail::Auto }
    }

    fn text(text: &str) -> ContentPart {
        ContentPart::Text(text.into())
    }

    #[test]
    fn format_shows_in_the_first_bytes() {
        for (file, kind) in [
            (&b"\x89PNG\r\n\x1a\n..."[..], Some("image/png")),
            (b"\xff\xd8\xff\xe0", Some("image/jpeg")),
            (b"GIF89a", Some("image/gif")),
            (b"GIF87a", Some("image/gif")),
            (b"RIFF\0\0\0\0WEBPVP8 ", Some("image/webp")),
            (b"BM......", Some("image/bmp")),
            (b"II*\0", Some("image/tiff")),
            (b"RIFF\0\0\0\0WAVE", None),
            (b"\0\0\0\x18ftypheic", None),
            (b"<svg>", None),
            (b"", None),
        ] {
            assert_eq!(media_type(file), kind, "{file:?}");
        }
    }

    #[test]
    fn separator_stands_between_texts_only() {
        let parts = [text("a"), text(""), text("b"), image().into_part(), text("c"), text("d")];
        let content = join(parts, "\n");
        assert_eq!(content.texts().collect::<Vec<_>>(), ["a\n\nb", "c\nd"]);
        assert!(content.parts()[1].as_image().is_some());
        assert_eq!(join([text(""), text("a")], "\n"), Content::from("\na"));
        assert_eq!(join([], "\n"), Content::default());
    }

    #[test]
    fn stand_in_has_a_line_of_its_own() {
        let content = join([text("see:"), image().into_part(), image().into_part(), text("and that")], "");
        assert_eq!(with_stand_ins(&content, "[x]").text(), "see:\n[x]\n[x]\nand that");
        let spaced = join([text("See: "), image().into_part(), text(" ok")], "");
        assert_eq!(with_stand_ins(&spaced, "[x]").text(), "See: [x] ok");
        assert_eq!(with_stand_ins(&Content::from("a"), "[x]"), Content::from("a"));
    }

    #[test]
    fn only_the_users_newest_images_are_refused() {
        let shows = |role| Message { role, content: image().into(), ..Message::default() };
        let says = |role| Message::text(role, "x");
        let calls = says(Role::Assistant);
        assert!(user_sends_one(&[shows(Role::User)]));
        assert!(!user_sends_one(&[shows(Role::User), calls.clone(), says(Role::User)]));
        assert!(!user_sends_one(&[says(Role::User), calls.clone(), shows(Role::Tool)]));
        let mut messages = [says(Role::User), calls, shows(Role::Tool), shows(Role::User)];
        assert!(!user_sends_one(&messages));
        leave_out(&mut messages);
        assert_eq!(messages[3].content.text(), STAND_IN);
        assert!(!are_in(&Prompt::Text("x".into())));
    }

    trait IntoPart {
        fn into_part(self) -> ContentPart;
    }

    impl IntoPart for Image {
        fn into_part(self) -> ContentPart {
            ContentPart::Image(self)
        }
    }
}
