//! Reads blocks as texts and images. Pure.

use ipc_proto::generate::{ContentPart, Image, ImageDetail};
use ipc_proto::{Error, Result};
use serde_json::Value;

use crate::protocols::anthropic::messages::wire::{Block, Content};
use crate::protocols::common::{images, media};

/// Returns the blocks of a content. A string is one block.
pub(super) fn blocks(content: Content) -> Vec<Block> {
    match content {
        Content::Text(text) => vec![Block { r#type: "text".into(), text: Some(text), ..Block::default() }],
        Content::Blocks(blocks) => blocks,
        Content::One(block) => vec![*block],
    }
}

pub(super) fn missing(name: &str, field: &str) -> Error {
    let name = format!("{name}.{field}");
    Error::invalid(&name, format!("{name} is missing"))
}

fn unsupported(name: &str, what: &str) -> Error {
    Error::invalid(name, format!("{name}: {what} is not supported by this server"))
}

/// Returns the text of a `text` block.
pub(super) fn plain_text(name: &str, block: Block) -> Result<String> {
    match &*block.r#type {
        "text" => block.text.ok_or_else(|| missing(name, "text")),
        other => Err(unsupported(name, &format!("a block of type \"{other}\" here"))),
    }
}

/// Returns the text or the image of a block, or a stand-in for other media.
///
/// # Errors
/// Returns an error that names an unknown block, or media if they are refused here.
pub(super) fn part(name: &str, block: Block, refuses_media: bool) -> Result<ContentPart> {
    if block.r#type == "image" {
        return images::part(image(name, block), refuses_media);
    }
    text(name, block, refuses_media).map(ContentPart::Text)
}

fn image(name: &str, block: Block) -> Result<Image> {
    let source = block.source.ok_or_else(|| missing(name, "source"))?;
    let name = format!("{name}.source");
    let field = |field: &str| source[field].as_str().ok_or_else(|| missing(&name, field));
    let source = match field("type")? {
        "base64" => images::from_base64(&format!("{name}.data"), field("data")?)?,
        "url" => images::from_url(&format!("{name}.url"), field("url")?)?,
        other => return Err(unsupported(&name, &format!("a source of type \"{other}\""))),
    };
    Ok(Image { source, detail: ImageDetail::Auto })
}

fn text(name: &str, block: Block, refuses_media: bool) -> Result<String> {
    let cited = block.citations.as_ref().and_then(|citations| citations.get("enabled"));
    if cited == Some(&Value::Bool(true)) {
        return Err(unsupported(&format!("{name}.citations"), "an answer with citations"));
    }
    match &*block.r#type {
        "document" => document(name, block, refuses_media),
        "search_result" => {
            let source = block.source.as_ref().and_then(Value::as_str).map(str::to_owned);
            let text = join(name, block.content.unwrap_or(Content::Blocks(Vec::new())), refuses_media)?;
            Ok(in_tag("search_result", &[("source", source), ("title", block.title)], &text))
        }
        kind => match media::medium(kind) {
            Some(medium) => media::stand_in(name, medium, refuses_media),
            None => plain_text(name, block),
        },
    }
}

fn document(name: &str, block: Block, refuses_media: bool) -> Result<String> {
    let source = block.source.ok_or_else(|| missing(name, "source"))?;
    let name = format!("{name}.source");
    let text = match source.get("type").and_then(Value::as_str) {
        Some("text") => source.get("data").and_then(Value::as_str).map(str::to_owned),
        Some("content") => {
            let content = source.get("content").cloned().map(serde_json::from_value::<Content>);
            content
                .and_then(std::result::Result::ok)
                .map(|content| join(&format!("{name}.content"), content, refuses_media))
                .transpose()?
        }
        Some("base64" | "url" | "file") => Some(media::stand_in(&name, "document", refuses_media)?),
        other => {
            let what = format!("a source of type \"{}\"", other.unwrap_or_default());
            return Err(unsupported(&name, &what));
        }
    };
    let text = text.ok_or_else(|| Error::invalid(&name, format!("{name} holds no text")))?;
    Ok(in_tag("document", &[("title", block.title), ("context", block.context)], &text))
}

fn join(name: &str, content: Content, refuses_media: bool) -> Result<String> {
    let read = |(at, block): (usize, Block)| {
        let name = format!("{name}[{at}]");
        match media::medium(&block.r#type) {
            Some(medium) => media::stand_in(&name, medium, refuses_media),
            None => plain_text(&name, block),
        }
    };
    Ok(blocks(content).into_iter().enumerate().map(read).collect::<Result<Vec<_>>>()?.join("\n"))
}

fn in_tag(tag: &str, attributes: &[(&str, Option<String>)], text: &str) -> String {
    let given = attributes.iter().filter_map(|(name, value)| Some((name, value.as_ref()?)));
    let given: String = given.map(|(name, value)| format!(" {name}={value:?}")).collect();
    format!("<{tag}{given}>\n{text}\n</{tag}>")
}
