//! Calls to encoders. A cancelled call drops its receiver, and then the engine drops the job.

use std::sync::Arc;

use ipc_proto::embed::{EmbedRequest, Embeddings, Input, RerankRequest, Scores};
use ipc_proto::worker::{ModelInfo, ModelKind};
use ipc_proto::{Error, ErrorKind, Field, Origin, Result};
use tokio::sync::oneshot;

use super::Server;
use crate::embed::admission::{EncoderModel, shorten};
use crate::embed::{EncoderInput, Job};
use crate::engine::command::Command;

/// Checks the kind of the model.
///
/// # Errors
/// When the model is of another kind.
pub(super) fn require_kind(info: &ModelInfo, wanted: ModelKind) -> Result<()> {
    if info.kind == wanted {
        return Ok(());
    }
    let does = match info.kind {
        ModelKind::Generate => "generates text",
        ModelKind::Embed => "turns texts into vectors (embeddings)",
        ModelKind::Rerank => "ranks documents (rerank)",
    };
    let not = match wanted {
        ModelKind::Generate => "generates no text",
        ModelKind::Embed => "makes no embeddings",
        ModelKind::Rerank => "does not rerank",
    };
    Err(Error::invalid(Field::Model, format!("this model {does} and {not}")))
}

/// The bytes of an input's text.
fn text_bytes(input: &Input) -> usize {
    match input {
        Input::Text(text) => text.len(),
        Input::Tokens(_) => 0,
    }
}

impl Server {
    /// Texts → vectors.
    pub(super) async fn embed_texts(&self, request: EmbedRequest) -> Result<Embeddings> {
        let dimensions = request.dimensions;
        let bytes = request.inputs.iter().map(text_bytes).sum();
        let work =
            move |reader: &EncoderModel, wanted: &dyn Fn() -> bool| reader.embed_inputs(request, wanted);
        let (mut vectors, tokens) = self.run(ModelKind::Embed, bytes, work).await?;
        shorten(&mut vectors, dimensions);
        Ok(Embeddings { vectors, tokens, capacity: self.admission_limits.capacity(ModelKind::Embed) })
    }

    /// Pairs of query and document → scores.
    pub(super) async fn rerank_documents(&self, request: RerankRequest) -> Result<Scores> {
        let bytes = request.documents.iter().chain([&request.query]).map(String::len).sum();
        let work =
            move |reader: &EncoderModel, wanted: &dyn Fn() -> bool| reader.rerank_inputs(&request, wanted);
        let (scores, tokens) = self.run(ModelKind::Rerank, bytes, work).await?;
        let capacity = self.admission_limits.capacity(ModelKind::Rerank);
        Ok(Scores { scores: scores.into_iter().flatten().collect(), tokens, capacity })
    }

    /// Tokenises and runs the texts. Returns the results and the number of tokens.
    async fn run(
        &self,
        kind: ModelKind,
        bytes: usize,
        tokenise: impl FnOnce(&EncoderModel, &dyn Fn() -> bool) -> Result<Vec<EncoderInput>> + Send + 'static,
    ) -> Result<(Vec<Vec<f32>>, u64)> {
        let fault = |kind, text: &str| Error::new(kind, Origin::Worker, text);
        let ready = self.ready()?;
        require_kind(&ready.info, kind)?;
        let reader = ready.reader.map(|reader| Arc::clone(&reader));
        let reader = reader.ok_or_else(|| fault(ErrorKind::Internal, "the model has no reader"))?;
        let permit = self.admission_limits.acquire(kind, 1, 0)?.swap_remove(0);
        let pieces = self.texts.run(bytes, move |wanted| tokenise(&reader, wanted)).await?;
        let tokens = pieces.iter().map(|piece| piece.tokens.len() as u64).sum();
        let stopped = || fault(ErrorKind::Unavailable, "the worker has stopped");
        let (reply, answer) = oneshot::channel();
        let command = Command::Embed(Box::new(Job { inputs: pieces, reply, permit }));
        self.engine.send(command).map_err(|_| stopped())?;
        Ok((answer.await.map_err(|_| stopped())??, tokens))
    }
}
