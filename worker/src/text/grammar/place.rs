//! The place in a schema where llguidance fails, in the words of the schema's author. Pure.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::schema::{for_children, target};

/// Parts of a schema that are tried, at most.
const MAX_TRIES: usize = 300;

/// The deepest schema inside `root` that fails alone as `root` does, such as ` (at "user.tags[]")`, where `root` itself stands at
/// `start`. Empty without a place, and `None` if `root` does not fail.
pub(super) fn find(root: &Value, start: &str, fails: &dyn Fn(Value) -> bool) -> Option<String> {
    if !fails(root.clone()) {
        return None;
    }
    let mut search = Search { root, fails, tries: 0, seen: HashSet::new() };
    let place = search.deepest(root, start.to_owned());
    let place = place.trim_start_matches('.');
    Some(if place.is_empty() { String::new() } else { format!(" (at \"{place}\")") })
}

struct Search<'a> {
    root: &'a Value,
    fails: &'a dyn Fn(Value) -> bool,
    tries: usize,
    seen: HashSet<String>,
}

impl Search<'_> {
    /// The place of the deepest failing schema at or inside `schema`, which fails at `place`.
    fn deepest(&mut self, schema: &Value, place: String) -> String {
        if let Some(reference) = schema.get("$ref")
            && self.seen.insert(reference.to_string())
            && let Some(definition) = target(reference, self.root)
            && self.tries(definition)
        {
            return self.deepest(definition, place);
        }
        let mut children = Vec::new();
        for_children(schema, &mut |step, child| children.push((step, child.clone())));
        for (step, child) in children {
            if self.tries(&child) {
                return self.deepest(&child, format!("{place}{step}"));
            }
        }
        place
    }

    /// Whether a part of the schema fails alone.
    fn tries(&mut self, part: &Value) -> bool {
        self.tries += 1;
        let mut part = part.clone();
        if self.tries > MAX_TRIES || !part.is_object() {
            return false;
        }
        for name in ["$defs", "definitions"] {
            if let Some(definitions) = self.root.get(name) {
                part[name] = json!(definitions);
            }
        }
        (self.fails)(part)
    }
}
