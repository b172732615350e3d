//! Routes: names that clients use, and the models that answer for them.

use serde::de::Error as _;

/// All routes, in order. The first one that matches a name counts.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "Vec<Route>")]
pub struct Routes(Vec<Route>);

/// One route.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// The name that a client asks for.
    pub model: NamePattern,
    /// The models that answer: the first one that can. They are names of models, not of routes.
    pub targets: Vec<String>,
}

/// A name, or the beginning of names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NamePattern {
    /// This name.
    Exactly(String),
    /// Names that begin so, written with `*` at the end.
    StartsWith(String),
}

impl Routes {
    /// The first route that matches a name.
    pub fn find(&self, name: &str) -> Option<&Route> {
        self.0.iter().find(|route| route.model.matches(name))
    }

    /// All routes, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Route> {
        self.0.iter()
    }
}

impl NamePattern {
    /// Whether `name` fits.
    pub fn matches(&self, name: &str) -> bool {
        match self {
            Self::Exactly(own) => own == name,
            Self::StartsWith(beginning) => name.starts_with(beginning.as_str()),
        }
    }
}

impl TryFrom<Vec<Route>> for Routes {
    type Error = String;

    fn try_from(routes: Vec<Route>) -> Result<Self, String> {
        for (at, route) in routes.iter().enumerate() {
            let problem = |text: String| format!("route {} ({}): {text}", at + 1, String::from(&route.model));
            if route.targets.is_empty() || route.targets.iter().any(String::is_empty) {
                return Err(problem("targets must name at least one model, and no name may be empty".into()));
            }
            let hidden = routes[..at].iter().find(|earlier| earlier.model.covers(&route.model));
            if let Some(earlier) = hidden {
                let earlier = String::from(&earlier.model);
                return Err(problem(format!(
                    "it is never reached, as the route for {earlier} comes before it"
                )));
            }
        }
        Ok(Self(routes))
    }
}

impl NamePattern {
    /// Whether every name that fits `other` fits this one too.
    fn covers(&self, other: &Self) -> bool {
        match other {
            Self::Exactly(name) => self.matches(name),
            Self::StartsWith(beginning) => {
                matches!(self, Self::StartsWith(own) if beginning.starts_with(own.as_str()))
            }
        }
    }
}

impl From<&NamePattern> for String {
    fn from(pattern: &NamePattern) -> Self {
        match pattern {
            NamePattern::Exactly(name) => name.clone(),
            NamePattern::StartsWith(beginning) => format!("{beginning}*"),
        }
    }
}

impl serde::Serialize for NamePattern {
    fn serialize<S: serde::Serializer>(&self, target: S) -> Result<S::Ok, S::Error> {
        target.serialize_str(&String::from(self))
    }
}

impl<'de> serde::Deserialize<'de> for NamePattern {
    fn deserialize<D: serde::Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        let text = String::deserialize(source)?;
        let (name, is_beginning) = match text.strip_suffix('*') {
            Some(beginning) => (beginning, true),
            None => (text.as_str(), false),
        };
        if name.contains('*') || (name.is_empty() && !is_beginning) {
            let problem = format!("\"{text}\" is neither a name nor the beginning of one with * at its end");
            return Err(D::Error::custom(problem));
        }
        Ok(if is_beginning { Self::StartsWith(name.into()) } else { Self::Exactly(name.into()) })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Result<Routes, String> {
        serde_json::from_str(text).map_err(|error| error.to_string())
    }

    #[test]
    fn first_route_that_matches_counts() {
        let routes = parse(
            r#"[{"model": "claude-haiku", "targets": ["small"]}, {"model": "claude-*", "targets": ["big", "far/big"]},
                {"model": "*", "targets": ["other"]}]"#,
        )
        .unwrap();
        let target = |name: &str| routes.find(name).unwrap().targets[0].as_str();
        assert_eq!(["claude-haiku", "claude-haiku-4", "gpt-5"].map(target), ["small", "big", "other"]);
        assert!(Routes::default().find("gpt-5").is_none());
    }

    #[test]
    fn wrong_route_is_refused_by_its_place() {
        for (text, part) in [
            (r#"[{"model": "a", "targets": []}]"#, "route 1 (a): targets"),
            (r#"[{"model": "a", "targets": [""]}]"#, "route 1 (a): targets"),
            (r#"[{"model": "a*b", "targets": ["m"]}]"#, "\"a*b\" is neither"),
            (r#"[{"model": "", "targets": ["m"]}]"#, "is neither"),
            (r#"[{"model": "a", "targets": ["m"], "to": 1}]"#, "to"),
            (
                r#"[{"model": "a*", "targets": ["m"]}, {"model": "ab", "targets": ["n"]}]"#,
                "route 2 (ab): it is never",
            ),
            (
                r#"[{"model": "a*", "targets": ["m"]}, {"model": "ab*", "targets": ["n"]}]"#,
                "route for a* comes before",
            ),
        ] {
            let problem = parse(text).unwrap_err();
            assert!(problem.contains(part), "{problem}");
        }
    }

    proptest! {
        #[test]
        fn covered_patterns_match_no_name_alone(
            names in proptest::collection::vec(("[ab]{0,3}", any::<bool>()), 2),
            name in "[ab]{0,4}",
        ) {
            let pattern = |(text, is_beginning): &(String, bool)| match is_beginning {
                true => NamePattern::StartsWith(text.clone()),
                false => NamePattern::Exactly(text.clone()),
            };
            let (first, second) = (pattern(&names[0]), pattern(&names[1]));
            if first.covers(&second) {
                prop_assert!(!second.matches(&name) || first.matches(&name));
            }
        }
    }
}
