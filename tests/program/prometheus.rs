//! Metrics that Prometheus scrapes while a run trains.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};

use fineline_testing::reference_python;

use crate::support::{Workplace, wait_for};

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Returns the response to a request, or an empty string if nothing listens on the port.
fn ask(port: u16, request: &str) -> String {
    let mut answer = String::new();
    if let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) {
        let _ = stream.write_all(format!("{request} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes());
        let _ = stream.read_to_string(&mut answer);
    }
    answer
}

#[test]
fn a_run_can_be_scraped_while_it_trains() {
    let place = Workplace::new();
    let port = free_port();
    let key = format!("log.prometheus={port}");
    let long = ["train", "tiny.toml", "--set", &key, "--set", "train.steps=100000"];
    let mut run = place.start(&long);
    let mut page = String::new();
    wait_for(|| {
        page = ask(port, "GET /metrics");
        run.has_ended() || (page.contains("fineline_probe{") && page.contains("fineline_checkpoint_step"))
    });
    assert!(!run.has_ended());
    let missing = ask(port, "GET /elsewhere");
    let posted = ask(port, "POST /metrics");
    // A connection without a request affects neither the run nor the next request.
    let silent = TcpStream::connect(("127.0.0.1", port)).unwrap();
    drop(silent);
    assert!(ask(port, "GET /metrics?x=1").starts_with("HTTP/1.1 200 OK"));
    run.signal("TERM");
    run.wait().fails_with(143);
    assert!(missing.starts_with("HTTP/1.1 404") && posted.starts_with("HTTP/1.1 405"));

    let (head, body) = page.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("Content-Type: text/plain; version=0.0.4"), "{head}");
    for name in [
        "step",
        "tokens_total",
        "loss",
        "grad_norm",
        "lr",
        "step_seconds",
        "checkpoint_bytes",
        "events_total",
    ] {
        let name = format!("fineline_{name}");
        assert!(
            body.contains(&format!("# TYPE {name} ")) && body.contains(&format!("# HELP {name} ")),
            "{name}: {body}"
        );
    }
    for line in body.lines().filter(|line| !line.starts_with('#')) {
        let (_, value) = line.rsplit_once(' ').unwrap();
        value.parse::<f64>().unwrap_or_else(|error| panic!("{line}: {error}"));
    }
    parse_by_reference(body);
}

/// Parses a page with Prometheus' own Python client.
fn parse_by_reference(page: &str) {
    const PARSE: &str = "import sys
from prometheus_client.parser import text_string_to_metric_families as parse
families = {family.name: family for family in parse(sys.stdin.read())}
assert families['fineline_tokens'].type == 'counter', families
assert {'task', 'metric'} == set(families['fineline_probe'].samples[0].labels), families
lo, hi = (families['fineline_probe_' + end].samples for end in ('lo', 'hi'))
assert lo and all(a.value <= b.value for a, b in zip(lo, hi))
";
    let Some(python) = reference_python(&["prometheus_client"]) else { return };
    let mut child = Command::new(python).args(["-c", PARSE]).stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(page.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success(), "{page}");
}

#[test]
fn a_port_in_use_is_reported_before_step_0() {
    let place = Workplace::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let key = format!("log.prometheus={}", taken.local_addr().unwrap());
    let error = place.run(&["train", "tiny.toml", "--set", &key]).fails_with(1).stderr();
    assert!(error.contains("log.prometheus: can't listen at 127.0.0.1:"), "{error}");
    assert!(!place.path("run").exists());
    let error =
        place.run(&["train", "tiny.toml", "--set", "log.prometheus=somewhere"]).fails_with(2).stderr();
    assert!(error.contains("log.prometheus") && error.contains("127.0.0.1:9100"), "{error}");
}
