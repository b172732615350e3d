//! Roles: names such as `role:thinking` for the models that are good at something.

use std::collections::BTreeMap;

use super::routes::{NamePattern, Route};

/// What the name of a role begins with where a client or a route asks for it.
pub const ROLE_PREFIX: &str = "role:";

/// The longest name of a role, in bytes.
const MAX_NAME: usize = 64;
/// The greatest number of roles.
const MAX_ROLES: usize = 100;
/// The greatest number of models of one role.
const MAX_TARGETS: usize = 32;

/// All roles, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "BTreeMap<String, Role>")]
pub struct Roles(BTreeMap<String, Role>);

/// The models of a role: a list, or a table with bounds.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(from = "RoleForm")]
pub struct Role {
    /// The models that answer: the first one that can.
    pub targets: Vec<String>,
    /// Seconds after which the next model is asked if no output has begun.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_token_seconds: Option<u32>,
    /// Whether requests for this role never leave the machine.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub local_only: bool,
}

#[derive(serde::Deserialize)]
#[serde(
    untagged,
    expecting = "must be a list of models, or a table with targets, first_token_seconds and local_only"
)]
enum RoleForm {
    Targets(Vec<String>),
    Table(RoleTable),
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct RoleTable {
    targets: Vec<String>,
    first_token_seconds: Option<u32>,
    #[serde(default)]
    local_only: bool,
}

impl From<RoleForm> for Role {
    fn from(form: RoleForm) -> Self {
        match form {
            RoleForm::Targets(targets) => Self { targets, ..Self::default() },
            RoleForm::Table(RoleTable { targets, first_token_seconds, local_only }) => {
                Self { targets, first_token_seconds, local_only }
            }
        }
    }
}

impl Roles {
    /// The role that a name such as `role:thinking` means.
    pub fn find(&self, name: &str) -> Option<&Role> {
        self.0.get(name.strip_prefix(ROLE_PREFIX)?)
    }

    /// The names as clients ask for them, in order.
    pub fn names(&self) -> impl Iterator<Item = String> {
        self.0.keys().map(|name| format!("{ROLE_PREFIX}{name}"))
    }

    /// The routes that answer for the names.
    pub(super) fn routes(&self) -> impl Iterator<Item = Route> {
        self.0.iter().map(|(name, role)| Route {
            model: Some(NamePattern::Exactly(format!("{ROLE_PREFIX}{name}"))),
            targets: role.targets.clone(),
            first_token_seconds: role.first_token_seconds,
            local_only: role.local_only,
            ..Route::default()
        })
    }
}

impl Role {
    fn check(&self) -> Result<(), String> {
        if !(1..=MAX_TARGETS).contains(&self.targets.len()) || self.targets.iter().any(String::is_empty) {
            return Err(format!("name 1 to {MAX_TARGETS} models, none of them empty"));
        }
        if let Some(role) = self.targets.iter().find(|target| target.starts_with(ROLE_PREFIX)) {
            return Err(format!("\"{role}\" is a role; a role names models only"));
        }
        if self.first_token_seconds.is_some_and(|seconds| seconds == 0 || self.targets.len() < 2) {
            return Err("first_token_seconds must be at least 1, and needs a further model to ask".into());
        }
        Ok(())
    }
}

impl TryFrom<BTreeMap<String, Role>> for Roles {
    type Error = String;

    fn try_from(roles: BTreeMap<String, Role>) -> Result<Self, String> {
        if roles.len() > MAX_ROLES {
            return Err(format!("at most {MAX_ROLES} roles"));
        }
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        for (name, role) in &roles {
            if name.is_empty() || name.len() > MAX_NAME || !name.chars().all(is_plain) {
                return Err(format!(
                    "\"{name}\": a role's name has 1 to {MAX_NAME} letters, digits, \"-\", \"_\" and \".\" only"
                ));
            }
            role.check().map_err(|problem| format!("{name}: {problem}"))?;
        }
        Ok(Self(roles))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Roles, String> {
        serde_json::from_str(text).map_err(|error| error.to_string())
    }

    #[test]
    fn role_is_a_list_or_a_table() {
        let roles = parse(
            r#"{"fast": ["a"], "own": {"targets": ["a", "far/b"], "first_token_seconds": 3, "local_only": true}}"#,
        )
        .unwrap();
        assert_eq!(roles.names().collect::<Vec<_>>(), ["role:fast", "role:own"]);
        assert_eq!(roles.find("role:fast").unwrap().targets, ["a"]);
        assert!(roles.find("fast").is_none() && roles.find("role:none").is_none());
        let own = roles.routes().nth(1).unwrap();
        assert_eq!((own.first_token_seconds, own.local_only), (Some(3), true));
        assert!(own.takes("role:own") && !own.takes("own"));
        assert_eq!(parse(&serde_json::to_string(&roles).unwrap()), Ok(roles));
    }

    #[test]
    fn wrong_role_is_refused_by_its_name() {
        let many: BTreeMap<String, [&str; 1]> = (0..101).map(|at| (format!("r{at}"), ["m"])).collect();
        for (text, part) in [
            (r#"{"a b": ["m"]}"#, "\"a b\": a role's name"),
            (r#"{"": ["m"]}"#, "a role's name"),
            (r#"{"a": []}"#, "a: name 1 to 32 models"),
            (r#"{"a": ["m", ""]}"#, "a: name 1 to 32 models"),
            (r#"{"a": ["role:b"]}"#, "a: \"role:b\" is a role"),
            (r#"{"a": {"targets": ["m"], "first_token_seconds": 2}}"#, "needs a further model"),
            (r#"{"a": {"targets": ["m"], "colour": 2}}"#, "a table with targets"),
            (r#"{"a": "m"}"#, "a list of models"),
            (&serde_json::to_string(&many).unwrap(), "at most 100"),
        ] {
            let problem = parse(text).unwrap_err();
            assert!(problem.contains(part), "{text}: {problem}");
        }
    }
}
