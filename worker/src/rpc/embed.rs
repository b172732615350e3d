//! Calls of models that read texts. A call that is dropped drops its receiver, by which the engine knows.

use std::sync::Arc;

use ipc_proto::embed::{EmbedRequest, Embeddings, RerankRequest, Scores};
use ipc_proto::worker::{ModelInfo, ModelKind};
use ipc_proto::{Error, ErrorKind, Result, Source};
use tokio::sync::oneshot;

use super::Server;
use crate::embed::admission::{Reader, shorten};
use crate::embed::{Job, Piece};
use crate::engine::command::Command;

/// Whether the model does what is asked of it.
///
/// # Errors
/// When it does something else.
pub(super) fn expect(info: &ModelInfo, wanted: ModelKind) -> Result<()> {
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
    Err(Error::invalid("model", format!("this model {does} and {not}")))
}

impl Server {
    /// Texts → vectors.
    pub(super) async fn read(&self, request: EmbedRequest) -> Result<Embeddings> {
        let dimensions = request.dimensions;
        let (mut vectors, tokens) = self.run(ModelKind::Embed, move |reader| reader.pieces(request)).await?;
        shorten(&mut vectors, dimensions);
        Ok(Embeddings { vectors, tokens, room: self.places.room(ModelKind::Embed) })
    }

    /// Pairs of texts → scores.
    pub(super) async fn judge(&self, request: RerankRequest) -> Result<Scores> {
        let (scores, tokens) = self.run(ModelKind::Rerank, move |reader| reader.pairs(&request)).await?;
        let room = self.places.room(ModelKind::Rerank);
        Ok(Scores { scores: scores.into_iter().flatten().collect(), tokens, room })
    }

    /// Tokenises, has it run, and counts tokens.
    async fn run(
        &self,
        kind: ModelKind,
        tokenise: impl FnOnce(&Reader) -> Result<Vec<Piece>> + Send + 'static,
    ) -> Result<(Vec<Vec<f32>>, u64)> {
        let fault = |kind, text: &str| Error::new(kind, Source::Worker, text);
        let ready = self.ready()?;
        expect(&ready.info, kind)?;
        let reader = ready.reader.map(|reader| Arc::clone(&reader));
        let reader = reader.ok_or_else(|| fault(ErrorKind::Internal, "the model has no reader"))?;
        let place = self.places.take(kind)?;
        // Many texts take milliseconds to tokenise: not on the threads that move frames.
        let pieces = tokio::task::spawn_blocking(move || tokenise(&reader)).await;
        let pieces =
            pieces.map_err(|e| fault(ErrorKind::Internal, &format!("tokenising failed: {e}"))).flatten()?;
        let tokens = pieces.iter().map(|piece| piece.tokens.len() as u64).sum();
        let stopped = || fault(ErrorKind::Unavailable, "the worker has stopped");
        let (reply, answer) = oneshot::channel();
        let command = Command::Embed(Box::new(Job { pieces, reply, place }));
        self.engine.send(command).map_err(|_| stopped())?;
        Ok((answer.await.map_err(|_| stopped())??, tokens))
    }
}
