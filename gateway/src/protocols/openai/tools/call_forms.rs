//! The forms in which calls appear to the client: the model knows every tool as a function with one name.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

/// Bytes of a tool's name, at most.
pub const MAX_NAME_BYTES: usize = 128;
/// Hexadecimal digits at the end of a name that was cut.
const HASH_DIGITS: usize = 8;

/// The kind of a tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum CallKind {
    /// Arguments as JSON.
    #[default]
    Function,
    /// Its input is text.
    Custom,
    /// The search for further tools, which the client runs.
    ToolSearch,
}

/// A tool as the client knows it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct CallForm {
    /// The kind of the tool, and so of its calls.
    pub kind: CallKind,
    /// The group that the tool belongs to.
    pub namespace: Option<String>,
    /// The tool's name in its group.
    pub name: String,
}

/// The tools whose calls differ from plain functions, by the names that the model knows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CallForms(HashMap<String, CallForm>);

impl CallForms {
    /// Adds a tool that the model knows as `name`.
    pub fn insert(&mut self, name: String, form: CallForm) {
        self.0.insert(name, form);
    }

    /// The form of calls of the tool that the model knows as `name`. Unknown ones are functions.
    pub fn form(&self, name: &str) -> CallForm {
        let function = || CallForm { name: name.to_owned(), ..CallForm::default() };
        self.0.get(name).cloned().unwrap_or_else(function)
    }

    /// The name by which the model knows a tool. A tool that is not offered has the name that it would have.
    pub fn offered_name(&self, kind: CallKind, namespace: Option<&str>, name: &str) -> String {
        let is_it = |form: &CallForm| {
            form.kind == kind && form.namespace.as_deref() == namespace && form.name == name
        };
        let offered = self.0.iter().find(|(_, form)| is_it(form)).map(|(offered, _)| offered.clone());
        offered.unwrap_or_else(|| joined_name(namespace, name))
    }
}

/// The name of a tool in a group: both names, of characters that names may have. A name that is too long is cut and ends in a hash.
pub fn joined_name(namespace: Option<&str>, name: &str) -> String {
    let Some(namespace) = namespace.filter(|namespace| !namespace.is_empty()) else { return name.to_owned() };
    let gap = if namespace.ends_with('_') || name.starts_with('_') { "" } else { "__" };
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    let joined: String =
        format!("{namespace}{gap}{name}").chars().map(|c| if fits(c) { c } else { '_' }).collect();
    if joined.len() <= MAX_NAME_BYTES {
        return joined;
    }
    let mut hasher = DefaultHasher::new();
    joined.hash(&mut hasher);
    let hash = format!("{:016x}", hasher.finish());
    format!("{}_{}", &joined[..MAX_NAME_BYTES - HASH_DIGITS - 1], &hash[..HASH_DIGITS])
}

#[cfg(test)]
mod tests;
