//! HTTP/1.1 messages in the recorded bytes of a connection.

/// Headers of a message.
const MAX_HEADERS: usize = 100;

/// A request or an answer.
pub(super) struct Message {
    /// Where it begins in the bytes.
    pub(super) begin: usize,
    /// The first byte after it.
    pub(super) end: usize,
    /// Method and path of a request; status of an answer.
    pub(super) line: String,
    /// The body as far as it came, without its framing.
    pub(super) body: Vec<u8>,
}

/// How the end of a body is found.
#[derive(Clone, Copy)]
enum Framing {
    Length(usize),
    Chunks,
    /// It ends with the connection.
    Rest,
}

/// The requests of a connection.
pub(super) fn requests(bytes: &[u8]) -> Vec<Message> {
    messages(bytes, |bytes| {
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut request = httparse::Request::new(&mut headers);
        let head = complete(request.parse(bytes))?;
        let framing = framing(request.headers).unwrap_or(Framing::Length(0));
        Some((head, format!("{} {}", request.method?, request.path?), framing))
    })
}

/// The answers of a connection, without interim ones.
pub(super) fn answers(bytes: &[u8]) -> Vec<Message> {
    let mut all = messages(bytes, |bytes| {
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut answer = httparse::Response::new(&mut headers);
        let head = complete(answer.parse(bytes))?;
        let framing = match answer.code? {
            100 | 102..200 | 204 | 304 => Framing::Length(0),
            _ => framing(answer.headers).unwrap_or(Framing::Rest),
        };
        Some((head, answer.code?.to_string(), framing))
    });
    all.retain(|answer| answer.line == "101" || !answer.line.starts_with('1'));
    all
}

fn complete(parsed: httparse::Result<usize>) -> Option<usize> {
    match parsed.ok()? {
        httparse::Status::Complete(head) => Some(head),
        httparse::Status::Partial => None,
    }
}

fn framing(headers: &[httparse::Header]) -> Option<Framing> {
    let value = |name: &str| {
        let header = headers.iter().find(|header| header.name.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(header.value).ok()
    };
    if value("transfer-encoding").is_some_and(|coding| coding.contains("chunked")) {
        return Some(Framing::Chunks);
    }
    value("content-length")?.parse().ok().map(Framing::Length)
}

fn messages(bytes: &[u8], head: impl Fn(&[u8]) -> Option<(usize, String, Framing)>) -> Vec<Message> {
    let (mut all, mut begin) = (Vec::new(), 0);
    while let Some((length, line, framing)) = head(&bytes[begin..]) {
        let (body, used) = body(&bytes[begin + length..], framing);
        let end = begin + length + used;
        all.push(Message { begin, end, line, body });
        begin = end;
    }
    all
}

/// The body at the beginning of `bytes`, and the bytes that it takes.
fn body(bytes: &[u8], framing: Framing) -> (Vec<u8>, usize) {
    match framing {
        Framing::Length(length) => {
            let length = length.min(bytes.len());
            (bytes[..length].to_vec(), length)
        }
        Framing::Rest => (bytes.to_vec(), bytes.len()),
        Framing::Chunks => chunks(bytes),
    }
}

fn chunks(bytes: &[u8]) -> (Vec<u8>, usize) {
    let (mut body, mut at) = (Vec::new(), 0);
    while let Ok(httparse::Status::Complete((line, size))) = httparse::parse_chunk_size(&bytes[at..]) {
        let begin = at + line;
        let end = (begin + size as usize).min(bytes.len());
        body.extend_from_slice(&bytes[begin..end]);
        // Each chunk ends with a line break; the last one is empty.
        at = (end + 2).min(bytes.len());
        if size == 0 {
            break;
        }
    }
    (body, at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_in_chunks_lose_their_framing() {
        let bytes = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n\
            HTTP/1.1 404 Not Found\r\ncontent-length: 2\r\n\r\nno";
        let all = answers(bytes);
        let seen: Vec<_> = all.iter().map(|answer| (answer.line.as_str(), answer.body.as_slice())).collect();
        assert_eq!(seen, [("200", &b"abcde"[..]), ("404", &b"no"[..])]);
    }

    #[test]
    fn requests_on_one_connection_are_told_apart() {
        let bytes = b"GET /a HTTP/1.1\r\nhost: x\r\n\r\nPOST /b HTTP/1.1\r\ncontent-length: 2\r\n\r\n{}";
        let all = requests(bytes);
        let seen: Vec<_> =
            all.iter().map(|request| (request.line.as_str(), request.body.as_slice())).collect();
        assert_eq!(seen, [("GET /a", &b""[..]), ("POST /b", &b"{}"[..])]);
        assert_eq!(all[1].begin, 28);
    }

    #[test]
    fn interim_answers_are_left_out() {
        let bytes = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
        assert_eq!(answers(bytes).iter().map(|answer| answer.line.as_str()).collect::<Vec<_>>(), ["200"]);
    }

    #[test]
    fn cut_off_answer_keeps_what_came() {
        let bytes = b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc";
        assert_eq!(answers(bytes)[0].body, b"abc");
    }
}
