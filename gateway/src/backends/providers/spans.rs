//! Finds and replaces single values in a JSON text, so that every other byte of it stays.

use std::ops::Range;

/// The place of the value at `path`, the names of members from the outermost object on. `None` if there is none.
pub(super) fn find(json: &[u8], path: &[&str]) -> Option<Range<usize>> {
    let mut cursor = Cursor { json, at: 0 };
    for name in path {
        cursor.enter(name)?;
    }
    cursor.peek()?;
    let start = cursor.at;
    cursor.skip_value()?;
    Some(start..cursor.at)
}

/// The text with the string `value` at `path`; `None` if there is nothing at `path`.
pub(super) fn replace(json: &[u8], path: &[&str], value: &str) -> Option<Vec<u8>> {
    let place = find(json, path)?;
    let value = serde_json::to_vec(value).ok()?;
    let mut replaced = Vec::with_capacity(json.len() + value.len());
    replaced.extend_from_slice(&json[..place.start]);
    replaced.extend_from_slice(&value);
    replaced.extend_from_slice(&json[place.end..]);
    Some(replaced)
}

/// A place in a JSON text, which may be invalid: no step goes beyond its end.
struct Cursor<'a> {
    json: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    /// The next byte that is no white space.
    fn peek(&mut self) -> Option<u8> {
        loop {
            let byte = *self.json.get(self.at)?;
            if !byte.is_ascii_whitespace() {
                return Some(byte);
            }
            self.at += 1;
        }
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }

    /// Goes into the object here, to the value of the member `name`.
    fn enter(&mut self, name: &str) -> Option<()> {
        self.expect(b'{')?;
        loop {
            let key = self.string()?;
            self.expect(b':')?;
            if is_name(key, name) {
                return Some(());
            }
            self.skip_value()?;
            self.expect(b',')?;
        }
    }

    /// The string here, with its quotes.
    fn string(&mut self) -> Option<&'a [u8]> {
        self.expect(b'"')?;
        let start = self.at - 1;
        loop {
            match *self.json.get(self.at)? {
                b'\\' => self.at += 2,
                b'"' => break,
                _ => self.at += 1,
            }
        }
        self.at += 1;
        self.json.get(start..self.at)
    }

    fn skip_value(&mut self) -> Option<()> {
        match self.peek()? {
            b'"' => self.string().map(drop),
            b'{' | b'[' => self.skip_nested(),
            _ => {
                let rest = self.json.get(self.at..)?;
                let is_end = |byte: &u8| matches!(byte, b',' | b'}' | b']') || byte.is_ascii_whitespace();
                self.at += rest.iter().position(is_end).unwrap_or(rest.len());
                Some(())
            }
        }
    }

    fn skip_nested(&mut self) -> Option<()> {
        let mut depth = 0u32;
        loop {
            match *self.json.get(self.at)? {
                b'"' => {
                    self.string()?;
                    continue;
                }
                b'{' | b'[' => depth += 1,
                b'}' | b']' => depth -= 1,
                _ => {}
            }
            self.at += 1;
            if depth == 0 {
                return Some(());
            }
        }
    }
}

/// Whether the string `key`, with quotes, is `name`. Keys may have escapes.
fn is_name(key: &[u8], name: &str) -> bool {
    if key.contains(&b'\\') {
        return serde_json::from_slice::<String>(key).is_ok_and(|key| key == name);
    }
    key[1..key.len() - 1] == *name.as_bytes()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn only_the_value_at_the_path_changes() {
        let text =
            r#" {"a": {"model": "in"}, "s": "\"model\": {", "model" : "x" , "n": 1.50, "l": [{"model": 2}]}"#;
        let expected = text.replace(r#""x""#, r#""a \"b\"""#);
        assert_eq!(replace(text.as_bytes(), &["model"], "a \"b\"").unwrap(), expected.as_bytes());
        let inner = replace(text.as_bytes(), &["a", "model"], "y").unwrap();
        assert_eq!(inner, text.replace(r#""in""#, r#""y""#).as_bytes());
        assert_eq!(find(br#"{"mod\u0065l": 7}"#, &["model"]), Some(15..16));
    }

    #[test]
    fn missing_value_has_no_place() {
        for text in [
            "{}",
            "[]",
            "",
            "{\"model\"",
            "{\"model\":",
            "{\"a\": {\"model\": 1}}",
            "\"model\"",
            "{\"a\":\"\\",
        ] {
            assert_eq!(find(text.as_bytes(), &["model"]), None, "{text}");
        }
    }

    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            ".{0,6}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::vec(("(model|.{0,3})", inner), 0..4)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn value_at_the_path_is_the_one_that_a_parser_finds(value in values(), is_pretty in any::<bool>()) {
            let text = if is_pretty { format!("{value:#}") } else { value.to_string() };
            for path in [&["model"][..], &["model", "model"]] {
                let expected = value.pointer(&format!("/{}", path.join("/"))).filter(|_| value.is_object());
                let expected = if path.len() == 2 && !value["model"].is_object() { None } else { expected };
                let found = find(text.as_bytes(), path);
                let found = found.map(|place| serde_json::from_str::<Value>(&text[place]).unwrap());
                prop_assert_eq!(found.as_ref(), expected);
            }
            if value.get("model").is_some() {
                let mut expected = value.clone();
                expected["model"] = json!("new");
                let replaced = replace(text.as_bytes(), &["model"], "new").unwrap();
                prop_assert_eq!(serde_json::from_slice::<Value>(&replaced).unwrap(), expected);
            }
        }

        #[test]
        fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _ = find(&bytes, &["model", "model"]);
        }
    }
}
