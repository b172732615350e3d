//! `mlxd rm`.

use std::fs;
use std::io::{BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};

use hub::{Cache, HubError};
use supervisor::{DiskModel, Owner};

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

/// The effects of a removal.
struct Plan {
    folder: PathBuf,
    /// Bytes.
    freed: u64,
    /// Bytes that other models share.
    shared: u64,
    /// The folder is a link: only that goes.
    is_link: bool,
    is_cached: bool,
}

/// Removes a model from Hugging Face's cache or from the home's folder for models.
pub(super) async fn run(flags: Flags, environment: &Environment) -> Result<(), ModelsError> {
    let id = flags.model.as_str();
    let config = server_config(flags.home, environment)?;
    let cache = Cache::new(&hub_settings(environment)?.cache);
    let own = config.home.join("models");
    let plan = plan(&cache, id, &own, &supervisor::models_on_disk(&config))?;
    say(&describe(id, &plan));
    if !flags.yes && !confirmed()? {
        return Err(ModelsError::Refused("nothing is removed: --yes removes without a question".into()));
    }
    if client::unload_if_running(&config.home, id).await? {
        say(&format!("{id} is unloaded"));
    }
    if plan.is_cached {
        cache.remove(id)?;
    } else {
        let file = |cause| ModelsError::File { path: plan.folder.clone(), cause };
        let removed =
            if plan.is_link { fs::remove_file(&plan.folder) } else { fs::remove_dir_all(&plan.folder) };
        removed.map_err(file)?;
    }
    say(&format!("{id} is removed: {} are free again", units::bytes(plan.freed)));
    Ok(())
}

fn plan(cache: &Cache, id: &str, own: &Path, models: &[DiskModel]) -> Result<Plan, ModelsError> {
    let model = models.iter().find(|model| model.id == id);
    match model.map(|model| (&model.owner, &model.details.folder)) {
        Some((Owner::Folder(store), folder)) if store == own && folder != own => {
            let is_link = folder.is_symlink();
            let freed = if is_link { 0 } else { folder_bytes(folder) };
            return Ok(Plan { folder: folder.clone(), freed, shared: 0, is_link, is_cached: false });
        }
        Some((Owner::Folder(_) | Owner::Foreign(_), folder)) => {
            let text =
                format!("\"{id}\" is in {}, which mlxd does not manage: remove it there", folder.display());
            return Err(ModelsError::Refused(text));
        }
        Some((Owner::HubCache, _)) | None => {}
    }
    // Also a download that ended early, which is no model yet.
    let removal = match cache.plan_removal(id) {
        Err(HubError::NotCached(_)) => {
            let text = format!("no model \"{id}\" is on disk: `mlxd ls` lists those that are");
            return Err(ModelsError::Refused(text));
        }
        removal => removal?,
    };
    Ok(Plan {
        folder: removal.folder,
        freed: removal.freed,
        shared: removal.shared,
        is_link: false,
        is_cached: true,
    })
}

fn describe(id: &str, plan: &Plan) -> String {
    let folder = plan.folder.display();
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

fn folder_bytes(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    let bytes = |path: PathBuf| match fs::symlink_metadata(&path) {
        Ok(meta) if meta.is_dir() => folder_bytes(&path),
        Ok(meta) => meta.len(),
        Err(_) => 0,
    };
    entries.map(|entry| bytes(entry.path())).sum()
}

fn say(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

#[cfg(test)]
mod tests {
    use ipc_proto::supervisor::Details;

    use super::*;

    fn model(id: &str, folder: &Path, owner: Owner) -> DiskModel {
        let details = Details { folder: folder.to_owned(), ..Details::default() };
        DiskModel { id: id.into(), details, bytes: 0, created: 0, owner }
    }

    #[test]
    fn only_the_cache_and_the_homes_folder_are_managed() {
        let folder = tempfile::tempdir().unwrap();
        let (cache, own) = (Cache::new(&folder.path().join("cache")), folder.path().join("models"));
        fs::create_dir_all(own.join("a")).unwrap();
        fs::write(own.join("a/config.json"), "12345").unwrap();
        std::os::unix::fs::symlink("a", own.join("b")).unwrap();
        let other = PathBuf::from("/elsewhere");
        let models = [
            model("a", &own.join("a"), Owner::Folder(own.clone())),
            model("b", &own.join("b"), Owner::Folder(own.clone())),
            model("c", &other.join("c"), Owner::Folder(other.clone())),
            model("d", &other.join("d"), Owner::Foreign(other.clone())),
        ];
        let of = |id: &str| plan(&cache, id, &own, &models);
        let own_model = of("a").unwrap();
        assert!(
            describe("a", &own_model).ends_with("a goes, which frees 5 B"),
            "{}",
            describe("a", &own_model)
        );
        assert!(describe("b", &of("b").unwrap()).contains("its target stays"));
        for id in ["c", "d"] {
            assert!(of(id).err().unwrap().to_string().contains("/elsewhere"), "{id}");
        }
        assert!(of("none").err().unwrap().to_string().contains("mlxd ls"));
    }
}
