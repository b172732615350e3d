//! Text messages in the recorded frames of a WebSocket (RFC 6455, section 5.2), without extensions.

/// A text message.
pub(super) struct Text {
    /// Where its first frame begins in the bytes.
    pub(super) begin: usize,
    /// Its text as far as it came.
    pub(super) text: String,
}

const TEXT: u8 = 1;
const CONTINUATION: u8 = 0;

/// The text messages of one direction. Control frames and binary messages are left out.
pub(super) fn texts(bytes: &[u8]) -> Vec<Text> {
    let (mut all, mut at) = (Vec::new(), 0);
    let mut message: Option<(usize, Vec<u8>)> = None;
    while let Some(Frame { operation, is_last, payload, length }) = frame(&bytes[at..]) {
        match (operation, &mut message) {
            (TEXT, _) => message = Some((at, payload)),
            (CONTINUATION, Some((_, text))) => text.extend(payload),
            _ => {}
        }
        if matches!(operation, TEXT | CONTINUATION)
            && is_last
            && let Some((begin, text)) = message.take()
        {
            all.push(Text { begin, text: String::from_utf8_lossy(&text).into_owned() });
        }
        at += length;
    }
    all
}

struct Frame {
    operation: u8,
    is_last: bool,
    payload: Vec<u8>,
    /// Bytes of the whole frame.
    length: usize,
}

/// The frame at the beginning of `bytes`, if it is whole.
fn frame(bytes: &[u8]) -> Option<Frame> {
    let [first, second] = *bytes.first_chunk()?;
    let (size, mut at) = match second & 0x7f {
        126 => (u64::from(u16::from_be_bytes(*bytes[2..].first_chunk()?)), 4),
        127 => (u64::from_be_bytes(*bytes[2..].first_chunk()?), 10),
        small => (u64::from(small), 2),
    };
    let mask: [u8; 4] = if second & 0x80 == 0 {
        [0; 4]
    } else {
        at += 4;
        *bytes[at - 4..].first_chunk()?
    };
    let length = at + usize::try_from(size).ok()?;
    let payload = bytes.get(at..length)?.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask);
    Some(Frame { operation: first & 0xf, is_last: first & 0x80 != 0, payload: payload.collect(), length })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masked_and_split_messages_are_read_without_control_frames() {
        let masked = [0x81, 0x82, 1, 2, 3, 4, b'h' ^ 1, b'i' ^ 2];
        let split = [0x01, 1, b'a', 0x89, 0, 0x80, 1, b'b'];
        let long = [&[0x81, 126, 0, 200][..], &[b'x'; 200]].concat();
        let all = texts(&[&masked[..], &split, &long, &[0x81, 9, b'c']].concat());
        let seen: Vec<_> = all.iter().map(|text| (text.begin, text.text.as_str())).collect();
        assert_eq!(seen, [(0, "hi"), (8, "ab"), (16, &*"x".repeat(200))]);
    }
}
