//! `mlxd-gateway requests`: the request log of a home folder, for the command line.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::Parser;
use ipc_proto::{Error, ErrorKind, Origin, Result};

use super::offline::{self, Input, json, prepare};
use crate::admin::requests;
use crate::admin::requests::export::Pages;
use crate::store::Db;

/// The first argument of a gateway that only reads the request log.
pub const COMMAND: &str = "requests";

/// Reads the request log of a home folder, by the query in the body. Writes JSON to standard output, as the admin API answers.
#[derive(Debug, Parser)]
#[command(name = "mlxd-gateway requests", version)]
struct Arguments {
    /// The folder of the database.
    #[arg(long)]
    home: PathBuf,
    /// Write all requests that the query selects, in its form, instead of a page.
    #[arg(long)]
    export: bool,
    /// Show the request of this id, or the latest one with this `x-request-id`.
    #[arg(long, conflicts_with = "export")]
    show: Option<String>,
}

/// Runs the command. Writes an error as one sentence to standard error. Returns the exit status.
///
/// # Errors
/// Standard input or output fails.
pub fn run() -> io::Result<i32> {
    offline::run_with_input(answer)
}

async fn answer(Arguments { home, export, show }: Arguments, mut input: Input) -> Result<String> {
    prepare(&home)?;
    let db = Db::new(&home);
    let answer = if let Some(id) = show {
        json(&requests::detail(&db, &id).await?)
    } else if export {
        let mut pages = Pages::new(db.clone(), input.plain()?)?;
        write(&mut pages, &mut io::stdout()).await.map(|()| String::new())
    } else {
        json(&requests::page(&db, input.plain()?).await?)
    };
    db.close().await;
    answer
}

/// Writes the pages until the end, or until nothing reads them any more.
async fn write(pages: &mut Pages, to: &mut impl Write) -> Result<()> {
    while let Some(page) = pages.next().await? {
        match to.write_all(&page) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            written => written
                .map_err(|e| Error::new(ErrorKind::Internal, Origin::Gateway, format!("the output: {e}")))?,
        }
    }
    Ok(())
}
