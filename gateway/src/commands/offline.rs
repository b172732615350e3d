//! The common parts of all commands on a home folder. They need no key and no running server: the owner of the folder owns all that is in
//! it. A running server notices the changes.

use std::fmt::Display;
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::Path;

use clap::Parser;
use ipc_proto::gateway::GatewayConfig;
use ipc_proto::{Error, ErrorKind, Origin, Result};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::protocols::common::body::{self, Body};
use crate::store::Db;
use crate::store::routing_store::RoutingStore;

/// The document that the command line writes to standard input.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Input {
    /// The settings of the home folder. On a command line or in the environment others would see the keys in them.
    pub(super) settings: GatewayConfig,
    /// The body of the same request over HTTP.
    body: Value,
}

impl Input {
    /// Reads standard input.
    ///
    /// # Errors
    /// It fails.
    pub(super) fn read() -> io::Result<Result<Self>> {
        let mut document = Vec::new();
        io::stdin().read_to_end(&mut document)?;
        // The usual message would quote a wrong value, which may be a key.
        let wrong = |_| Error::invalid("input", "the input is no document with settings and a body");
        Ok(serde_json::from_slice(&document).map_err(wrong))
    }

    /// The body.
    ///
    /// # Errors
    /// It is no `T`.
    pub(super) fn body<T: Body>(&mut self) -> Result<T> {
        body::from_json(self.body.take())
    }

    /// A value of the body that is no request's.
    ///
    /// # Errors
    /// It is no `T`.
    pub(super) fn plain<T: DeserializeOwned>(&mut self) -> Result<T> {
        serde_json::from_value(self.body.take()).map_err(|e| Error::invalid("body", e.to_string()))
    }

    /// The providers and routes of a home folder.
    ///
    /// # Errors
    /// As [`prepare`].
    pub(super) fn store(&self, home: &Path) -> Result<(Db, RoutingStore)> {
        prepare(home)?;
        let db = Db::new(home);
        Ok((db.clone(), RoutingStore::new(db, home, &self.settings, |_| {})))
    }
}

/// Runs a command on its arguments and its standard input, as [`run`] does.
///
/// # Errors
/// Standard input, output or error fails.
pub(super) fn run_with_input<A, F, E>(command: impl FnOnce(A, Input) -> F) -> io::Result<i32>
where
    A: Parser,
    F: Future<Output = Result<String, E>>,
    E: From<Error> + Display,
{
    let arguments = A::parse_from(std::env::args_os().skip(1));
    let input = Input::read()?;
    run(async { command(arguments, input?).await })
}

/// Runs a command. Writes its answer to standard output, or an error as one sentence to standard error. Returns the exit status.
///
/// # Errors
/// Standard output or error fails.
pub(super) fn run<E: Display>(command: impl Future<Output = Result<String, E>>) -> io::Result<i32> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match runtime.block_on(command) {
        Ok(answer) => io::stdout().write_all(answer.as_bytes()).map(|()| 0),
        Err(error) => writeln!(io::stderr(), "{error}").map(|()| 1),
    }
}

/// Creates the home folder if it is missing. Refuses one of another user: the database in it would change hands.
///
/// # Errors
/// The folder cannot be made, or is another user's.
pub(super) fn prepare(home: &Path) -> Result<()> {
    let refused = |text| Error::new(ErrorKind::PermissionDenied, Origin::Client, text);
    let mut builder = std::fs::DirBuilder::new();
    let created = builder.recursive(true).mode(0o700).create(home).and_then(|()| std::fs::metadata(home));
    let owner = created.map_err(|e| refused(format!("{}: {e}", home.display())))?.uid();
    let user = nix::unistd::geteuid();
    if user.as_raw() != owner {
        let home = home.display();
        let text = format!("{home} belongs to the user {owner}: run this as that user, not as {user}");
        return Err(refused(text));
    }
    Ok(())
}

/// An answer as one line of JSON.
///
/// # Errors
/// It cannot be written as JSON.
pub(super) fn json(answer: &impl Serialize) -> Result<String> {
    let text = serde_json::to_string(answer);
    text.map(|text| text + "\n").map_err(|e| Error::new(ErrorKind::Internal, Origin::Gateway, e.to_string()))
}
