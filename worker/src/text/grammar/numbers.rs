//! Numbers that llguidance 1.9.1 cannot express. It allows no exponent in a number that has a bound, so a model that means
//! 1e-7 writes 1. It also computes with 64 bits.
//!
//! A stand-in, an integer that the schema has nowhere else, takes the place of such numbers until the grammar's lexemes exist.
//! Then [`Numbers::substitute`] puts the numbers' own expression in the place of the stand-in's.

use llguidance::derivre::RegexAst;
use llguidance::earley::lexerspec::{LexemeClass, LexerSpec};
use serde_json::{Map, Value, json};

use super::decimal;
use super::schema::{DEFINITIONS, for_children_mut};

/// The first stand-in. Below 2^53.
const FIRST: i64 = 4_203_611_870_295_313;
/// Decimals beyond this bound need an exponent. llguidance computes their whole part with 64 bits.
const MAX_PLAIN: f64 = 1e15;
/// Integers beyond this bound are no exact 64-bit floats.
const MAX_EXACT: i128 = 1 << 53;
/// Bounds of integers that are further out count as this one. Nearly the largest power of ten of 128 bits.
const MAX_INTEGER: i128 = 10_i128.pow(37);
/// Keywords of a bounded number, besides `type`.
const BOUNDS: [&str; 4] = ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"];
/// Keywords that llguidance intersects with those of an applicator beside them. A stand-in has no part in an intersection.
const INTERSECTED: [&str; 14] = [
    "properties",
    "patternProperties",
    "additionalProperties",
    "items",
    "prefixItems",
    "const",
    "enum",
    "multipleOf",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "not",
    "if",
];

/// One end of a range: the value, and whether the range includes it.
pub(super) type Bound<T> = Option<(T, bool)>;

/// The stand-ins of a grammar.
#[derive(Default)]
pub(super) struct Numbers {
    stand_ins: Vec<StandIn>,
}

struct StandIn {
    /// Kind and bounds.
    key: String,
    expression: RegexAst,
}

impl Numbers {
    /// Whether there are no stand-ins.
    pub(super) fn is_empty(&self) -> bool {
        self.stand_ins.is_empty()
    }

    /// Puts stand-ins into a schema. The options of each `oneOf` must be known to exclude each other: see [`comparable`].
    pub(super) fn replace(&mut self, schema: &mut Value) {
        if schema.to_string().contains(&FIRST.to_string()[..10]) || has_intersections(schema) {
            return;
        }
        let mut definitions = Map::new();
        self.replace_in(schema, &mut definitions);
        if definitions.is_empty() {
            return;
        }
        one_of_to_any_of(schema);
        if let Value::Object(keywords) = schema {
            let own = keywords.entry("$defs").or_insert_with(|| json!({}));
            if let Value::Object(own) = own {
                own.append(&mut definitions);
            }
        }
    }

    fn replace_in(&mut self, schema: &mut Value, definitions: &mut Map<String, Value>) {
        for_children_mut(schema, &mut |child| self.replace_in(child, definitions));
        let Value::Object(keywords) = schema else { return };
        let bounded = keywords.keys().any(|key| BOUNDS.contains(&key.as_str()));
        let known = |key: &String| {
            let key = key.as_str();
            key == "type" || BOUNDS.contains(&key) || DEFINITIONS.contains(&key)
        };
        if !bounded || !keywords.keys().all(known) {
            return;
        }
        match keywords.get("type").and_then(Value::as_str) {
            Some("number") => self.replace_number(keywords, definitions),
            Some("integer") => self.replace_integer(keywords, definitions),
            _ => {}
        }
    }

    /// Allows the numbers with an exponent beside those without.
    fn replace_number(&mut self, keywords: &mut Map<String, Value>, definitions: &mut Map<String, Value>) {
        let value = |name: &str| keywords.get(name).map(|value| value.as_f64().filter(|_| value.is_number()));
        let bounds = BOUNDS.map(value);
        if bounds.contains(&Some(None)) {
            return;
        }
        let [least, most, above, below] = bounds.map(Option::flatten);
        let low = tighter(least, above, |above, least| above >= least);
        let high = tighter(most, below, |below, most| below <= most);
        if let (Some((low, includes_low)), Some((high, includes_high))) = (low, high)
            && (low > high || low == high && !(includes_low && includes_high))
        {
            return;
        }
        let Some(expression) = decimal::scientific(low, high) else { return };
        let mut plain = json!({"type": "number"});
        let within = |value: f64| value.clamp(-MAX_PLAIN, MAX_PLAIN);
        // A plain number never leaves the bounds: one end moves only when it is further out than the limit.
        if low.is_some_and(|(low, _)| low > MAX_PLAIN) || high.is_some_and(|(high, _)| high < -MAX_PLAIN) {
            plain = Value::Bool(false);
        } else {
            for (name, inclusive, bound) in
                [("minimum", "exclusiveMinimum", low), ("maximum", "exclusiveMaximum", high)]
            {
                if let Some((value, includes)) = bound {
                    plain[if includes { name } else { inclusive }] = within(value).into();
                }
            }
        }
        let key = format!("{low:?}{high:?}");
        let reference = self.stand_in(StandIn { key, expression }, definitions);
        keywords.retain(|key, _| DEFINITIONS.contains(&key.as_str()));
        keywords.insert("anyOf".into(), json!([plain, {"$ref": reference}]));
    }

    /// Allows exactly the integers between bounds that 64-bit floats cannot hold.
    fn replace_integer(&mut self, keywords: &mut Map<String, Value>, definitions: &mut Map<String, Value>) {
        let value = |name: &str| keywords.get(name).map(whole);
        let bounds = BOUNDS.map(value);
        if bounds.contains(&Some(None)) {
            return;
        }
        let [least, most, above, below] = bounds.map(Option::flatten);
        let low =
            least.map(|(value, exact)| value + i128::from(!exact)).max(above.map(|(value, _)| value + 1));
        let below = below.map(|(value, exact)| value - i128::from(exact));
        let high = [most.map(|(value, _)| value), below].into_iter().flatten().min();
        let large = |bound: Option<i128>| bound.is_some_and(|bound| bound.abs() > MAX_EXACT);
        let beyond =
            low.is_some_and(|low| low >= MAX_INTEGER) || high.is_some_and(|high| high <= -MAX_INTEGER);
        if beyond || !large(low) && !large(high) || low.zip(high).is_some_and(|(low, high)| low > high) {
            return;
        }
        let (key, expression) = (format!("{low:?}{high:?} integer"), decimal::integer(low, high));
        let reference = self.stand_in(StandIn { key, expression }, definitions);
        keywords.retain(|key, _| DEFINITIONS.contains(&key.as_str()));
        keywords.insert("$ref".into(), reference.into());
    }

    /// The reference to a stand-in.
    fn stand_in(&mut self, stand_in: StandIn, definitions: &mut Map<String, Value>) -> String {
        let at = self.stand_ins.iter().position(|own| own.key == stand_in.key).unwrap_or_else(|| {
            self.stand_ins.push(stand_in);
            self.stand_ins.len() - 1
        });
        let (name, value) = (name(at), FIRST + at as i64);
        let reference = format!("#/$defs/{name}");
        definitions.insert(name, json!({"type": "integer", "minimum": value, "maximum": value}));
        reference
    }

    /// Puts the expressions in the place of the stand-ins' lexemes.
    ///
    /// # Errors
    /// llguidance's. No known schema causes one.
    pub(super) fn substitute(self, lexer: &mut LexerSpec) -> anyhow::Result<()> {
        let mut places = Vec::new();
        let (count, class) = (lexer.lexemes.len(), lexer.current_class);
        let classes = lexer.lexemes.iter().map(|lexeme| lexeme.class().as_usize()).max().unwrap_or(0);
        for (at, StandIn { expression, .. }) in self.stand_ins.into_iter().enumerate() {
            for class in 0..=classes {
                lexer.current_class = LexemeClass::new(class);
                // An equal lexeme is not added twice: its index comes back.
                let stand_in = RegexAst::Regex(format!("({})", FIRST + at as i64));
                let found = lexer.add_greedy_lexeme(String::new(), stand_in, false, None, usize::MAX)?;
                if found.as_usize() < count {
                    places.push((found.as_usize(), class, expression.clone()));
                }
                lexer.lexemes.truncate(count);
            }
        }
        let lexemes = std::mem::take(&mut lexer.lexemes);
        for (index, lexeme) in lexemes.into_iter().enumerate() {
            let Some((_, class, expression)) = places.iter().find(|(place, ..)| *place == index) else {
                lexer.lexemes.push(lexeme);
                continue;
            };
            lexer.current_class = LexemeClass::new(*class);
            let added =
                lexer.add_greedy_lexeme(String::new(), expression.clone(), false, None, usize::MAX)?;
            anyhow::ensure!(added.as_usize() == index, "two terminals of the schema's numbers are equal");
        }
        lexer.current_class = class;
        Ok(())
    }
}

/// The schema without the bounds that llguidance cannot express. `None` if it has no `oneOf`, whose options llguidance compares.
pub(super) fn comparable(schema: &Value) -> Option<Value> {
    let mut schema = schema.clone();
    let mut has_one_of = false;
    drop_far_bounds(&mut schema, &mut has_one_of);
    has_one_of.then_some(schema)
}

fn drop_far_bounds(schema: &mut Value, has_one_of: &mut bool) {
    for_children_mut(schema, &mut |child| drop_far_bounds(child, has_one_of));
    let Value::Object(keywords) = schema else { return };
    *has_one_of |= keywords.contains_key("oneOf");
    let far = |value: &Value| value.as_f64().is_some_and(|value| value.abs() > MAX_PLAIN);
    keywords.retain(|key, value| !BOUNDS.contains(&key.as_str()) || !far(value));
}

/// llguidance refuses options that hold references to stand-ins, since it does not compare these.
fn one_of_to_any_of(schema: &mut Value) {
    for_children_mut(schema, &mut one_of_to_any_of);
    if let Value::Object(keywords) = schema
        && let Some(options) = keywords.remove("oneOf")
    {
        keywords.insert("anyOf".into(), options);
    }
}

/// The name of a stand-in's definition.
fn name(at: usize) -> String {
    format!("mlxd-number-{at}")
}

/// The tighter of an inclusive and an exclusive bound.
fn tighter(inclusive: Option<f64>, exclusive: Option<f64>, wins: fn(f64, f64) -> bool) -> Bound<f64> {
    match (inclusive, exclusive) {
        (Some(inclusive), Some(exclusive)) if wins(exclusive, inclusive) => Some((exclusive, false)),
        (None, Some(exclusive)) => Some((exclusive, false)),
        (inclusive, _) => inclusive.map(|value| (value, true)),
    }
}

/// The whole part of a bound, rounded down, and whether that is the bound.
fn whole(value: &Value) -> Option<(i128, bool)> {
    if let Some(whole) = value.as_i64().map(i128::from).or(value.as_u64().map(i128::from)) {
        return Some((whole, true));
    }
    let number = value.as_f64().filter(|_| value.is_number())?;
    Some(((number.floor() as i128).clamp(-MAX_INTEGER, MAX_INTEGER), number.fract() == 0.0))
}

/// Whether llguidance intersects schemas inside `schema` that may hold numbers.
pub(super) fn has_intersections(schema: &mut Value) -> bool {
    let mut found = false;
    for_children_mut(schema, &mut |child| found |= has_intersections(child));
    let Value::Object(keywords) = schema else { return found };
    let applicators = ["anyOf", "oneOf", "$ref", "allOf"];
    let count = applicators.iter().filter(|keyword| keywords.contains_key(**keyword)).count();
    let text = keywords.get("type").is_some_and(|kind| kind == "string");
    let several = keywords.get("allOf").and_then(Value::as_array).is_some_and(|all| all.len() > 1);
    let beside = INTERSECTED.iter().any(|keyword| keywords.contains_key(*keyword));
    found || !text && (several || count > 1 || count == 1 && beside)
}

#[cfg(test)]
mod tests;
