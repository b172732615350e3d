//! The choice of an instruction set.

use std::process::Command;

use crate::level::Level;

const LIMIT: &str = "MLXD_CPU_LEVEL";

#[test]
fn the_best_level_is_in_use_unless_the_environment_limits_it() {
    let names: Vec<&str> = Level::all().into_iter().map(Level::name).collect();
    let limit = std::env::var(LIMIT).ok();
    let expected = names.iter().find(|name| Some(**name) == limit.as_deref()).or(names.last());
    assert_eq!(Some(&Level::chosen().name()), expected);
    assert_eq!(names[0], "baseline");
}

/// Runs the other tests with every level: products, primitives and the pool take the level in use.
#[test]
fn every_level_passes_the_tests() {
    if std::env::var_os(LIMIT).is_some() {
        return;
    }
    for limit in Level::all().into_iter().map(Level::name).chain(["unknown"]) {
        let mut tests = Command::new(std::env::current_exe().unwrap());
        let output = tests.env(LIMIT, limit).output().unwrap();
        assert!(output.status.success(), "{limit}:\n{}", String::from_utf8_lossy(&output.stdout));
    }
}
