//! Small templates with Jinja2 3.1.6's output under Transformers 5.24.

use super::*;

/// Templates and their renderings. `u` is undefined.
const RENDERINGS: [(&str, &str); 50] = [
    ("{{ u is iterable }}", "True"),
    ("{{ u is sequence }}", "True"),
    ("{{ u is mapping }}", "False"),
    ("{{ u is string }}", "False"),
    ("{{ n is iterable }}", "False"),
    ("{{ 'a' in u }}", "False"),
    ("{{ u|length }}", "0"),
    ("{{ u|items|list }}", "[]"),
    ("{{ u|trim }}", ""),
    ("{{ u ~ 'a' }}", "a"),
    ("{{ true is number }}", "True"),
    ("{{ d['items'] is mapping }}", "False"),
    ("{{ k['items'] }}", "5"),
    ("{{ l|trim }}", "['a', {'b': None, 'c': 1.0}]"),
    ("{{ l|upper }}", "['A', {'B': NONE, 'C': 1.0}]"),
    ("{{ l|map('upper')|list }}", "['A', \"{'B': NONE, 'C': 1.0}\"]"),
    ("{{ n|string }}", "None"),
    ("{{ f }} {{ g }} {{ h }} {{ true }} {{ n }}", "1e-07 1e+16 1.0 True None"),
    ("{{ '<b>' ~ ('<a>'|safe) ~ '<c>' }}", "<b><a><c>"),
    ("{{ ['<b>', '<a>'|safe]|join('<') }}", "<b><<a>"),
    ("{{ ('<a>'|safe)|replace('a','<') }}", "<<>"),
    ("{{ 'x' if false }}|", "|"),
    ("{{ '%s'|format(n) }} {{ '%s'|format(true) }} {{'%s'|format(f)}}", "None True 1e-07"),
    ("{{ [1,'b',n]|join(',') }}", "1,b,None"),
    ("{{ {'a':1,'B':2,'c':n}|dictsort }}", "[('a', 1), ('B', 2), ('c', None)]"),
    ("{{ {'B':1,'a':2}|dictsort }}", "[('a', 2), ('B', 1)]"),
    ("{{ 'abc'|length }} {{ (1,'a') }}", "3 (1, 'a')"),
    ("{{ 'İß'|upper }} {{ 'ΑΣ'|lower }}", "İSS ας"),
    ("{{ '\\u00e9\\x41' }}", "éA"),
    ("{{ l|tojson }} {{ f|tojson }} {{ g|tojson }}", "[\"a\", {\"b\": null, \"c\": 1.0}] 1e-07 1e+16"),
    ("{{ big|tojson }} {{ big }}", "12345678901234567890 12345678901234567890"),
    ("{{ ['a','b']|string }} {{ {'a': 'it\\'s', 'b': '\"'} }}", "['a', 'b'] {'a': \"it's\", 'b': '\"'}"),
    ("{{ 'a\\u2028\\xa0 '|trim == 'a' }}", "True"),
    ("{{ s.split() }}", "['a', 'b', 'c']"),
    ("{{ s|indent(2) }}", " a\n   b\u{a0}c "),
    ("{{ u == n }} {{ u is none }} {{ u == '' }} {{ not u }}", "False False False True"),
    ("{{ n|default('x') }} {{ n|default('x', true) }} {{ ''|default('x',true) }}", "None x x"),
    (
        "{{ l|tojson(indent=2) }}{{ []|tojson(indent=2) }}{{ {}|tojson(indent=2) }}",
        "[\n  \"a\",\n  {\n    \"b\": null,\n    \"c\": 1.0\n  }\n][]{}",
    ),
    ("{% for a in s %}{{a}}{% endfor %}", " a\n b\u{a0}c "),
    ("{{ 1 == 1.0 }} {{ true == 1 }} {{ 1 in [true] }}", "True True True"),
    ("{{ 7 // 2 }} {{ 7 / 2 }} {{ -7 % 3 }}", "3 3.5 2"),
    ("{{ 'a' * 3 }}", "aaa"),
    ("{{ none.x }}", ""),
    ("{{ [1,2][5] }}|", "|"),
    ("{{ 'abc'[-1] }} {{ 'abc'[5] }}|", "c |"),
    ("{{ 'abc'.x }}|", "|"),
    ("{% set ns=namespace(a=1) %}{{ ns.b is defined }}|{{ ns.b }}", "False|"),
    ("{{ d|string is string }} {{ ('a'|safe) is string }}", "True True"),
    ("{% for i in [1,2,3] %}{% set x = i %}{% endfor %}{{ x }}|", "|"),
    ("{% if true %}{% set y=1 %}{% endif %}{{ y }}", "1"),
];

/// Templates that have another rendering here, which is the second text.
///
/// - A missing key whose name is a method of Python's dictionaries is that method in Jinja2, and undefined here.
/// - `safe` makes Jinja2 escape what `+` joins to it as HTML, although nothing here is HTML.
const DEVIATIONS: [(&str, &str); 5] = [
    ("{{ d['items'] is defined }}", "False"),
    ("{% if d['items'] %}y{% endif %}", ""),
    ("{{ k.items }}", "5"),
    ("{{ '<b>' + ('<a>'|safe) }}", "<b><a>"),
    ("{{ ('<a>'|safe).split('a')[0] + '<' }}", "<<"),
];

/// Templates that Jinja2 refuses.
const ERRORS: [&str; 7] = [
    "{{ 'a' + u }}",
    "{{ u + 'a' }}",
    "{{ u.x }}",
    "{{ n|length }}",
    "{{ l[0].content.text is defined }}",
    "{% macro q(x) %}{{x}}{% endmacro %}{{ q() }}|{{ q(1,2) }}",
    "{{ q is defined }}{{ q() }}",
];

fn variables() -> serde_json::Value {
    serde_json::json!({
        "n": null, "d": {}, "k": {"items": 5}, "l": ["a", {"b": null, "c": 1.0}], "f": 1e-7, "g": 1e16, "h": 1.0,
        "s": " a\n b\u{a0}c ", "big": 12_345_678_901_234_567_890_u64
    })
}

#[test]
fn renderings_are_those_of_jinja2() {
    for (template, expected) in RENDERINGS.into_iter().chain(DEVIATIONS) {
        assert_eq!(render(template, Some(variables())).unwrap(), expected, "{template}");
    }
}

#[test]
fn errors_are_those_of_jinja2() {
    for template in ERRORS {
        assert!(render(template, Some(variables())).is_err(), "{template}");
    }
}
