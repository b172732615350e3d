use proptest::prelude::*;
use serde_json::json;

use super::*;

fn parse(text: &str) -> Result<Routes, String> {
    serde_json::from_str(text).map_err(|error| error.to_string())
}

#[test]
fn wrong_route_is_refused_by_its_place() {
    for (text, part) in [
        (r#"[{"model": "a", "targets": []}]"#, "route 1 (a): targets"),
        (r#"[{"model": "a", "targets": [""]}]"#, "route 1 (a): targets"),
        (r#"[{"model": "a*b", "targets": ["m"]}]"#, "\"a*b\" is neither"),
        (r#"[{"model": "", "targets": ["m"]}]"#, "is neither"),
        (r#"[{"model": "a", "targets": ["m"], "to": 1}]"#, "unknown field `to`"),
        (r#"[{"model": "a", "model_regex": "b", "targets": ["m"]}]"#, "model is given as well"),
        (r#"[{"targets": ["m"]}, {"model": "b", "targets": ["n"]}]"#, "route 2 (b): it is never"),
        (
            r#"[{"model": "a*", "targets": ["m"]}, {"model": "ab", "targets": ["n"]}]"#,
            "route 2 (ab): it is never",
        ),
        (
            r#"[{"model": "a*", "targets": ["m"]}, {"model": "ab*", "targets": ["n"]}]"#,
            "route for a* comes before",
        ),
        (
            r#"[{"name": "x", "has_tools": true, "targets": ["m"]}, {"name": "x", "targets": ["n"]}]"#,
            "route 2 (x): another route",
        ),
        (r#"[{"prompt_tokens": {}, "targets": ["m"]}]"#, "prompt_tokens needs"),
        (r#"[{"prompt_tokens": {"min": 3, "max": 2}, "targets": ["m"]}]"#, "prompt_tokens needs"),
        (r#"[{"time": "24:00-06:00", "targets": ["m"]}]"#, "no part of a day"),
        (r#"[{"time": "06:00-06:00", "targets": ["m"]}]"#, "no part of a day"),
        (r#"[{"local": {"model": "m", "state": "hot"}, "targets": ["m"]}]"#, "hot"),
        (r#"[{"split": [{"model": "m", "weight": 0}]}]"#, "a weight must lie"),
        (r#"[{"first_token_seconds": 3, "targets": ["m"]}]"#, "needs a further model"),
        (r#"[{"sentence": " ", "targets": ["m"]}]"#, "sentence must have 1 to 500 bytes"),
        (r#"[{"judge": "m", "targets": ["m"]}]"#, "judge: there is no sentence"),
        (r#"[{"sentence": "s", "judge": "", "targets": ["m"]}]"#, "judge: it is empty"),
        (r#"[{"similar": {"examples": [], "at_least": 1}, "targets": ["m"]}]"#, "similar: examples must"),
        (
            r#"[{"similar": {"examples": ["a", " "], "at_least": 1}, "targets": ["m"]}]"#,
            "similar: each of examples",
        ),
        (r#"[{"similar": {"examples": ["a"], "at_least": 0}, "targets": ["m"]}]"#, "similar: at_least must"),
        (
            r#"[{"similar": {"examples": ["a"], "at_least": 1.01}, "targets": ["m"]}]"#,
            "similar: at_least must",
        ),
        (r#"[{"similar": {"examples": ["a"]}, "targets": ["m"]}]"#, "at_least"),
        (
            r#"[{"similar": {"examples": ["a"], "at_least": 1, "model": ""}, "targets": ["m"]}]"#,
            "similar: model is empty",
        ),
    ] {
        let problem = parse(text).unwrap_err();
        assert!(problem.contains(part), "{text}: {problem}");
    }
}

#[test]
fn wrong_expression_is_refused_with_its_place() {
    for (regex, part) in [
        ("claude-(a", "character 8"),
        ("é[z-a]", "character 3"),
        ("a{2", "character 2"),
        ("(?=a)", "character 1"),
    ] {
        let problem = parse(&json!([{"model_regex": regex, "targets": ["m"]}]).to_string()).unwrap_err();
        assert!(problem.contains("model_regex") && problem.contains(part), "{regex}: {problem}");
    }
    let large = json!([{"model_regex": r"\w{900}{900}", "targets": ["m"]}]).to_string();
    assert!(parse(&large).unwrap_err().contains("too large"));
}

#[test]
fn conditional_route_hides_no_later_one() {
    let routes =
        parse(r#"[{"model": "a*", "has_tools": true, "targets": ["m"]}, {"model": "ab", "targets": ["n"]}]"#);
    assert_eq!(routes.unwrap().iter().count(), 2);
    for condition in [r#""sentence": "s""#, r#""similar": {"examples": ["x"], "at_least": 0.5}"#] {
        let text = format!(
            r#"[{{"model": "a*", {condition}, "targets": ["m"]}}, {{"model": "ab", "targets": ["n"]}}]"#
        );
        assert_eq!(parse(&text).unwrap().iter().count(), 2);
    }
}

#[test]
fn long_texts_of_judged_conditions_are_refused() {
    let route = |condition: serde_json::Value| {
        let mut route = json!({"targets": ["m"]});
        route.as_object_mut().unwrap().extend(condition.as_object().unwrap().clone());
        parse(&json!([route]).to_string())
    };
    let examples = |texts: Vec<String>| json!({"similar": {"examples": texts, "at_least": 0.6}});
    for (condition, is_fine) in [
        (json!({"sentence": "a".repeat(500)}), true),
        (json!({"sentence": "a".repeat(501)}), false),
        (examples(vec!["a".repeat(2000); 64]), true),
        (examples(vec!["a".repeat(2001)]), false),
        (examples(vec!["a".into(); 65]), false),
    ] {
        assert_eq!(route(condition).is_ok(), is_fine);
    }
}

#[test]
fn titles_come_from_the_name_the_pattern_or_the_place() {
    let routes = parse(
        r#"[{"name": "x", "model": "a", "targets": ["m"]}, {"model": "b*", "targets": ["m"]}, {"model_regex": "c.", "targets": ["m"]},
            {"has_tools": true, "targets": ["m"]}]"#,
    )
    .unwrap();
    let titles: Vec<_> = routes.iter().enumerate().map(|(place, route)| route.title(place)).collect();
    assert_eq!(titles, ["x", "b*", "c.", "route 4"]);
}

#[test]
fn document_restores_every_condition() {
    let text = json!([{
        "name": "all", "model_regex": "^c", "has_tools": true, "has_images": false, "prompt_tokens": {"min": 1, "max": 9},
        "headers": {"X-Team": "blue"}, "metadata": {"p": "q"}, "local": {"model": "m", "state": "would_evict"},
        "similar": {"examples": ["x", "y"], "at_least": 0.6, "model": "e"}, "sentence": "the user brainstorms", "judge": "j",
        "time": "22:00-06:30", "targets": ["m", "n"], "split": [{"model": "s", "weight": 2}], "first_token_seconds": 4,
        "local_only": true,
    }]);
    let routes = parse(&text.to_string()).unwrap();
    assert_eq!(routes.iter().next().unwrap().headers.keys().next().unwrap(), "x-team");
    assert_eq!(parse(&serde_json::to_string(&routes).unwrap()).unwrap(), routes);
}

#[test]
fn part_of_a_day_may_go_over_midnight() {
    let range = |text: &str| serde_json::from_value::<TimeRange>(json!(text)).unwrap();
    let (night, day) = (range("22:00-06:00"), range("09:00-17:30"));
    for (minute, at_night, by_day) in
        [(0, true, false), (360, false, false), (540, false, true), (1050, false, false), (1320, true, false)]
    {
        assert_eq!((night.contains(minute), day.contains(minute)), (at_night, by_day), "{minute}");
    }
    assert_eq!(night.to_string(), "22:00-06:00");
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
        if first.covers_all() {
            prop_assert!(first.matches(&name));
        }
    }

    #[test]
    fn any_expression_is_accepted_or_refused_with_a_place(text in ".{0,12}") {
        if let Err(problem) = NameRegex::new(&text) {
            prop_assert!(problem.starts_with("model_regex: "), "{}", problem);
        }
    }
}
