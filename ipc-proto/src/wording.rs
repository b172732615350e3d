//! Describes a wrong value in the words of the person who wrote it. serde's messages name Rust's types. Pure.

/// The words of JSON.
pub const JSON: Format = Format { object: "an object" };
/// The words of TOML.
pub const TOML: Format = Format { object: "a table" };

/// The words of a format.
#[derive(Debug, Clone, Copy)]
pub struct Format {
    /// A set of named values.
    object: &'static str,
}

impl Format {
    /// Describes the problem with the value at `path`, from serde's message.
    pub fn sentence(self, path: &str, message: &str) -> String {
        let message = without_position(message);
        if let Some((got, wanted)) = split_mismatch(message) {
            return format!("{path} must be {}, not {}", self.wanted_value(wanted), self.given_value(got));
        }
        if let Some(wanted) = message.strip_prefix("expected ") {
            return format!("{path} must be {wanted}");
        }
        if let Some((given, known)) = split_variant(message) {
            return format!("{path} must be {}, not \"{given}\"", known_values(known));
        }
        match message.strip_prefix("missing field `").and_then(|rest| rest.strip_suffix('`')) {
            Some(field) => format!("{path}.{field} is missing"),
            None => format!("{path}: {message}"),
        }
    }

    fn wanted_value(self, wanted: &str) -> &str {
        match wanted {
            "u8" => "a whole number from 0 to 255",
            "u16" | "u32" | "u64" | "usize" => "a whole number that is not negative",
            "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number",
            "f32" | "f64" => "a number",
            "a boolean" => "true or false",
            "a sequence" => "a list",
            "a map" | "map" => self.object,
            _ if wanted.starts_with("struct ") => self.object,
            _ if wanted.starts_with("enum ") || wanted == "string or map" => "a string",
            _ => wanted,
        }
    }

    /// Returns the value as its writer wrote it, or the kind of a value that is not quoted.
    fn given_value(self, given: &str) -> &str {
        let quoted = ["integer `", "floating point `", "boolean `"]
            .iter()
            .find_map(|kind| given.strip_prefix(kind)?.strip_suffix('`'));
        match given {
            "sequence" => "a list",
            "map" => self.object,
            "unit value" | "null" => "null",
            _ => quoted.or_else(|| given.strip_prefix("string ")).unwrap_or(given),
        }
    }
}

/// Removes serde_json's position, which says nothing about a body that programs write.
pub fn without_position(message: &str) -> &str {
    let is_position = |text: &str| text.chars().all(|c| c.is_ascii_digit() || " column".contains(c));
    match message.rsplit_once(" at line ") {
        Some((message, position)) if is_position(position) => message,
        _ => message,
    }
}

/// Splits `invalid type: GIVEN, expected WANTED` and its like.
fn split_mismatch(message: &str) -> Option<(&str, &str)> {
    let kinds = ["invalid type: ", "invalid value: ", "invalid length "];
    kinds.iter().find_map(|kind| message.strip_prefix(kind)?.rsplit_once(", expected "))
}

/// Splits ``unknown variant `x`, expected …``.
fn split_variant(message: &str) -> Option<(&str, &str)> {
    message.strip_prefix("unknown variant `")?.split_once("`, expected ")
}

/// Converts serde's list of variants: `` `a` or `b` ``, or `` one of `a`, `b`, `c` ``.
fn known_values(known: &str) -> String {
    known.replace('`', "\"")
}

#[cfg(test)]
mod tests;
