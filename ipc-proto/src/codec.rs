//! The only place that knows bincode: length-delimited bincode frames.
//!
//! bincode is unmaintained (RUSTSEC-2025-0141), hence one module: replacing it means replacing [`encode`] and [`decode`].
//! A frame is a 4-byte big-endian length, then that many bytes. Lengths over [`MAX_FRAME_BYTES`] are refused before
//! anything is allocated, and decoding never allocates more than the same limit.

use std::io;
use std::marker::PhantomData;

use bincode::config::{Configuration, Limit, LittleEndian, Varint};
use bytes::{Bytes, BytesMut};
use serde::{Serialize, de::DeserializeOwned};
use tokio_util::codec::{Decoder, Encoder, LengthDelimitedCodec};

/// The largest frame either side sends or takes: 64 MiB, twice the largest HTTP body the gateway lets in.
pub const MAX_FRAME_BYTES: usize = 64 << 20;

type Config = Configuration<LittleEndian, Varint, Limit<MAX_FRAME_BYTES>>;

fn config() -> Config {
    bincode::config::standard().with_limit::<MAX_FRAME_BYTES>()
}

/// The bytes of one message, without its length.
///
/// # Errors
/// `InvalidInput` when the message cannot be encoded or is larger than [`MAX_FRAME_BYTES`].
pub fn encode<T: Serialize>(message: &T) -> io::Result<Vec<u8>> {
    let bytes = bincode::serde::encode_to_vec(message, config())
        .map_err(|e| io::Error::new(io::ErrorKind::InvalidInput, e))?;
    if bytes.len() > MAX_FRAME_BYTES {
        let text = format!("message of {} bytes is over the frame limit of {MAX_FRAME_BYTES}", bytes.len());
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    Ok(bytes)
}

/// The message in `bytes`, which must be used up exactly.
///
/// # Errors
/// `InvalidData` when the bytes are not one whole message.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> io::Result<T> {
    let invalid = |text: String| io::Error::new(io::ErrorKind::InvalidData, text);
    let (message, used) =
        bincode::serde::decode_from_slice(bytes, config()).map_err(|e| invalid(format!("bad frame: {e}")))?;
    if used != bytes.len() {
        return Err(invalid(format!("bad frame: {} bytes left over", bytes.len() - used)));
    }
    Ok(message)
}

/// Frames of bincode: takes `In`, sends `Out`.
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
