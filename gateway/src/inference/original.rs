//! A request as the client sent it, for a provider that speaks the client's protocol.

use hyper::HeaderMap;
use hyper::body::Bytes;
use ipc_proto::Error;
use ipc_proto::gateway::ProviderKind;

/// A protocol that clients and providers can both speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WireProtocol {
    /// OpenAI's chat completions.
    Chat,
    /// OpenAI's Responses.
    Responses,
    /// Anthropic's Messages.
    Messages,
}

impl WireProtocol {
    /// Whether providers of this kind speak it.
    pub fn is_spoken_by(self, kind: ProviderKind) -> bool {
        match kind {
            ProviderKind::Openai => matches!(self, Self::Chat | Self::Responses),
            ProviderKind::OpenaiCompatible => self == Self::Chat,
            ProviderKind::Anthropic => self == Self::Messages,
        }
    }
}

/// A request as the client sent it.
#[derive(Debug, Clone, PartialEq)]
pub struct Original {
    /// The client's protocol.
    pub protocol: WireProtocol,
    /// The model's name as the client gave it.
    pub model: String,
    /// Whether the answer is to be a stream.
    pub streamed: bool,
    /// A JSON object.
    pub body: Bytes,
    /// The client's headers that choose a version or a feature of the protocol.
    pub headers: HeaderMap,
    /// Why the request has no neutral form. Only a provider of the same protocol can answer it then.
    pub refused: Option<Error>,
}
