//! Writes tokens and rendered prompts in each client's form. Pure.

use ipc_proto::prompt::{FormatUse, RenderedPrompt, Tokenized};

use crate::protocols::prompts::wire::{Format, Piece, PlainTokens, Rendered, Template, Token, Tokens};

/// Token ids in vLLM's form.
pub fn tokens(tokenized: Tokenized, shows_texts: bool) -> Tokens {
    let texts = tokenized.pieces.iter().map(|piece| String::from_utf8_lossy(piece).into_owned());
    Tokens {
        count: tokenized.tokens.len(),
        max_model_len: tokenized.max_context,
        token_strs: shows_texts.then(|| texts.collect()),
        tokens: tokenized.tokens,
    }
}

/// Token ids in llama.cpp's form.
pub fn plain_tokens(tokenized: Tokenized, shows_texts: bool) -> PlainTokens {
    let ids = tokenized.tokens.into_iter();
    if !shows_texts {
        return PlainTokens { tokens: ids.map(Token::Id).collect() };
    }
    let piece = |bytes: Vec<u8>| match String::from_utf8(bytes) {
        Ok(text) => Piece::Text(text),
        Err(error) => Piece::Bytes(error.into_bytes()),
    };
    let pieces = tokenized.pieces.into_iter().map(piece);
    PlainTokens { tokens: ids.zip(pieces).map(|(id, piece)| Token::Piece { id, piece }).collect() }
}

/// A rendered prompt with its template and formats.
pub fn rendered(model: String, prompt: RenderedPrompt) -> Rendered {
    let format = |used: FormatUse| Format { name: used.name, reason: used.reason };
    let (template, formats) = match prompt.template {
        Some(used) => {
            let template = Template {
                name: used.name,
                file: used.file,
                adaptations: used.adaptations,
                sanitized_control_tokens: used.sanitized,
            };
            (Some(template), Some((format(used.tool_format), format(used.reasoning_format))))
        }
        None => (None, None),
    };
    let (tool_format, reasoning_format) = formats.unzip();
    Rendered {
        model,
        token_count: prompt.tokens.len(),
        prompt: prompt.text,
        token_ids: prompt.tokens,
        max_model_len: prompt.max_context,
        template,
        tool_format,
        reasoning_format,
    }
}
