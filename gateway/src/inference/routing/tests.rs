use proptest::prelude::*;
use serde_json::json;

use super::*;

/// The decision about facts that no question is asked for.
fn decide(routes: &Routes, facts: &Facts) -> Decision {
    match super::decide(routes, facts) {
        Next::Decided(decision) => decision,
        Next::Asks(question) => panic!("{question:?}"),
    }
}

fn routes(routes: Value) -> Routes {
    serde_json::from_value(routes).unwrap()
}

fn facts(model: &str) -> Facts {
    Facts { model: model.into(), prompt_tokens: Some(100), ..Facts::default() }
}

/// Why a route with one condition does not apply.
fn because(condition: &Value, facts: &Facts) -> Option<String> {
    let mut route = json!({"targets": ["m"]});
    route.as_object_mut().unwrap().extend(condition.as_object().unwrap().clone());
    decide(&routes(json!([route])), facts).steps[0].because.clone()
}

#[test]
fn first_route_whose_conditions_hold_applies() {
    let routes = routes(json!([
        {"model": "claude-haiku", "targets": ["small"]},
        {"model": "claude-*", "has_tools": true, "targets": ["tools"]},
        {"model_regex": "^claude-[a-z]+$", "targets": ["big", "far/big"]},
    ]));
    let decision = decide(&routes, &facts("claude-opus"));
    assert_eq!((decision.route.as_deref(), decision.steps.len()), (Some("^claude-[a-z]+$"), 3));
    assert_eq!(decision.targets, ["big", "far/big"]);
    let reasons: Vec<_> = decision.steps.iter().map(|step| step.because.as_deref()).collect();
    assert_eq!(reasons, [Some("model \"claude-opus\" does not fit"), Some("the request has no tools"), None]);
    let none = decide(&routes, &facts("claude-3"));
    assert_eq!((none.route, none.targets.len(), none.steps.len()), (None, 0, 3));
}

#[test]
fn each_condition_says_why_it_does_not_hold() {
    let mut headers = HeaderMap::new();
    headers.insert("x-team", "red".parse().unwrap());
    let facts = Facts {
        has_images: true,
        key: Some(KeyIdentity { id: "key_1".into(), name: "team-a".into() }),
        headers: Some(Arc::new(headers)),
        metadata: json!({"n": 3, "p": "q"}).as_object().unwrap().clone(),
        local: HashMap::from([("m".into(), LocalState::WouldEvict)]),
        minute: 725,
        ..facts("x")
    };
    for (condition, reason) in [
        (json!({"has_images": false}), Some("the request has images")),
        (json!({"has_images": true, "has_tools": false}), None),
        (
            json!({"prompt_tokens": {"min": 101}}),
            Some("prompt_tokens: about 100, which is outside the range"),
        ),
        (json!({"prompt_tokens": {"min": 100, "max": 100}}), None),
        (json!({"keys": ["team-b", "team"]}), Some("the sender's key is none of keys")),
        (json!({"keys": ["team-b", "team-*"]}), None),
        (json!({"keys": ["key_1"]}), None),
        (json!({"headers": {"X-Team": "blue"}}), Some("the header x-team differs")),
        (json!({"headers": {"x-user": "a"}}), Some("the header x-user is missing")),
        (json!({"headers": {"x-team": "red"}}), None),
        (json!({"metadata": {"p": "r"}}), Some("metadata.p differs")),
        (json!({"metadata": {"n": "3", "p": "q"}}), None),
        (json!({"local": {"model": "m", "state": "loadable"}}), Some("m is would_evict")),
        (json!({"local": {"model": "other", "state": "ready"}}), Some("other is unusable")),
        (json!({"local": {"model": "m", "state": "would_evict"}}), None),
        (json!({"time": "22:00-06:00"}), Some("the time 12:05 is outside 22:00-06:00")),
        (json!({"time": "12:00-12:06"}), None),
    ] {
        assert_eq!(because(&condition, &facts).as_deref(), reason, "{condition}");
    }
    let keyless = Facts { key: None, ..facts.clone() };
    assert!(because(&json!({"keys": ["*"]}), &keyless).is_some());
    let call = Facts { prompt_tokens: None, ..facts };
    assert!(because(&json!({"prompt_tokens": {"max": 9}}), &call).unwrap().contains("generates nothing"));
}

#[test]
fn split_model_comes_first_and_only_once() {
    let routes = routes(
        json!([{"split": [{"model": "a", "weight": 1}, {"model": "b", "weight": 3}], "targets": ["b", "c"]}]),
    );
    let targets = |draw: u64| {
        let decision = decide(&routes, &Facts { draw, ..facts("x") });
        decision.targets
    };
    assert_eq!(targets(0), ["a", "b", "c"]);
    assert_eq!(targets(u64::MAX), ["b", "c"]);
}

#[test]
fn draw_follows_from_the_id_and_spreads() {
    assert_eq!(draw("req_1"), draw("req_1"));
    let low = (0..1000).filter(|at| draw(&format!("req_{at}")) % 10 < 3).count();
    assert!((200..400).contains(&low), "{low} of 1000 fall on three tenths");
}

/// Routes for names of one letter, with any conditions that need no state of the machine.
fn any_routes() -> impl Strategy<Value = Routes> {
    let route = (
        "[ab]\\*?",
        any::<Option<bool>>(),
        any::<Option<bool>>(),
        proptest::option::of(0u32..200),
        0u16..1440,
    );
    proptest::collection::vec(route, 0..6).prop_map(|all| {
        let mut valid = Vec::new();
        for (at, (model, has_tools, has_images, min, minute)) in all.into_iter().enumerate() {
            let mut route = json!({"name": format!("r{at}"), "model": model, "targets": [format!("t{at}")],
                "time": format!("{:02}:{:02}-{:02}:{:02}", minute / 60, minute % 60, (minute + 700) % 1440 / 60, (minute + 700) % 1440 % 60)});
            let mut set = |name: &str, value: Value| route[name] = value;
            has_tools.into_iter().for_each(|has| set("has_tools", has.into()));
            has_images.into_iter().for_each(|has| set("has_images", has.into()));
            min.into_iter().for_each(|min| set("prompt_tokens", json!({"min": min})));
            valid.push(route);
        }
        routes(valid.into())
    })
}

fn any_facts() -> impl Strategy<Value = Facts> {
    let facts = (
        "[abc]{1,2}",
        any::<bool>(),
        any::<bool>(),
        proptest::option::of(0u32..200),
        0u16..1440,
        any::<u64>(),
    );
    facts.prop_map(|(model, has_tools, has_images, prompt_tokens, minute, draw)| Facts {
        model,
        has_tools,
        has_images,
        prompt_tokens,
        minute,
        draw,
        ..Facts::default()
    })
}

proptest! {
    #[test]
    fn steps_end_with_the_route_that_applies(routes in any_routes(), facts in any_facts()) {
        let decision = decide(&routes, &facts);
        prop_assert_eq!(&decision, &decide(&routes, &facts));
        let (last, earlier) = match decision.steps.split_last() {
            Some((last, earlier)) => (Some(last), earlier),
            None => (None, &[][..]),
        };
        prop_assert!(earlier.iter().all(|step| !step.matched && step.because.is_some()));
        let applies = last.filter(|step| step.matched);
        prop_assert_eq!(applies.map(|step| &step.route), decision.route.as_ref());
        match applies {
            Some(step) => {
                prop_assert!(step.because.is_none() && !decision.targets.is_empty());
                prop_assert!(routes.iter().nth(decision.steps.len() - 1).unwrap().takes(&facts.model));
            }
            None => prop_assert_eq!((decision.steps.len(), decision.targets.len()), (routes.iter().count(), 0)),
        }
    }

    /// A route that does not apply can go without a change of the outcome.
    #[test]
    fn routes_that_do_not_apply_change_nothing(routes in any_routes(), facts in any_facts()) {
        let decision = decide(&routes, &facts);
        let kept = routes.iter().enumerate().filter(|(at, _)| decision.steps.get(*at).is_none_or(|step| step.matched));
        let kept: Vec<&Route> = kept.map(|(_, route)| route).collect();
        let alone = decide(&self::routes(serde_json::to_value(kept).unwrap()), &facts);
        prop_assert_eq!((alone.route, alone.targets), (decision.route, decision.targets));
    }

    #[test]
    fn split_follows_its_weights(weights in proptest::collection::vec(1u32..9, 1..5)) {
        let split: Vec<Share> =
            weights.iter().enumerate().map(|(at, weight)| Share { model: at.to_string(), weight: *weight }).collect();
        let total: u32 = weights.iter().sum();
        let mut counts = vec![0; weights.len()];
        for draw in 0..u64::from(total) {
            counts[choose(&split, draw).unwrap().parse::<usize>().unwrap()] += 1;
        }
        prop_assert_eq!(counts, weights);
    }
}
