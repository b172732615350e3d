use ipc_proto::gateway::Routes;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::{Decision, Next, decide};
use super::*;

fn routes(routes: Value) -> Routes {
    serde_json::from_value(routes).unwrap()
}

fn facts(text: &str) -> Facts {
    Facts { model: "a".into(), text: Some(text.into()), ..Facts::default() }
}

fn found(finding: Finding) -> Answer {
    Answer { found: Ok(Found { finding, prompt_tokens: 40, completion_tokens: 1 }), ms: 12 }
}

/// The decision where each question gets its answer, and the questions in order.
fn asked(
    routes: &Routes,
    mut facts: Facts,
    answer: impl Fn(Question<'_>) -> Answer,
) -> (Decision, Vec<String>) {
    let mut questions = Vec::new();
    loop {
        match decide(routes, &facts) {
            Next::Decided(decision) => return (decision, questions),
            Next::Asks(question) => {
                questions.push(format!("{question:?}"));
                let answer = answer(question);
                facts.answers.add(question, answer);
            }
        }
    }
}

#[test]
fn sentence_is_asked_after_the_other_conditions_of_its_route() {
    let routes = routes(json!([
        {"name": "tools", "has_tools": true, "sentence": "s", "judge": "j", "targets": ["m"]},
        {"name": "idea", "sentence": "it is a new idea", "judge": "j", "targets": ["big"]},
        {"name": "again", "sentence": "it is a new idea", "judge": "j", "has_images": false, "targets": ["n"]},
        {"name": "rest", "targets": ["small"]},
    ]));
    let (decision, questions) = asked(&routes, facts("hello"), |_| found(Finding::Truth(false)));
    assert_eq!(questions, ["Sentence { model: \"j\", sentence: \"it is a new idea\" }"]);
    assert_eq!(decision.route.as_deref(), Some("rest"));
    let because: Vec<_> = decision.steps.iter().map(|step| step.because.as_deref()).collect();
    let untrue = Some("judged to be untrue: it is a new idea");
    assert_eq!(because, [Some("the request has no tools"), untrue, untrue, None]);
    let shown = Judgement {
        condition: JudgedCondition::Sentence,
        model: "j".into(),
        holds: Some(false),
        similarity: None,
        problem: None,
        ms: 12,
        prompt_tokens: 40,
        completion_tokens: 1,
    };
    // The second use of an answer took nothing.
    let judged: Vec<_> = decision.steps.iter().map(|step| step.judged.clone()).collect();
    assert_eq!(judged, [vec![], vec![shown], vec![], vec![]]);
    let (decision, _) = asked(&routes, facts("hello"), |_| found(Finding::Truth(true)));
    assert_eq!((decision.route.as_deref(), decision.targets), (Some("idea"), vec!["big".to_owned()]));
}

#[test]
fn similarity_is_compared_before_the_sentence_is_judged() {
    let routes = routes(json!([{
        "similar": {"examples": ["x", "y"], "at_least": 0.6, "model": "e"}, "sentence": "s", "judge": "j", "targets": ["m"],
    }]));
    let answer = |cosine: f64| {
        move |question: Question<'_>| match question {
            Question::Similar { examples, .. } => {
                assert_eq!(examples, ["x", "y"]);
                found(Finding::Similarity(cosine))
            }
            Question::Sentence { .. } => found(Finding::Truth(true)),
        }
    };
    let (decision, questions) = asked(&routes, facts("t"), answer(0.599_96));
    assert_eq!((questions.len(), decision.route), (1, None));
    assert_eq!(decision.steps[0].because.as_deref(), Some("the similarity 0.600 is below 0.6"));
    assert_eq!(decision.steps[0].judged[0].similarity, Some(0.6));
    let (decision, questions) = asked(&routes, facts("t"), answer(0.6));
    assert_eq!((questions.len(), decision.steps[0].judged.len()), (2, 2));
    assert!(decision.steps[0].matched);
}

#[test]
fn what_is_not_judged_does_not_hold() {
    let judged = |more: Value| {
        let mut route = json!({"name": "judged", "targets": ["m"]});
        route.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        routes(json!([route, {"name": "rest", "targets": ["n"]}]))
    };
    let sentence = json!({"sentence": "s", "judge": "j"});
    let silent = |_: Question<'_>| Answer { found: Err("no answer within 9 ms".into()), ms: 9 };
    let (decision, _) = asked(&judged(sentence.clone()), facts("t"), silent);
    assert_eq!(decision.route.as_deref(), Some("rest"));
    assert_eq!(decision.steps[0].because.as_deref(), Some("not judged: no answer within 9 ms"));
    let shown = &decision.steps[0].judged[0];
    assert_eq!((shown.holds, shown.problem.as_deref(), shown.ms), (None, Some("no answer within 9 ms"), 9));
    for (condition, facts, problem) in [
        (sentence, Facts { text: None, ..facts("") }, "not judged: the request has no text of a user"),
        (json!({"sentence": "s"}), facts("t"), "not judged: no model is set that judges"),
        (
            json!({"similar": {"examples": ["x"], "at_least": 0.5}}),
            facts("t"),
            "not judged: no model is set that judges",
        ),
    ] {
        let (decision, questions) = asked(&judged(condition), facts, |_| panic!("nothing is to be asked"));
        assert_eq!((decision.route.as_deref(), questions.len()), (Some("rest"), 0));
        assert_eq!(decision.steps[0].because.as_deref(), Some(problem));
        assert!(decision.steps[0].judged.is_empty());
    }
}

/// What the models of a generated case say: a finding for each sentence and each first example, or nothing.
type Said = Vec<Option<u8>>;

const MODELS: [&str; 2] = ["j", "k"];

fn says(said: &Said, question: Question<'_>) -> Answer {
    let (model, word) = match question {
        Question::Sentence { model, sentence } => (model, sentence),
        Question::Similar { model, examples } => (model, examples[0].as_str()),
    };
    let place = 2 * word.parse::<usize>().unwrap() + usize::from(model == MODELS[1]);
    let finding = said[place].map(|number| match question {
        Question::Sentence { .. } => Finding::Truth(number < 5),
        Question::Similar { .. } => Finding::Similarity(f64::from(number) / 10.0),
    });
    let found = finding.map(|finding| Found { finding, prompt_tokens: 1, completion_tokens: 0 });
    Answer { found: found.ok_or_else(|| "silence".into()), ms: 1 }
}

/// Whether a route applies, with nothing but its conditions and what the models say.
fn applies(route: &Route, facts: &Facts, said: &Said) -> bool {
    let sentence = route.sentence.as_deref().is_none_or(|sentence| {
        let question = Question::Sentence { model: route.judge.as_deref().unwrap(), sentence };
        says(said, question).found.is_ok_and(|found| found.finding == Finding::Truth(true))
    });
    let similar = route.similar.as_ref().is_none_or(|similar| {
        let question =
            Question::Similar { model: similar.model.as_deref().unwrap(), examples: &similar.examples };
        says(said, question).found.is_ok_and(|found| match found.finding {
            Finding::Similarity(cosine) => cosine >= similar.at_least,
            Finding::Truth(_) => false,
        })
    });
    holds_cheaply(route, facts) && sentence && similar
}

fn holds_cheaply(route: &Route, facts: &Facts) -> bool {
    route.takes(&facts.model) && route.has_tools.is_none_or(|wanted| wanted == facts.has_tools)
}

fn is_of(question: &str, route: &Route) -> bool {
    let sentence = route
        .sentence
        .as_deref()
        .map(|sentence| Question::Sentence { model: route.judge.as_deref().unwrap(), sentence });
    let similar = route.similar.as_ref().map(|similar| Question::Similar {
        model: similar.model.as_deref().unwrap(),
        examples: &similar.examples,
    });
    sentence.into_iter().chain(similar).any(|own| format!("{own:?}") == question)
}

fn any_routes() -> impl Strategy<Value = Routes> {
    let route = (
        "[ab]",
        any::<Option<bool>>(),
        proptest::option::of((0..3u8, 0..2usize)),
        proptest::option::of((0..3u8, 0..2usize, 1..=10u8)),
    );
    proptest::collection::vec(route, 0..7).prop_map(|all| {
        let routes: Vec<Route> = all
            .into_iter()
            .enumerate()
            .map(|(place, (model, has_tools, sentence, similar))| {
                let mut route = json!({"name": format!("r{place}"), "model": format!("{model}*"), "targets": ["m"],
                    "time": "00:00-23:59"});
                has_tools.into_iter().for_each(|has| route["has_tools"] = has.into());
                if let Some((word, judge)) = sentence {
                    route["sentence"] = word.to_string().into();
                    route["judge"] = MODELS[judge].into();
                }
                if let Some((word, model, tenths)) = similar {
                    route["similar"] = json!({"examples": [word.to_string()], "model": MODELS[model],
                        "at_least": f64::from(tenths) / 10.0});
                }
                serde_json::from_value(route).unwrap()
            })
            .collect();
        Routes::new(routes).unwrap()
    })
}

proptest! {
    #[test]
    fn decision_is_that_of_a_simple_reference(
        routes in any_routes(),
        said in proptest::collection::vec(proptest::option::of(0..10u8), 6),
        model in "[abc]",
        has_tools in any::<bool>(),
        has_text in any::<bool>(),
    ) {
        let facts = Facts { model, has_tools, text: has_text.then(|| "t".into()), ..Facts::default() };
        let (decision, questions) = asked(&routes, facts.clone(), |question| says(&said, question));
        let expected = routes.iter().position(|route| {
            applies(route, &facts, &said) && (has_text || !route.is_judged())
        });
        let titles: Vec<String> = routes.iter().enumerate().map(|(place, route)| route.title(place)).collect();
        prop_assert_eq!(decision.route.as_ref(), expected.map(|place| &titles[place]));
        prop_assert!(has_text || questions.is_empty());
        // Each question once, and only for a route that is reached and whose other conditions hold.
        for (place, question) in questions.iter().enumerate() {
            prop_assert!(!questions[..place].contains(question), "asked twice: {}", question);
            let reached = routes.iter().take(expected.map_or(routes.len(), |place| place + 1));
            let mut reached = reached.filter(|route| holds_cheaply(route, &facts));
            prop_assert!(reached.any(|route| is_of(question, route)), "{}", question);
        }
        // Each answer is shown once.
        let shown: usize = decision.steps.iter().map(|step| step.judged.len()).sum();
        prop_assert_eq!(shown, questions.len());
    }
}
