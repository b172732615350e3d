//! `mlxd rm`.

use std::io::{BufRead, IsTerminal, Write};

use hub::{Cache, Removable};

use super::messages::say;
use super::{ModelsError, hub_settings, server_config, units};
use crate::client::{self, Home};
use crate::config::Environment;

/// Options of the command.
#[derive(Debug, clap::Args)]
pub(crate) struct Flags {
    /// The model's name, as `mlxd ls` shows it.
    model: String,
    /// Do not ask.
    #[arg(long, short)]
    yes: bool,
    #[command(flatten)]
    home: Home,
}

/// Removes a model from Hugging Face's cache or from the home's folder for models.
pub(super) async fn run(flags: Flags, environment: &Environment) -> Result<(), ModelsError> {
    let id = flags.model.as_str();
    let config = server_config(flags.home, environment)?;
    let cache = Cache::new(&hub_settings(environment)?.cache);
    let models = supervisor::models_on_disk(&config);
    let folder = models.iter().find(|model| model.id == id).map(|model| model.details.folder.as_path());
    let plan = Removable::plan(&cache, &config.home.join("models"), id, folder)?;
    say(&describe(&plan));
    if !flags.yes && !confirmed()? {
        return Err(ModelsError::Refused("nothing is removed: --yes removes without a question".into()));
    }
    if client::unload_if_running(&config.home, id).await? {
        say(&format!("{id} is unloaded"));
    }
    plan.remove(&cache)?;
    say(&format!("{id} is removed: {} are free again", units::bytes(plan.freed)));
    Ok(())
}

fn describe(plan: &Removable) -> String {
    let (id, folder) = (&plan.id, plan.folder.display());
    match (plan.is_link, plan.shared) {
        (true, _) => format!("{id}: the link {folder} is removed, and its target stays"),
        (_, 0) => format!("{id}: {folder} goes, which frees {}", units::bytes(plan.freed)),
        (_, shared) => format!(
            "{id}: {folder} goes, which frees {}; other models share {} of it, which stay",
            units::bytes(plan.freed),
            units::bytes(shared)
        ),
    }
}

/// Asks on a terminal. Without one the answer is no.
fn confirmed() -> std::io::Result<bool> {
    if !std::io::stdin().is_terminal() {
        return Ok(false);
    }
    write!(std::io::stderr().lock(), "Remove it? [y/N] ")?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn question_says_what_goes() {
        let folder = tempfile::tempdir().unwrap();
        let (cache, own) = (Cache::new(&folder.path().join("cache")), folder.path().join("models"));
        fs::create_dir_all(own.join("a")).unwrap();
        fs::write(own.join("a/config.json"), "12345").unwrap();
        std::os::unix::fs::symlink("a", own.join("b")).unwrap();
        let text = |id: &str| describe(&Removable::plan(&cache, &own, id, Some(&*own.join(id))).unwrap());
        assert!(text("a").ends_with("a goes, which frees 5 B"), "{}", text("a"));
        assert!(text("b").contains("its target stays"), "{}", text("b"));
    }
}
