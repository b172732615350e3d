//! Adds a plan to the text of `config.toml`. What is there stays as it is, comments included. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use toml_edit::{Array, ArrayOfTables, DocumentMut, InlineTable, Item, Key, Table, TableLike, Value, value};

use super::plan::{Left, Model, Plan, Provider, ProviderModel, Route};

mod backends;

/// What is here before the import.
pub(super) struct Present<'a> {
    /// The text of `config.toml`.
    pub(super) config: &'a str,
    /// Models with settings in `settings.toml`, which count instead of those in `config.toml`.
    pub(super) overridden: &'a BTreeSet<String>,
    /// The ids of the models on disk.
    pub(super) models: &'a BTreeSet<String>,
    /// Whether the environment has a variable.
    pub(super) has_variable: &'a dyn Fn(&str) -> bool,
    /// The bytes of a file, if it is there.
    pub(super) size: &'a dyn Fn(&Path) -> Option<u64>,
}

/// The result of an import.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// The new text of `config.toml`.
    pub(super) text: String,
    /// A line for each thing that is taken over.
    pub(super) taken: Vec<String>,
    pub(super) left: Vec<Left>,
    /// Folders to link into the home's folder of models.
    pub(super) links: Vec<PathBuf>,
    /// Models with settings that are not on disk yet.
    pub(super) pulls: Vec<String>,
}

/// Merges.
///
/// # Errors
/// `config.toml` is no TOML. The sentence has the line.
pub(super) fn merge(plan: Plan, present: &Present<'_>) -> Result<Outcome, String> {
    let document: DocumentMut = present.config.parse().map_err(|error: toml_edit::TomlError| {
        let before = error.span().and_then(|span| present.config.get(..span.start)).unwrap_or_default();
        format!("line {}: {}", before.matches('\n').count() + 1, error.message())
    })?;
    let mut merger = Merger { document, present, outcome: Outcome { left: plan.left, ..Outcome::default() } };
    merger.links(plan.links);
    let has_switches = plan.backends.values().any(|backend| backend.pin || backend.preload);
    merger.folders(&plan.folders, !plan.models.is_empty() || has_switches);
    merger.idle_seconds(plan.idle_seconds);
    merger.models(plan.models);
    merger.providers(plan.providers);
    merger.backends(plan.backends);
    merger.routes(plan.routes);
    merger.outcome.text = merger.document.to_string();
    Ok(merger.outcome)
}

struct Merger<'a> {
    document: DocumentMut,
    present: &'a Present<'a>,
    outcome: Outcome,
}

impl Merger<'_> {
    fn take(&mut self, line: String) {
        self.outcome.taken.push(line);
    }

    fn leave(&mut self, what: impl Into<String>, why: impl Into<String>) {
        self.outcome.left.push(Left { what: what.into(), why: why.into() });
    }

    fn links(&mut self, links: Vec<PathBuf>) {
        for link in links {
            let name = link.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            if self.present.models.contains(&name) {
                self.leave(link.display().to_string(), format!("a model is named {name} already"));
            } else if !link.join("config.json").is_file() {
                self.leave(link.display().to_string(), "it is no folder with a config.json");
            } else {
                self.take(format!("model {name}: a link to {}", link.display()));
                self.outcome.links.push(link);
            }
        }
    }

    /// Adds folders of models. If models have tables, the list of folders is named `model_folders`.
    fn folders(&mut self, folders: &[PathBuf], has_models: bool) {
        let is_list = self.document.get("models").is_some_and(Item::is_array);
        if is_list && has_models {
            rename(&mut self.document, "models", "model_folders");
        }
        let key = if is_list && !has_models { "models" } else { "model_folders" };
        for folder in folders {
            let Some(text) = folder.to_str() else { continue };
            let item = self.document.entry(key).or_insert_with(|| value(Array::new()));
            let Some(list) = item.as_array_mut() else { continue };
            if list.iter().any(|known| known.as_str() == Some(text)) {
                continue;
            }
            list.push(text);
            self.take(format!("folder of models {text}"));
        }
    }

    fn idle_seconds(&mut self, seconds: Option<u32>) {
        let Some(seconds) = seconds else { return };
        if let Some(known) = self.document.get("idle_seconds") {
            let same = known.as_integer() == Some(seconds.into());
            if !same {
                self.leave(format!("idle time of {seconds} s"), "config.toml has an idle_seconds of its own");
            }
            return;
        }
        self.document.insert("idle_seconds", value(i64::from(seconds)));
        self.take(format!("idle models go after {seconds} s"));
    }

    fn models(&mut self, models: BTreeMap<String, Model>) {
        let mut names = self.names();
        for (id, model) in models {
            if id.contains('/') && !self.present.models.contains(&id) {
                self.outcome.pulls.push(id.clone());
            }
            if self.present.overridden.contains(&id) {
                self.leave(&id, format!("settings.toml has its settings: `mlxd set {id} KEY=VALUE`"));
                continue;
            }
            let (aliases, taken): (Vec<String>, Vec<String>) = model
                .aliases
                .iter()
                .cloned()
                .partition(|alias| names.get(alias).is_none_or(|owner| *owner == id));
            for alias in taken {
                self.leave(format!("{id}: the name {alias}"), "another model has it");
            }
            names.extend(aliases.iter().map(|alias| (alias.clone(), id.clone())));
            self.model(&id, &Model { aliases, ..model });
        }
    }

    /// The names of all models here, with their ids.
    fn names(&self) -> BTreeMap<String, String> {
        let mut names: BTreeMap<String, String> =
            self.present.models.iter().map(|id| (id.clone(), id.clone())).collect();
        let tables = self.document.get("models").and_then(Item::as_table_like);
        for (id, model) in tables.into_iter().flat_map(|table| table.iter()) {
            let aliases = model.get("aliases").and_then(Item::as_array);
            for alias in aliases.into_iter().flatten().filter_map(Value::as_str) {
                names.insert(alias.to_owned(), id.to_owned());
            }
        }
        names
    }

    fn model(&mut self, id: &str, model: &Model) {
        let Model { aliases, context, idle_seconds, max_batch, pin, preload } = model;
        let number = |number: &Option<u32>| number.map(|number| Value::from(i64::from(number)));
        let flag = |flag: &bool| flag.then(|| Value::from(true));
        let fields = [
            ("context", number(context)),
            ("idle_seconds", number(idle_seconds)),
            ("max_batch", number(max_batch)),
            ("pin", flag(pin)),
            ("preload", flag(preload)),
        ];
        if aliases.is_empty() && fields.iter().all(|(_, field)| field.is_none()) {
            return;
        }
        let models = self.document.entry("models").or_insert_with(|| {
            let mut table = Table::new();
            table.set_implicit(true);
            Item::Table(table)
        });
        let Some(models) = models.as_table_like_mut() else { return };
        let Some(table) = models.entry(id).or_insert(Item::Table(Table::new())).as_table_like_mut() else {
            return;
        };
        let (mut set, mut kept) = (Vec::new(), Vec::new());
        let added = add_aliases(table, aliases);
        if !added.is_empty() {
            set.push(format!("aliases {}", added.join(", ")));
        }
        for (name, new) in fields {
            let Some(new) = new else { continue };
            let shown = new.to_string();
            match table.get(name).and_then(Item::as_value) {
                None => {
                    table.insert(name, Item::Value(new));
                    set.push(format!("{name} {}", shown.trim()));
                }
                Some(known) if known.to_string().trim() == shown.trim() => {}
                Some(known) => {
                    kept.push(format!("{name} {} stays {}", shown.trim(), known.to_string().trim()))
                }
            }
        }
        if !set.is_empty() {
            self.take(format!("settings of {id}: {}", set.join("; ")));
        }
        for kept in kept {
            self.leave(format!("{id}: {kept}"), "config.toml has a value of its own");
        }
    }

    fn providers(&mut self, providers: BTreeMap<String, Provider>) {
        for (name, provider) in providers {
            if let Some(known) = self.document.get("providers").and_then(|all| all.get(&name)) {
                if known.get("url").and_then(Item::as_str) != Some(provider.url.as_str()) {
                    self.leave(format!("provider {name}"), "config.toml has another one of this name");
                }
                continue;
            }
            if let Some(variable) =
                provider.key_env.as_ref().filter(|name| !(self.present.has_variable)(name))
            {
                let why = format!(
                    "its key is to be in the variable {variable}, which is not set: set it, and import again"
                );
                self.leave(format!("provider {name}"), why);
                continue;
            }
            let models = provider.models.len();
            let key = provider
                .key_env
                .as_ref()
                .map_or_else(String::new, |name| format!(", key from {name}, which `mlxd serve` needs too"));
            self.take(format!("provider {name}: {}{key}, {models} models", provider.url));
            let taken = self.provider_aliases();
            let table = provider_table(provider, &taken);
            let providers = self.document.entry("providers").or_insert_with(|| {
                let mut table = Table::new();
                table.set_implicit(true);
                Item::Table(table)
            });
            if let Some(providers) = providers.as_table_like_mut() {
                providers.insert(&name, Item::Table(table));
            }
        }
    }

    /// The aliases of all providers' models. Each may be used once.
    fn provider_aliases(&self) -> BTreeSet<String> {
        let providers = self.document.get("providers").and_then(Item::as_table_like);
        let models = providers.into_iter().flat_map(|table| table.iter());
        let models = models.filter_map(|(_, one)| one.get("models")?.as_array()).flatten();
        let aliases = models.filter_map(|model| model.as_inline_table()?.get("alias")?.as_str());
        aliases.map(str::to_owned).collect()
    }

    fn routes(&mut self, routes: Vec<Route>) {
        for mut route in routes {
            let is_here = |target: &String| self.is_target(target);
            route.split.retain(|(model, _)| is_here(model));
            route.targets.retain(is_here);
            if route.targets.is_empty() {
                self.leave(format!("route {}", route.model), "none of its models is taken over");
                continue;
            }
            if self.has_route(&route.model) {
                self.leave(format!("route {}", route.model), "config.toml has a route of this name");
                continue;
            }
            self.take(format!("route {}: {}", route.model, route.targets.join(", ")));
            let table = route_table(&route);
            match self.document.entry("routes").or_insert_with(|| Item::ArrayOfTables(ArrayOfTables::new())) {
                Item::ArrayOfTables(routes) => routes.push(table),
                Item::Value(Value::Array(routes)) => routes.push(table.into_inline_table()),
                _ => {}
            }
        }
    }

    /// Whether a target is a model of a provider that is here, or one of this machine.
    fn is_target(&self, name: &str) -> bool {
        let Some((provider, id)) = name.split_once('/') else { return true };
        if self.is_of_backend(provider, id) {
            return true;
        }
        let Some(provider) = self.document.get("providers").and_then(|all| all.get(provider)) else {
            let is_known = |id: &String| id == name;
            return self.present.models.contains(name)
                || self.outcome.pulls.iter().any(is_known)
                || self.document.get("models").and_then(|all| all.get(name)).is_some();
        };
        let models = provider.get("models").and_then(Item::as_array);
        models.into_iter().flatten().any(|model| {
            model.as_str() == Some(id)
                || model.as_inline_table().and_then(|model| model.get("id")?.as_str()) == Some(id)
        })
    }

    fn has_route(&self, name: &str) -> bool {
        match self.document.get("routes") {
            Some(Item::ArrayOfTables(routes)) => {
                routes.iter().any(|route| route.get("model").and_then(Item::as_str) == Some(name))
            }
            Some(Item::Value(Value::Array(routes))) => routes.iter().any(|route| {
                route.as_inline_table().and_then(|route| route.get("model")?.as_str()) == Some(name)
            }),
            _ => false,
        }
    }
}

/// Renames a key of the document, with the comments before it.
fn rename(document: &mut DocumentMut, old: &str, new: &str) {
    if let Some((key, item)) = document.remove_entry(old) {
        let key = Key::new(new).with_leaf_decor(key.leaf_decor().clone());
        document.insert_formatted(&key, item);
    }
}

/// Adds aliases to a model's table. Returns those that it lacked.
fn add_aliases(table: &mut dyn TableLike, aliases: &[String]) -> Vec<String> {
    if aliases.is_empty() {
        return Vec::new();
    }
    let item = table.entry("aliases").or_insert_with(|| value(Array::new()));
    let Some(list) = item.as_array_mut() else { return Vec::new() };
    let mut added = Vec::new();
    for alias in aliases {
        if !list.iter().any(|known| known.as_str() == Some(alias)) {
            list.push(alias.as_str());
            added.push(alias.clone());
        }
    }
    added
}

fn provider_table(provider: Provider, taken: &BTreeSet<String>) -> Table {
    let mut table = Table::new();
    table.insert("kind", value(provider.kind.word()));
    table.insert("url", value(provider.url));
    if let Some(name) = provider.key_env {
        table.insert("api_key_env", value(name));
    }
    if let Some(seconds) = provider.timeout_seconds {
        table.insert("timeout_seconds", value(i64::from(seconds)));
    }
    let mut models = Array::new();
    for model in provider.models {
        let mut entry = Value::from(provider_model(model, taken));
        entry.decor_mut().set_prefix("\n    ");
        models.push_formatted(entry);
    }
    models.set_trailing("\n");
    models.set_trailing_comma(true);
    table.insert("models", value(models));
    table
}

fn provider_model(model: ProviderModel, taken: &BTreeSet<String>) -> InlineTable {
    let mut entry = InlineTable::new();
    entry.insert("id", model.id.into());
    if let Some(alias) = model.alias.filter(|alias| !taken.contains(alias)) {
        entry.insert("alias", alias.into());
    }
    if let Some(context) = model.context {
        entry.insert("context", i64::from(context).into());
    }
    if let Some(price) = model.price {
        let mut table = InlineTable::new();
        table.insert("input", price.input.into());
        if let Some(cached) = price.cached_input {
            table.insert("cached_input", cached.into());
        }
        table.insert("output", price.output.into());
        entry.insert("price", table.into());
    }
    entry
}

fn route_table(route: &Route) -> Table {
    let mut table = Table::new();
    table.insert("model", value(&route.model));
    table.insert("targets", value(route.targets.iter().collect::<Array>()));
    if route.split.len() > 1 {
        let shares = route.split.iter().map(|(model, weight)| {
            let mut share = InlineTable::new();
            share.insert("model", model.into());
            share.insert("weight", i64::from(*weight).into());
            share
        });
        table.insert("split", value(shares.collect::<Array>()));
    }
    table
}

#[cfg(test)]
mod tests;
