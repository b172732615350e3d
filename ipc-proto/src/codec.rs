//! Length-delimited bincode frames. Only this module uses bincode.
//!
//! bincode is unmaintained (RUSTSEC-2025-0141). To replace it, replace [`encode`] and [`decode`].
//! A frame is a 4-byte big-endian length and that many bytes. A length over [`MAX_FRAME_BYTES`] is refused before any allocation,
//! and decoding never allocates more than this limit.

use std::io;
use std::marker::PhantomData;

use bincode::config::{Configuration, Limit, LittleEndian, Varint};
use bytes::{Bytes, BytesMut};
use serde::{Serialize, de::DeserializeOwned};
use tokio_util::codec::{Decoder, Encoder, LengthDelimitedCodec};

/// The maximum frame size in both directions: 64 MiB, twice the maximum HTTP body of the gateway.
pub const MAX_FRAME_BYTES: usize = 64 << 20;

type Config = Configuration<LittleEndian, Varint, Limit<MAX_FRAME_BYTES>>;

fn config() -> Config {
    bincode::config::standard().with_limit::<MAX_FRAME_BYTES>()
}

/// The bytes of one message, without its length.
///
/// # Errors
/// `InvalidInput`: the message cannot be encoded, or is larger than [`MAX_FRAME_BYTES`].
pub fn encode<T: Serialize>(message: &T) -> io::Result<Vec<u8>> {
    let bytes = bincode::serde::encode_to_vec(message, config())
        .map_err(|e| io::Error::new(io::ErrorKind::InvalidInput, e))?;
    if bytes.len() > MAX_FRAME_BYTES {
        let text = format!("message of {} bytes is over the frame limit of {MAX_FRAME_BYTES}", bytes.len());
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    Ok(bytes)
}

/// Decodes `bytes`, which must be exactly one message.
///
/// # Errors
/// `InvalidData`: the bytes are not exactly one message.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> io::Result<T> {
    let invalid = |text: String| io::Error::new(io::ErrorKind::InvalidData, text);
    let (message, used) =
        bincode::serde::decode_from_slice(bytes, config()).map_err(|e| invalid(format!("bad frame: {e}")))?;
    if used != bytes.len() {
        return Err(invalid(format!("bad frame: {} bytes left over", bytes.len() - used)));
    }
    Ok(message)
}

/// A codec of bincode frames: receives `In`, sends `Out`.
#[derive(Debug)]
pub struct Bincode<In, Out> {
    frames: LengthDelimitedCodec,
    messages: PhantomData<fn(Out) -> In>,
}

impl<In, Out> Default for Bincode<In, Out> {
    fn default() -> Self {
        let frames = LengthDelimitedCodec::builder().max_frame_length(MAX_FRAME_BYTES).new_codec();
        Self { frames, messages: PhantomData }
    }
}

impl<In: DeserializeOwned, Out> Decoder for Bincode<In, Out> {
    type Item = In;
    type Error = io::Error;

    fn decode(&mut self, buffer: &mut BytesMut) -> io::Result<Option<In>> {
        self.frames.decode(buffer)?.map(|frame| decode(&frame)).transpose()
    }
}

impl<In, Out: Serialize> Encoder<Out> for Bincode<In, Out> {
    type Error = io::Error;

    fn encode(&mut self, message: Out, buffer: &mut BytesMut) -> io::Result<()> {
        self.frames.encode(Bytes::from(encode(&message)?), buffer)
    }
}

#[cfg(test)]
mod tests;
