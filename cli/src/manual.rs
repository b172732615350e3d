//! `mlxd completions` and `mlxd man`: this command's description for a shell and for `man`.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::{Command, CommandFactory};
use clap_complete::Shell;

/// Options of `mlxd man`.
#[derive(Debug, clap::Args)]
pub(crate) struct ManFlags {
    /// Write a page for each command into this folder [default: the main page, to standard output].
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// Writes a shell's completions to standard output.
pub(crate) fn completions<C: CommandFactory>(shell: Shell) -> std::io::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut C::command(), "mlxd", &mut script);
    std::io::stdout().lock().write_all(&script)
}

/// Writes the manual.
pub(crate) fn man<C: CommandFactory>(flags: &ManFlags) -> std::io::Result<()> {
    match &flags.out {
        None => std::io::stdout().lock().write_all(&page(C::command())?),
        Some(folder) => {
            std::fs::create_dir_all(folder)?;
            write_pages(C::command(), "mlxd".to_owned(), folder)
        }
    }
}

fn page(command: Command) -> std::io::Result<Vec<u8>> {
    let mut page = Vec::new();
    clap_mangen::Man::new(command).render(&mut page)?;
    Ok(page)
}

/// The page of a command, and those of the commands below it.
fn write_pages(command: Command, name: String, folder: &Path) -> std::io::Result<()> {
    let below: Vec<Command> =
        command.get_subcommands().filter(|command| !command.is_hide_set()).cloned().collect();
    // A command borrows its name for as long as the program runs, which ends soon.
    let name: &'static str = name.leak();
    std::fs::write(folder.join(format!("{name}.1")), page(command.name(name))?)?;
    for command in below {
        let name = format!("{name}-{}", command.get_name());
        write_pages(command, name, folder)?;
    }
    Ok(())
}
