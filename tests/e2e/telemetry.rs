//! Traces, metrics and logs by OTLP: a collector gets what OpenTelemetry's own message types can read, and a real one takes them.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use e2e::places::{self, SHALLOW};
use e2e::{Server, process};
use nix::sys::signal::Signal;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use prost::Message;
use serde_json::json;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";

/// One report: the head of its request and its body.
type Report = (String, Vec<u8>);

/// Takes reports.
struct Collector {
    address: SocketAddr,
    reports: Arc<Mutex<Vec<Report>>>,
}

impl Collector {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let reports = Arc::<Mutex<Vec<Report>>>::default();
        let kept = Arc::clone(&reports);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let kept = Arc::clone(&kept);
                std::thread::spawn(move || {
                    while let Some(report) = take(&stream) {
                        kept.lock().unwrap().push(report)
                    }
                });
            }
        });
        Self { address, reports }
    }

    /// The body of the first report at `path`.
    fn report(&self, path: &str) -> Report {
        let find = || self.reports.lock().unwrap().iter().find(|(head, _)| head.contains(path)).cloned();
        process::wait_for(path, Duration::from_secs(10), || find().is_some());
        find().unwrap()
    }
}

/// Reads one request of a connection, and answers it.
fn take(mut stream: &TcpStream) -> Option<Report> {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).unwrap_or(0) == 0 {
            return None;
        }
    }
    let head = head.to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:"))?.trim().parse().ok()?;
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    write!(stream, "HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n")
        .ok()?;
    Some((head, body))
}

/// A route from `any` to a model that is not there, which is a warning, and then to SmolLM2.
fn route() -> String {
    format!("[[routes]]\nmodel = \"any\"\ntargets = [\"not-there\", \"{SHALLOW}\"]\n")
}

fn text(attributes: &[KeyValue], name: &str) -> Option<String> {
    let found = attributes.iter().find(|pair| pair.key == name)?;
    match found.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => Some(text.clone()),
        Value::IntValue(count) => Some(count.to_string()),
        other => panic!("{name}: {other:?}"),
    }
}

#[test]
fn collector_gets_the_trace_and_the_metrics_of_a_request() {
    let collector = Collector::start();
    let endpoint = format!("http://{}", collector.address);
    let server = Server::builder()
        .models(&places::models())
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint)
        .env("OTEL_EXPORTER_OTLP_HEADERS", "x-token=hidden%20value")
        .config(&route())
        .start();
    let body = json!({"model": "any", "messages": [{"role": "user", "content": "A private question"}], "max_tokens": 3,
        "temperature": 0});
    let answer = ureq::post(server.url("/v1/chat/completions"))
        .header("traceparent", format!("00-{TRACE}-{PARENT}-01"))
        .send(body.to_string())
        .unwrap();
    assert_eq!(answer.status(), 200);
    assert!(!server.log().contains("hidden value"), "the log has a header");
    server.stop(Signal::SIGTERM);

    let (head, body) = collector.report("/v1/traces");
    assert!(head.contains("x-token: hidden value"), "{head}");
    assert!(!String::from_utf8_lossy(&body).contains("private question"));
    let request = ExportTraceServiceRequest::decode(&*body).unwrap();
    let resource = &request.resource_spans[0];
    let service = text(&resource.resource.as_ref().unwrap().attributes, "service.name");
    assert_eq!(service.as_deref(), Some("mlxd"));
    let span = &resource.scope_spans[0].spans[0];
    assert_eq!((hex(&span.trace_id), hex(&span.parent_span_id)), (TRACE.into(), PARENT.into()));
    assert_eq!(span.name, "chat any");
    assert!(span.end_time_unix_nano > span.start_time_unix_nano);
    for (name, value) in [
        ("gen_ai.operation.name", "chat"),
        ("gen_ai.provider.name", "mlxd"),
        ("gen_ai.request.model", "any"),
        ("gen_ai.response.model", SHALLOW),
        ("gen_ai.usage.output_tokens", "3"),
    ] {
        assert_eq!(text(&span.attributes, name).as_deref(), Some(value), "{name}");
    }

    let request = ExportMetricsServiceRequest::decode(&*collector.report("/v1/metrics").1).unwrap();
    let metrics = &request.resource_metrics[0].scope_metrics[0].metrics;
    let mut names: Vec<_> = metrics.iter().map(|metric| &*metric.name).collect();
    names.sort_unstable();
    assert_eq!(
        names,
        ["gen_ai.client.token.usage", "gen_ai.server.request.duration", "gen_ai.server.time_to_first_token"]
    );

    let body = collector.report("/v1/logs").1;
    assert!(!String::from_utf8_lossy(&body).contains("private question"));
    let request = ExportLogsServiceRequest::decode(&*body).unwrap();
    let record = &request.resource_logs[0].scope_logs[0].log_records[0];
    assert_eq!((hex(&record.trace_id), &*record.severity_text), (TRACE.into(), "WARN"));
    assert_eq!(text(&record.attributes, "target").as_deref(), Some("not-there"));
}

/// The program of the collector Rotel, which comes in a Python package.
fn rotel() -> PathBuf {
    let code = "import pathlib, rotel; print(pathlib.Path(rotel.__file__).with_name('rotel-agent'))";
    let output = Command::new(places::python()).args(["-c", code]).output().unwrap();
    let path = PathBuf::from(String::from_utf8(output.stdout).unwrap().trim());
    assert!(path.is_file(), "{path:?}: {}", String::from_utf8_lossy(&output.stderr));
    path
}

/// Kills a process when it is dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A port of this machine that is free at the moment.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[test]
fn real_collector_reads_all_reports() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("rotel.log");
    let (http, grpc) = (format!("127.0.0.1:{}", free_port()), format!("127.0.0.1:{}", free_port()));
    let mut command = Command::new(rotel());
    command.args(["start", "--exporter", "blackhole", "--debug-log-verbosity", "detailed"]);
    command.args(["--otlp-http-endpoint", &http, "--otlp-grpc-endpoint", &grpc]);
    for kind in ["traces", "metrics", "logs"] {
        command.args(["--debug-log", kind]);
    }
    command.current_dir(folder.path()).stdout(File::create(&output).unwrap()).stderr(Stdio::null());
    let _collector = Running(command.spawn().unwrap());
    process::wait_for("Rotel listens", Duration::from_secs(10), || TcpStream::connect(&http).is_ok());
    let server = Server::builder()
        .models(&places::models())
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", &format!("http://{http}"))
        .config(&route())
        .start();
    let answer = server.post("/v1/completions", &json!({"model": "any", "prompt": "2, 4,", "max_tokens": 3}));
    assert_eq!(answer.status, 200, "{}", answer.body);
    server.stop(Signal::SIGTERM);
    let read = || std::fs::read_to_string(&output).unwrap();
    for part in [
        "Name           : text_completion any",
        "Name: gen_ai.server.request.duration",
        "Body: Str(a request goes to the next model of its route)",
    ] {
        process::wait_for(part, Duration::from_secs(10), || read().contains(part));
    }
    let traces = |section: &str| -> Vec<String> {
        let text = read();
        let (_, rest) = text.split_once(section).unwrap();
        rest.lines()
            .filter_map(|line| line.trim().strip_prefix("Trace ID       : "))
            .map(String::from)
            .collect()
    };
    assert_eq!(
        traces("ResourceSpans")[0],
        traces("ResourceLog")[0],
        "the span and the warning are of one request"
    );
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
