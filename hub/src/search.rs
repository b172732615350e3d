//! A search's parameters, and the hub's results.

use std::collections::BTreeMap;

use ipc_proto::hub::HubSort;
use serde::Deserialize;
use serde_json::Value;

/// The tag of models for MLX.
pub const MLX: &str = "mlx";

/// A search: words, filters and order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// Words of the name.
    pub text: String,
    /// The organisation or user.
    pub author: Option<String>,
    /// The task, such as `text-generation`.
    pub task: Option<String>,
    /// Tags that all results have, such as `mlx`.
    pub tags: Vec<String>,
    /// The order, greatest first.
    pub sort: HubSort,
    /// Results at most.
    pub limit: usize,
}

/// The fields that a search asks for. The hub sends no others.
const FIELDS: [&str; 9] = [
    "config",
    "downloads",
    "gated",
    "lastModified",
    "likes",
    "pipeline_tag",
    "safetensors",
    "tags",
    "usedStorage",
];

impl Query {
    /// The parameters of `/api/models`.
    pub(crate) fn parameters(&self) -> Vec<(&'static str, String)> {
        let sort = match self.sort {
            HubSort::Downloads => "downloads",
            HubSort::Likes => "likes",
            HubSort::Modified => "lastModified",
            HubSort::Created => "createdAt",
            HubSort::Trending => "trendingScore",
        };
        let mut all = vec![("sort", sort.to_owned()), ("limit", self.limit.to_string())];
        all.extend(self.tags.iter().map(|tag| ("filter", tag.clone())));
        all.extend((!self.text.is_empty()).then(|| ("search", self.text.clone())));
        all.extend(self.author.clone().map(|author| ("author", author)));
        all.extend(self.task.clone().map(|task| ("pipeline_tag", task)));
        all.extend(FIELDS.map(|field| ("expand", field.to_owned())));
        all
    }
}

/// A model that a search found.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Found {
    /// `organisation/name`.
    pub id: String,
    /// Downloads of the last month.
    #[serde(default)]
    pub downloads: u64,
    /// Likes.
    #[serde(default)]
    pub likes: u64,
    /// The last change, in RFC 3339.
    pub last_modified: Option<String>,
    /// The task.
    #[serde(rename = "pipeline_tag")]
    pub task: Option<String>,
    /// All tags, the licence among them.
    #[serde(default)]
    pub tags: Vec<String>,
    #[serde(default)]
    gated: Value,
    safetensors: Option<Safetensors>,
    /// Parts of config.json.
    #[serde(default)]
    pub config: Value,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct Safetensors {
    #[serde(default)]
    parameters: BTreeMap<String, u64>,
}

impl Found {
    /// Whether users have to accept conditions.
    pub fn is_gated(&self) -> bool {
        !matches!(self.gated, Value::Bool(false) | Value::Null)
    }

    /// The licence that the tags name.
    pub fn license(&self) -> Option<&str> {
        self.tags.iter().find_map(|tag| tag.strip_prefix("license:"))
    }

    /// Bytes of the weights, from the numbers of elements of each type. `None` without safetensors.
    pub fn weight_bytes(&self) -> Option<u64> {
        let elements = &self.safetensors.as_ref()?.parameters;
        elements.iter().map(|(kind, count)| Some(bits(kind)?.checked_mul(*count)? / 8)).sum()
    }

    /// Elements by type. Packed weights are `U32` words.
    pub fn elements(&self) -> impl Iterator<Item = (&str, u64)> {
        self.safetensors
            .iter()
            .flat_map(|all| all.parameters.iter().map(|(kind, count)| (kind.as_str(), *count)))
    }
}

/// Bits of an element of a safetensors type.
fn bits(kind: &str) -> Option<u64> {
    Some(match kind {
        "F64" | "I64" | "U64" => 64,
        "F32" | "I32" | "U32" => 32,
        "F16" | "BF16" | "I16" | "U16" => 16,
        "I8" | "U8" | "BOOL" | "F8_E4M3" | "F8_E5M2" | "F8_E8M0" => 8,
        "F4" => 4,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn query_has_every_tag_and_field_as_a_parameter_of_its_own() {
        let query = Query {
            text: "qwen".into(),
            author: Some("mlx-community".into()),
            task: None,
            tags: vec!["mlx".into(), "4-bit".into()],
            sort: HubSort::Likes,
            limit: 7,
        };
        let parameters = query.parameters();
        let of = |name: &str| -> Vec<&str> {
            parameters.iter().filter(|(key, _)| *key == name).map(|(_, value)| value.as_str()).collect()
        };
        assert_eq!(of("filter"), ["mlx", "4-bit"]);
        assert_eq!(
            (of("search"), of("author"), of("sort"), of("limit")),
            (vec!["qwen"], vec!["mlx-community"], vec!["likes"], vec!["7"])
        );
        assert!(of("expand").contains(&"safetensors") && of("pipeline_tag").is_empty());
    }

    #[test]
    fn bytes_are_those_of_all_types() {
        let found: Found = serde_json::from_value(json!({
            "id": "o/m", "gated": "auto", "tags": ["mlx", "license:mit"],
            "safetensors": {"parameters": {"BF16": 10, "U32": 5}, "total": 15}
        }))
        .unwrap();
        assert_eq!((found.weight_bytes(), found.is_gated(), found.license()), (Some(40), true, Some("mit")));
        let plain: Found = serde_json::from_value(json!({"id": "o/m", "gated": false})).unwrap();
        assert_eq!((plain.weight_bytes(), plain.is_gated()), (None, false));
    }
}
