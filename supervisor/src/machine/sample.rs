//! macOS: the stacks of a process's threads, from sample(1).
//!
//! Compiled for the tests of every system. Not yet verified on a Mac.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

/// The longest report that a log line holds, in bytes.
const LONGEST_REPORT: usize = 16 << 10;

/// The call graph of process `pid` during one second, or the reason why `program` gives none within `limit`.
pub(super) async fn call_graph(program: &Path, pid: u32, limit: Duration) -> String {
    let mut command = Command::new(program);
    // Without -file it also leaves its report in /tmp.
    command.args([&pid.to_string(), "1", "-mayDie", "-file", "/dev/stdout"]);
    let output = command.stdin(Stdio::null()).kill_on_drop(true).output();
    match tokio::time::timeout(limit, output).await {
        Ok(Ok(output)) if output.status.success() => shorten(&String::from_utf8_lossy(&output.stdout)),
        Ok(Ok(output)) => format!("sample failed: {}", String::from_utf8_lossy(&output.stderr).trim()),
        Ok(Err(error)) => format!("sample cannot be run: {error}"),
        Err(_) => format!("sample did not end within {limit:?}"),
    }
}

/// The call graph of a report, cut to what a log line holds. The lists of binaries and registers go.
fn shorten(report: &str) -> String {
    let graph = report.split_once("Call graph:").map_or(report, |(_, rest)| rest);
    let graph = graph.split_once("Total number in stack").map_or(graph, |(graph, _)| graph).trim();
    graph[..graph.floor_char_boundary(LONGEST_REPORT)].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::script;

    /// What comes of a `sample` that runs this script.
    async fn graph_of(text: &str, limit: Duration) -> String {
        let (_folder, program) = script(text);
        call_graph(&program, 4711, limit).await
    }

    #[tokio::test]
    async fn report_goes_to_standard_output_and_nowhere_else() {
        let text = r#"[ "$*" = "4711 1 -mayDie -file /dev/stdout" ] && printf 'Call graph:\n  8 Thread_1\n'"#;
        assert_eq!(graph_of(text, Duration::from_secs(20)).await, "8 Thread_1");
    }

    #[tokio::test]
    async fn sample_without_a_report_gives_its_reason() {
        let refused = "echo 'sample cannot examine process 4711' >&2; exit 255";
        let given = graph_of(refused, Duration::from_secs(20)).await;
        assert_eq!(given, "sample failed: sample cannot examine process 4711");
        assert_eq!(
            graph_of("exec sleep 20", Duration::from_millis(50)).await,
            "sample did not end within 50ms"
        );
        let missing = call_graph(Path::new("/no/such/sample"), 1, Duration::from_secs(20)).await;
        assert!(missing.contains("cannot be run: No such file"), "{missing}");
    }

    #[test]
    fn report_is_cut_to_its_call_graph() {
        let report = "Analysis of sampling mlxd\nCall graph:\n    8 Thread_1  DispatchQueue_1\n      8 start\n\n\
                      Total number in stack (recursive counted multiple, when >=5):\n\nBinary Images:\n 0x1 - 0x2 libSystem\n";
        assert_eq!(shorten(report), "8 Thread_1  DispatchQueue_1\n      8 start");
        assert_eq!(shorten("no graph"), "no graph");
        assert_eq!(shorten(&"é".repeat(20_000)).len(), LONGEST_REPORT);
    }
}
