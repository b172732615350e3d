//! Passes a document of settings to a child. Other users see command lines, and processes of the same user see environments. A pipe is
//! seen by neither.

use std::io::PipeReader;

use secrecy::{ExposeSecret, SecretString};
use tokio::io::AsyncWriteExt;
use tokio::net::unix::pipe;

/// A pipe from which one child reads the document. A task writes it, so a document of any length blocks nothing.
pub(crate) fn pipe(document: &SecretString) -> std::io::Result<PipeReader> {
    let (reader, writer) = std::io::pipe()?;
    let mut writer = pipe::Sender::from_owned_fd(writer.into())?;
    let document = document.clone();
    tokio::spawn(async move {
        // An error means that the child has ended, which its owner notices.
        let _ = writer.write_all(document.expose_secret().as_bytes()).await;
    });
    Ok(reader)
}
