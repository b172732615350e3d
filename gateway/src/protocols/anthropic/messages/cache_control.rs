//! Checks `cache_control` as Anthropic's API does. The marks have no further effect, since every prompt is cached. Pure.

use ipc_proto::{Error, Result};

use crate::protocols::anthropic::messages::wire::{Block, CacheControl, Content, Request};

/// Maximum number of marks in one request.
const MAX_MARKS: usize = 4;

/// Checks the form and the number of the marks.
///
/// # Errors
/// Returns an error that names the invalid field.
pub(super) fn check(request: &Request) -> Result<()> {
    let mut marks = Marks::default();
    marks.add(String::new, request.cache_control.as_ref())?;
    for (at, tool) in request.tools.iter().flatten().enumerate() {
        marks.add(|| format!("tools[{at}]."), tool.cache_control.as_ref())?;
    }
    marks.add_content("system", request.system.as_ref())?;
    for (at, message) in request.messages.iter().enumerate() {
        marks.add_content(&format!("messages[{at}].content"), message.content.as_ref())?;
    }
    match marks.count {
        0..=MAX_MARKS => Ok(()),
        count => {
            let text = format!("cache_control: at most {MAX_MARKS} blocks may have it, not {count}");
            Err(Error::invalid("cache_control", text))
        }
    }
}

#[derive(Default)]
struct Marks {
    count: usize,
}

impl Marks {
    fn add(&mut self, path: impl Fn() -> String, mark: Option<&CacheControl>) -> Result<()> {
        let Some(mark) = mark else { return Ok(()) };
        self.count += 1;
        let wrong = |field: &str, text: &str| {
            let name = format!("{}cache_control.{field}", path());
            Err(Error::invalid(&name, format!("{name} {text}")))
        };
        if mark.r#type.as_deref() != Some("ephemeral") {
            return wrong("type", "must be \"ephemeral\"");
        }
        match mark.ttl.as_deref() {
            None | Some("5m" | "1h") => Ok(()),
            Some(_) => wrong("ttl", "must be \"5m\" or \"1h\""),
        }
    }

    fn add_content(&mut self, path: &str, content: Option<&Content>) -> Result<()> {
        match content {
            None | Some(Content::Text(_)) => Ok(()),
            Some(Content::One(block)) => self.add_block(path, block),
            Some(Content::Blocks(blocks)) => blocks
                .iter()
                .enumerate()
                .try_for_each(|(at, block)| self.add_block(&format!("{path}[{at}]"), block)),
        }
    }

    fn add_block(&mut self, path: &str, block: &Block) -> Result<()> {
        self.add(|| format!("{path}."), block.cache_control.as_ref())?;
        self.add_content(&format!("{path}.content"), block.content.as_ref())
    }
}
