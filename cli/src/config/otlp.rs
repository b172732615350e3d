//! Variables of OpenTelemetry and Pydantic Logfire, for where mlxd's own settings name no endpoint.

use ipc_proto::gateway::{GatewayConfig, OtlpHeaders, check_address};

use super::ConfigError;

/// Fills in the endpoint and its headers. A token of Logfire counts if nothing else names an endpoint.
///
/// # Errors
/// A variable has a wrong value.
pub(super) fn read(
    gateway: &mut GatewayConfig,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<(), ConfigError> {
    let is_off = variable("OTEL_SDK_DISABLED").is_some_and(|text| text.eq_ignore_ascii_case("true"));
    if is_off || gateway.otlp_endpoint.is_some() {
        return Ok(());
    }
    gateway.otlp_logs &= variable("OTEL_LOGS_EXPORTER").is_none_or(|text| text != "none");
    if let Some(name) = variable("OTEL_SERVICE_NAME") {
        gateway.otlp_service = name;
    }
    let wrong = |name: &str, problem: &str| ConfigError::Value { name: name.into(), problem: problem.into() };
    if let Some(endpoint) = variable("OTEL_EXPORTER_OTLP_ENDPOINT") {
        check_address(&endpoint).map_err(|problem| wrong("OTEL_EXPORTER_OTLP_ENDPOINT", &problem))?;
        gateway.otlp_endpoint = Some(endpoint);
        if gateway.otlp_headers.is_none()
            && let Some(headers) = variable("OTEL_EXPORTER_OTLP_HEADERS")
        {
            let headers = OtlpHeaders::parse(&headers);
            gateway.otlp_headers =
                Some(headers.map_err(|problem| wrong("OTEL_EXPORTER_OTLP_HEADERS", problem))?);
        }
    } else if let Some(token) = variable("LOGFIRE_TOKEN") {
        let endpoint = variable("LOGFIRE_BASE_URL").unwrap_or_else(|| logfire_address(&token).into());
        check_address(&endpoint).map_err(|problem| wrong("LOGFIRE_BASE_URL", &problem))?;
        gateway.otlp_endpoint = Some(endpoint);
        gateway.otlp_headers = Some(OtlpHeaders::logfire(&token));
    }
    Ok(())
}

/// The address for a token, which names its region.
fn logfire_address(token: &str) -> &'static str {
    if token.starts_with("pylf_v1_eu_") {
        "https://logfire-eu.pydantic.dev"
    } else {
        "https://logfire-us.pydantic.dev"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An endpoint, and headers.
    type Target = (Option<String>, Vec<(String, String)>);

    /// The target with these variables.
    fn with(variables: &[(&str, &str)]) -> Result<Target, ConfigError> {
        let mut gateway = GatewayConfig::default();
        let find =
            |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        read(&mut gateway, find)?;
        let headers = gateway.otlp_headers.iter().flat_map(OtlpHeaders::expose).collect();
        Ok((gateway.otlp_endpoint, headers))
    }

    #[test]
    fn logs_are_reported_unless_their_exporter_is_none() {
        for (text, is_on) in [("otlp", true), ("none", false)] {
            let mut gateway = GatewayConfig::default();
            read(&mut gateway, |name| (name == "OTEL_LOGS_EXPORTER").then(|| text.into())).unwrap();
            assert_eq!(gateway.otlp_logs, is_on);
        }
    }

    #[test]
    fn nothing_is_reported_without_a_variable() {
        assert_eq!(with(&[]).unwrap(), (None, Vec::new()));
        let off = [("OTEL_SDK_DISABLED", "true"), ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://a:4318")];
        assert_eq!(with(&off).unwrap(), (None, Vec::new()));
    }

    #[test]
    fn opentelemetrys_variables_name_endpoint_and_headers() {
        let set =
            [("OTEL_EXPORTER_OTLP_ENDPOINT", "http://a:4318"), ("OTEL_EXPORTER_OTLP_HEADERS", "x-key=1")];
        let (endpoint, headers) = with(&set).unwrap();
        assert_eq!(endpoint.as_deref(), Some("http://a:4318"));
        assert_eq!(headers, [("x-key".to_owned(), "1".to_owned())]);
    }

    #[test]
    fn logfires_token_names_its_region() {
        for (token, address) in
            [("pylf_v1_eu_x", "https://logfire-eu.pydantic.dev"), ("abc", "https://logfire-us.pydantic.dev")]
        {
            let (endpoint, headers) = with(&[("LOGFIRE_TOKEN", token)]).unwrap();
            assert_eq!(endpoint.as_deref(), Some(address));
            assert_eq!(headers, [("authorization".to_owned(), token.to_owned())]);
        }
    }

    #[test]
    fn wrong_values_are_named_and_not_quoted() {
        let set = [("OTEL_EXPORTER_OTLP_ENDPOINT", "http://a"), ("OTEL_EXPORTER_OTLP_HEADERS", "hidden")];
        let problem = with(&set).unwrap_err().to_string();
        assert!(problem.contains("OTEL_EXPORTER_OTLP_HEADERS") && !problem.contains("hidden"), "{problem}");
        assert!(
            with(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "a:4318")]).unwrap_err().to_string().contains("a:4318")
        );
    }
}
