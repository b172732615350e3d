use ipc_proto::generate::{ChatPrompt, Message};
use proptest::prelude::*;

use super::*;

fn idle(incarnations: &[u64]) -> Vec<Candidate> {
    incarnations.iter().map(|incarnation| Candidate { incarnation: *incarnation, load: 0 }).collect()
}

fn chat(turns: &[(Role, &str)]) -> Prompt {
    let messages = turns.iter().map(|(role, content)| Message::text(*role, *content)).collect();
    Prompt::Chat(ChatPrompt { messages, ..ChatPrompt::default() })
}

#[test]
fn conversation_keeps_its_affinity_as_it_grows() {
    let first = chat(&[(Role::System, "Be brief."), (Role::User, "Hello")]);
    let later = chat(&[
        (Role::System, "Be brief."),
        (Role::User, "Hello"),
        (Role::Assistant, "Hi"),
        (Role::User, "And now?"),
    ]);
    let other = chat(&[(Role::System, "Be brief."), (Role::User, "Good morning")]);
    assert_eq!(affinity(None, "", &first), affinity(None, "", &later));
    assert_ne!(affinity(None, "", &first), affinity(None, "", &other));
    assert_ne!(affinity(None, "", &first), affinity(None, "mine", &first));
    // A name from the client replaces the hash of the beginning.
    assert_eq!(affinity(Some("mine"), "", &first), affinity(Some("mine"), "", &other));
    assert_ne!(affinity(Some("mine"), "", &first), affinity(Some("yours"), "", &first));
    let text = Prompt::Text;
    let long = "word ".repeat(400);
    assert_eq!(
        affinity(None, "", &text(format!("{long}one"))),
        affinity(None, "", &text(format!("{long}two")))
    );
}

#[test]
fn removed_worker_moves_only_its_own_requests() {
    let (all, fewer) = (idle(&[1, 2, 3, 4]), idle(&[1, 2, 4]));
    let mut counts = [0; 4];
    for affinity in 0..1000 {
        let at = choose(affinity, &all).unwrap();
        counts[at] += 1;
        let then = fewer[choose(affinity, &fewer).unwrap()].incarnation;
        assert!(all[at].incarnation == 3 || then == all[at].incarnation);
    }
    assert!(counts.iter().all(|count| (150..350).contains(count)), "{counts:?}");
    assert_eq!(choose(7, &[]), None);
}

#[test]
fn overloaded_worker_passes_requests_to_the_others() {
    let mut workers = idle(&[1, 2, 3]);
    for _ in 0..30 {
        let at = choose(99, &workers).unwrap();
        workers[at].load += 1;
    }
    let favourite = choose(99, &idle(&[1, 2, 3])).unwrap();
    let loads: Vec<usize> = workers.iter().map(|worker| worker.load).collect();
    assert_eq!(loads.iter().max(), Some(&loads[favourite]), "{loads:?}");
    assert!(loads.iter().all(|load| (1..=13).contains(load)), "{loads:?}");
}

proptest! {
    #[test]
    fn load_stays_below_the_bound(affinity: u64, loads in prop::collection::vec(0usize..50, 1..16)) {
        let candidate = |(incarnation, load): (u64, &usize)| Candidate { incarnation, load: *load };
        let workers: Vec<Candidate> = (0..).zip(&loads).map(candidate).collect();
        let at = choose(affinity, &workers).unwrap();
        let mean = (loads.iter().sum::<usize>() + 1) as f64 / loads.len() as f64;
        prop_assert!((loads[at] as f64) < (mean * 1.25).ceil());
    }
}
