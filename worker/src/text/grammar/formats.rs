//! Patterns for `format`s of strings, so that the library that wrote a schema parses each value.
//!
//! A pattern stands where llguidance knows no such format, or allows values that libraries refuse: 29 February of any year, a
//! 61st second, `https:` without a host, an e-mail address at a host without a dot.

/// A day that exists in the years 0001 to 9999.
const DATE: &str = r"(?:(?:[1-9]\d{3}|0[1-9]\d{2}|00[1-9]\d|000[1-9])-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12]\d|3[01])|(?:0[469]|11)-(?:0[1-9]|[12]\d|30)|02-(?:0[1-9]|1\d|2[0-8]))|(?:\d{2}(?:0[48]|[2468][048]|[13579][26])|(?:0[48]|[2468][048]|[13579][26])00)-02-29)";
/// Without the leap second, which neither Python nor JavaScript has.
const TIME: &str = r"(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d{1,9})?(?:Z|[+-](?:[01]\d|2[0-3]):[0-5]\d)";
/// Digits are limited to less than Python's longest `timedelta`, 999,999,999 days.
const DURATION: &str = r"P(?:(?:\d{1,6}Y(?:\d{1,6}M(?:\d{1,8}D)?)?|\d{1,6}M(?:\d{1,8}D)?|\d{1,8}D)(?:T(?:\d{1,5}H(?:\d{1,7}M(?:\d{1,9}S)?)?|\d{1,7}M(?:\d{1,9}S)?|\d{1,9}S))?|T(?:\d{1,5}H(?:\d{1,7}M(?:\d{1,9}S)?)?|\d{1,7}M(?:\d{1,9}S)?|\d{1,9}S)|\d{1,7}W)";
/// Without quotes, comments and addresses of hosts.
const EMAIL: &str = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z]{2,63}";
const OCTET: &str = "(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])";
/// Characters of a path, and those of a user's name.
const PATH: &str = r"(?:[A-Za-z0-9._~!$&'()*+,;=:@/-]|%[0-9A-Fa-f]{2})";
const USER: &str = r"(?:[A-Za-z0-9._~!$&'()*+,;=:-]|%[0-9A-Fa-f]{2})";
const PORT: &str = ":(?:[0-9]{1,4}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])";
/// A name whose last label is no number: others must be addresses.
const NAME: &str = "(?:[A-Za-z0-9_](?:[A-Za-z0-9_-]*[A-Za-z0-9_])?[.])*[A-Za-z](?:[A-Za-z0-9-]*[A-Za-z0-9])?";
/// Schemes other than http, https, ws, wss, ftp and file, whose URIs have rules of their own.
const SCHEME: &str = "(?:[A-EGI-VX-Za-egi-vx-z]|[Ff][A-HJ-SU-Za-hj-su-z0-9+.-]|[Hh][A-SU-Za-su-z0-9+.-]|[Ww][A-RT-Za-rt-z0-9+.-])[A-Za-z0-9+.-]*";

/// Formats with a fixed pattern.
const FIXED: [(&str, &str); 17] = [
    // RFC 3339, section 5.6, and appendix A
    ("date", DATE),
    ("time", TIME),
    ("duration", DURATION),
    // RFC 5321, section 4.1.2
    ("email", EMAIL),
    // RFC 4648, sections 4, 5 and 8
    ("base64", "(?:[0-9a-zA-Z+/]{4})*(?:[0-9a-zA-Z+/]{2}==|[0-9a-zA-Z+/]{3}=)?"),
    ("base64url", "(?:[0-9a-zA-Z_-]{4})*(?:[0-9a-zA-Z_-]{2}==|[0-9a-zA-Z_-]{3}=)?"),
    ("hex", "(?:[0-9a-fA-F]{2})*"),
    // RFC 7519, section 3; RFC 7515, section 7.1
    ("jwt", r"[0-9a-zA-Z_-]+\.[0-9a-zA-Z_-]+\.[0-9a-zA-Z_-]*"),
    // RFC 6901, section 3
    ("json-pointer", "(?:/(?:[^/~]|~[01])*)*"),
    // ITU-T E.164, section 6
    ("e164", r"\+[1-9]\d{6,14}"),
    // IEEE 802, section 8.1
    ("mac", "(?:[0-9a-f]{2}:){5}[0-9a-f]{2}"),
    // Zod's, and those of the formats' own specifications
    ("nanoid", "[a-zA-Z0-9_-]{21}"),
    ("cuid", "c[0-9a-z]{8,}"),
    ("cuid2", "[a-z][0-9a-z]{1,31}"),
    ("ulid", "[0-7][0-9A-HJKMNP-TV-Z]{25}"),
    ("xid", "[0-9a-v]{20}"),
    ("ksuid", "[A-Za-z0-9]{27}"),
];

/// The pattern of a format, for a whole string. `None` for one that llguidance enforces itself, or that nothing enforces.
pub(super) fn pattern(format: &str) -> Option<String> {
    let fixed = FIXED.iter().find(|(name, _)| *name == format).map(|(_, pattern)| (*pattern).to_owned());
    let pattern = fixed.or_else(|| match format {
        // RFC 3339, section 5.6
        "date-time" => Some(format!("{DATE}T{TIME}")),
        // RFC 3986, section 3
        "uri" => Some(uri()),
        // RFC 9562, section 4
        _ => uuid(format.strip_prefix("uuid")?),
    })?;
    Some(format!("^(?:{pattern})$"))
}

/// The pattern of a format that llguidance enforces itself, for names of properties. `None` for any other.
pub(super) fn name_pattern(format: &str) -> Option<String> {
    let pattern = match format {
        "uuid" => "[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}".to_owned(),
        "ipv4" => format!(r"(?:{OCTET}\.){{3}}{OCTET}"),
        "ipv6" => ipv6(),
        _ => return None,
    };
    Some(format!("^(?:{pattern})$"))
}

/// A UUID of a version.
fn uuid(version: &str) -> Option<String> {
    let known = ["1", "3", "4", "5", "6", "7", "8"].contains(&version);
    known.then(|| {
        format!("[0-9a-f]{{8}}-[0-9a-f]{{4}}-{version}[0-9a-f]{{3}}-[89ab][0-9a-f]{{3}}-[0-9a-f]{{12}}")
    })
}

/// IPv6 addresses (RFC 4291, section 2.2), with `::` at the beginning or before the last group only.
fn ipv6() -> String {
    let group = "[0-9A-Fa-f]{1,4}";
    format!("(?:{group}:){{7}}{group}|::(?:{group}:){{0,6}}{group}|::|(?:{group}:){{1,6}}:{group}")
}

/// URIs that parse by the URL standard, too: `https:` has a host, and a port has at most 16 bits.
fn uri() -> String {
    let address = format!(r"\[(?:{})\]", ipv6());
    let host = format!(r"(?:{OCTET}\.{OCTET}\.{OCTET}\.{OCTET}|{address}|{NAME})");
    let authority = format!("(?:{USER}*@)?{host}(?:{PORT})?");
    let end = format!(r"(?:\?(?:{PATH}|\?)*)?(?:#(?:{PATH}|\?)*)?");
    let web = format!("(?:[Hh][Tt][Tt][Pp][Ss]?|[Ww][Ss][Ss]?|[Ff][Tt][Pp])://{authority}(?:/{PATH}*)?{end}");
    let file = format!("[Ff][Ii][Ll][Ee]://(?:{NAME})?/{PATH}*{end}");
    let rootless = "(?:[A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2})";
    let other = format!("{SCHEME}:(?://{authority}(?:/{PATH}*)?|/?(?:{rootless}{PATH}*)?){end}");
    format!("{web}|{file}|{other}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::text::grammar::tests::{SMOLLM2, schema};

    fn accepts(format: &str, text: &str) -> bool {
        let constraint = schema(&json!({"type": "string", "format": format}).to_string());
        SMOLLM2.accepts(&constraint, &json!(text).to_string())
    }

    fn check(format: &str, valid: &[&str], invalid: &[&str]) {
        for (texts, expected) in [(valid, true), (invalid, false)] {
            texts.iter().for_each(|text| assert_eq!(accepts(format, text), expected, "{format}: {text}"));
        }
    }

    #[test]
    fn times_are_those_that_exist() {
        let days = ["2024-02-29", "2000-02-29", "0001-01-01", "9999-12-31", "2026-04-30"];
        let no_days = ["2023-02-29", "1900-02-29", "0000-01-01", "2026-04-31", "2026-13-01", "26-1-1"];
        check("date", &days, &no_days);
        let times = ["00:00:00Z", "23:59:59.123456789+23:59", "12:30:00-07:00"];
        check("time", &times, &["24:00:00Z", "23:59:60Z", "12:30:00", "12:30Z", "12:30:00z"]);
        let moments = ["2026-11-29T07:30:00Z", "2024-02-29T23:59:59.5+01:00"];
        check("date-time", &moments, &["2023-02-29T00:00:00Z", "2026-11-29 07:30:00Z", "2026-11-29"]);
        let spans = ["P1Y2M3DT4H5M6S", "PT36H", "P3W", "P1DT1M", "P99999999D"];
        check("duration", &spans, &["P", "PT", "P1YT", "P1W1D", "PT1M1H", "P999999999999D", "1D"]);
    }

    #[test]
    fn addresses_have_a_host_that_libraries_take() {
        let mails = ["a@b.co", "first.last+tag@mail.example.com", "o'neil@x-y.org"];
        check(
            "email",
            &mails,
            &["a@b", "a..b@c.de", ".a@c.de", "a@[1.2.3.4]", "a@-b.de", "a b@c.de", "@c.de"],
        );
        let uris = [
            "https://example.com",
            "http://user:pw@host_1.example.com:65535/a/b%20c?q=1&r=2#part",
            "ws://127.0.0.1:80/x",
            "https://[::1]/",
            "https://[2001:db8::1]:443",
            "file:///etc/hosts",
            "mailto:a@b.co",
            "urn:isbn:0451450523",
            "data:text/plain,hello",
            "hdfs://name/path",
            "about:blank",
        ];
        let none = [
            "https:",
            "https://",
            "http:/a",
            "http://a:65536/",
            "http://1.2.3.256/",
            "//a",
            "a b",
            "http://a b/",
        ];
        check("uri", &uris, &none);
    }

    #[test]
    fn encoded_texts_and_identifiers_have_their_form() {
        check("base64", &["", "QUJD", "QQ==", "QUI="], &["Q", "QQ", "Q=", "QUJD=", "Q_=="]);
        check("base64url", &["Q_-D", "QQ=="], &["Q+==", "QQ"]);
        check("hex", &["", "0aF9"], &["0", "0g"]);
        check("jwt", &["eyJh.eyJz.c2ln", "a.b."], &["a.b", "a..c"]);
        check("json-pointer", &["", "/a~1b/0", "/"], &["a", "/~2"]);
        check("e164", &["+4930123456"], &["4930123456", "+0123456", "+491"]);
        check("mac", &["00:1b:44:11:3a:b7"], &["00:1b:44:11:3a", "00-1b-44-11-3a-b7"]);
        check("nanoid", &["V1StGXR8_Z5jdHi6B-myT"], &["V1StGXR8_Z5jdHi6B-my"]);
        check("cuid", &["ch72gsb320000udocl363eofy"], &["ah72gsb32", "cABC"]);
        check("cuid2", &["tz4a98xxat96iws9zmbrgj3a"], &["1z4a98", ""]);
        check("ulid", &["01ARZ3NDEKTSV4RRFFQ69G5FAV"], &["81ARZ3NDEKTSV4RRFFQ69G5FAV", "01ARZ3"]);
        check("xid", &["9m4e2mr0ui3e8a215n4g"], &["9m4e2mr0ui3e8a215n4z"]);
        check("ksuid", &["0ujtsYcgvSTl8PAuAdqWYSMnLOv"], &["0ujtsYcgvSTl8PAuAdqWYSMnLO"]);
        check("uuid4", &["f81d4fae-7dec-41d0-a765-00a0c91e6bf6"], &["f81d4fae-7dec-11d0-a765-00a0c91e6bf6"]);
        check("uuid", &["f81d4fae-7dec-11d0-a765-00a0c91e6bf6"], &["f81d4fae7dec11d0a76500a0c91e6bf6"]);
        check("ipv4", &["255.0.0.1"], &["256.0.0.1", "1.2.3"]);
        check("ipv6", &["::1", "2001:db8::1"], &["1::2::3", "12345::"]);
        check("hostname", &["a-b.example"], &["-a", "a_b"]);
    }

    #[test]
    fn unknown_format_has_no_pattern() {
        for format in ["path", "password", "uuid2", "uuid", "ipv4", "hostname", "uri-reference"] {
            assert_eq!(pattern(format), None, "{format}");
        }
    }
}
