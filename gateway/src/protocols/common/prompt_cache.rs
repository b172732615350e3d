//! Checks `prompt_cache_options` of OpenAI's protocols. Every prompt is cached implicitly here.

use ipc_proto::{Error, Result};
use serde_json::Value;

/// The values that ask for this server's usual behaviour.
const NEUTRAL: [(&str, &str); 2] = [("mode", "implicit"), ("ttl", "30m")];

/// Refuses options other than implicit caching with the shortest lifetime. `comparison_response_id` has no effect: it asks for a
/// diagnosis in the answer, which may be missing, and no prompt is kept here to compare with.
///
/// # Errors
/// Returns an error that names the option.
pub fn check(options: Option<&Value>) -> Result<()> {
    let Some(options) = options.filter(|options| !options.is_null()) else { return Ok(()) };
    let Some(options) = options.as_object() else {
        return Err(Error::invalid("prompt_cache_options", "prompt_cache_options must be an object"));
    };
    for (name, neutral) in NEUTRAL {
        if options.get(name).is_some_and(|value| !value.is_null() && value != neutral) {
            let field = format!("prompt_cache_options.{name}");
            let text = format!("{field}: this server supports only \"{neutral}\"");
            return Err(Error::invalid(field, text));
        }
    }
    Ok(())
}

/// Whether the options ask to fill the cache and generate nothing.
pub fn prewarms(options: Option<&Value>) -> bool {
    options.is_some_and(|options| options["prewarm"] == true)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn implicit_caching_is_accepted() {
        for options in [
            json!(null),
            json!({}),
            json!({"mode": "implicit", "ttl": "30m"}),
            json!({"mode": null, "comparison_response_id": "resp_1"}),
        ] {
            assert_eq!(check(Some(&options)), Ok(()), "{options}");
        }
        assert_eq!(check(None), Ok(()));
    }

    #[test]
    fn other_caching_is_refused_by_name() {
        for (options, field) in [
            (json!({"mode": "explicit"}), "prompt_cache_options.mode"),
            (json!({"ttl": "12h"}), "prompt_cache_options.ttl"),
            (json!("explicit"), "prompt_cache_options"),
        ] {
            let error = check(Some(&options)).unwrap_err();
            assert_eq!(error.field, Some(field.into()), "{options}");
            assert!(error.message.starts_with(field), "{error}");
        }
    }
}
