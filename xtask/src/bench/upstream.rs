//! A provider that answers every request at once, for the benchmark of gateways.

use std::io::{BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

use super::http::Message;

/// Pieces of text in a stream.
const PIECES: usize = 16;

/// Listens until this program ends.
pub(super) struct Upstream {
    pub(super) address: SocketAddr,
}

impl Upstream {
    pub(super) fn start() -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // A connection ends when its client goes.
                std::thread::spawn(move || answer_all(&stream));
            }
        });
        Ok(Self { address })
    }
}

fn answer_all(stream: &TcpStream) -> anyhow::Result<()> {
    stream.set_nodelay(true)?;
    let (mut reader, mut writer) = (BufReader::new(stream), stream);
    let answers = Answers::new();
    while let Some(request) = Message::read(&mut reader)? {
        let is_chat = request.head.contains("/chat/completions");
        let is_stream =
            contains(&request.body, b"\"stream\":true") || contains(&request.body, b"\"stream\": true");
        writer.write_all(answers.choose(is_chat, is_stream))?;
    }
    Ok(())
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|at| at == part)
}

/// Each answer with its head.
struct Answers {
    chat: Vec<u8>,
    chat_stream: Vec<u8>,
    message: Vec<u8>,
    message_stream: Vec<u8>,
}

impl Answers {
    fn new() -> Self {
        let chat = r#"{"id":"chatcmpl-1","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"Hello there"},"finish_reason":"stop"}],"usage":{"prompt_tokens":9,"completion_tokens":2,"total_tokens":11}}"#;
        let message = r#"{"id":"msg_1","type":"message","role":"assistant","model":"m","content":[{"type":"text","text":"Hello there"}],"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":9,"output_tokens":2}}"#;
        Self {
            chat: whole(chat),
            chat_stream: events(&chat_events()),
            message: whole(message),
            message_stream: events(&message_events()),
        }
    }

    fn choose(&self, is_chat: bool, is_stream: bool) -> &[u8] {
        match (is_chat, is_stream) {
            (true, false) => &self.chat,
            (true, true) => &self.chat_stream,
            (false, false) => &self.message,
            (false, true) => &self.message_stream,
        }
    }
}

fn whole(body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}")
        .into_bytes()
}

fn events(text: &str) -> Vec<u8> {
    let length = text.len();
    format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n{length:x}\r\n{text}\r\n0\r\n\r\n"
    )
    .into_bytes()
}

fn chat_events() -> String {
    let chunk = |delta: &str, reason: &str| {
        format!(
            "data: {{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\
             \"choices\":[{{\"index\":0,\"delta\":{delta},\"finish_reason\":{reason}}}]}}\n\n"
        )
    };
    let pieces = chunk("{\"content\":\"word \"}", "null").repeat(PIECES);
    format!(
        "{}{pieces}{}data: [DONE]\n\n",
        chunk("{\"role\":\"assistant\",\"content\":\"\"}", "null"),
        chunk("{}", "\"stop\"")
    )
}

fn message_events() -> String {
    let event = |name: &str, rest: &str| format!("event: {name}\ndata: {{\"type\":\"{name}\"{rest}}}\n\n");
    let start = ",\"message\":{\"id\":\"msg_1\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"m\",\"content\":[],\
                 \"stop_reason\":null,\"stop_sequence\":null,\"usage\":{\"input_tokens\":9,\"output_tokens\":1}}";
    let piece =
        event("content_block_delta", ",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"word \"}");
    [
        event("message_start", start),
        event("content_block_start", ",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}"),
        piece.repeat(PIECES),
        event("content_block_stop", ",\"index\":0"),
        event(
            "message_delta",
            ",\"delta\":{\"stop_reason\":\"end_turn\",\"stop_sequence\":null},\"usage\":{\"output_tokens\":16}",
        ),
        event("message_stop", ""),
    ]
    .concat()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn events_are_json() {
        for text in [chat_events(), message_events()] {
            let data =
                text.lines().filter_map(|line| line.strip_prefix("data: ")).filter(|data| *data != "[DONE]");
            for data in data {
                serde_json::from_str::<Value>(data).unwrap_or_else(|error| panic!("{error}: {data}"));
            }
        }
    }
}
