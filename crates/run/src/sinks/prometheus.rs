//! Metrics for Prometheus, served over HTTP in its text format 0.0.4 while a run trains (`log.prometheus`).

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fineline_dynamics::Estimate;
use fineline_probe::ProbeRecord;

use crate::config::ListenAddress;
use crate::error::RunError;
use crate::records::events::{Event, EventRecord};
use crate::records::metrics::MetricsRecord;

/// Timeout of a client.
const PATIENCE: Duration = Duration::from_secs(5);
/// Maximum size of a request in bytes.
const REQUEST: u64 = 16 << 10;

/// Serves the latest values of a run. Its thread ends with the process.
pub(crate) struct PrometheusServer {
    latest: Arc<Mutex<LatestValues>>,
    address: SocketAddr,
}

impl PrometheusServer {
    /// Starts to listen. This is done before anything else, so that an address in use is an error at the
    /// start.
    ///
    /// # Errors
    /// [`RunError::Prometheus`] if the address can't be used.
    pub(crate) fn start(address: ListenAddress) -> Result<Self, RunError> {
        let failed = |source| RunError::Prometheus { address: address.0, source };
        let listener = TcpListener::bind(address.0).map_err(failed)?;
        let server = Self { latest: Arc::default(), address: listener.local_addr().map_err(failed)? };
        let latest = Arc::clone(&server.latest);
        let serve = move || {
            for client in listener.incoming().flatten() {
                // A client that disconnects doesn't matter to the run.
                let _ = answer(client, &latest);
            }
        };
        std::thread::Builder::new().name("prometheus".to_owned()).spawn(serve).map_err(failed)?;
        Ok(server)
    }

    /// Address that it listens at.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    fn latest(&self) -> MutexGuard<'_, LatestValues> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn step(&self, record: &MetricsRecord) {
        self.latest().step = Some(record.clone());
    }

    pub(crate) fn probes(&self, records: &[ProbeRecord]) {
        let mut latest = self.latest();
        for record in records {
            latest.probes.insert(record.task.clone(), (record.step, record.metrics.clone()));
        }
    }

    pub(crate) fn event(&self, record: &EventRecord) {
        let mut latest = self.latest();
        let name = serde_json::to_value(&record.event)
            .ok()
            .and_then(|event| Some(event["event"].as_str()?.to_owned()));
        *latest.events.entry(name.unwrap_or_default()).or_default() += 1;
        match &record.event {
            Event::Checkpoint { seconds, bytes, .. } => {
                latest.checkpoint = Some(LatestCheckpoint {
                    step: record.step,
                    seconds: *seconds,
                    bytes: *bytes,
                    time: record.time,
                });
            }
            Event::Uploaded { checkpoint_step, .. } => latest.uploaded = Some(*checkpoint_step),
            _ => {}
        }
    }
}

/// The latest values of a run.
#[derive(Default)]
struct LatestValues {
    step: Option<MetricsRecord>,
    checkpoint: Option<LatestCheckpoint>,
    uploaded: Option<u64>,
    /// Step and metrics of each task's last round.
    probes: BTreeMap<String, (u64, BTreeMap<String, Estimate>)>,
    /// Number of each event since this start.
    events: BTreeMap<String, u64>,
}

struct LatestCheckpoint {
    step: u64,
    seconds: f64,
    bytes: u64,
    time: jiff::Timestamp,
}

/// A page of metrics.
#[derive(Default)]
struct MetricsPage(String);

/// A metric taken from an estimate: its name, its help, its value.
type EstimatePart = (&'static str, &'static str, fn(&Estimate) -> Option<f64>);

/// Labels and value of a sample.
type LabelledSample<'a> = (Vec<(&'static str, &'a str)>, f64);

impl MetricsPage {
    fn metric<'a>(
        &mut self,
        name: &str,
        kind: &str,
        help: &str,
        samples: impl IntoIterator<Item = LabelledSample<'a>>,
    ) {
        let mut samples = samples.into_iter().peekable();
        if samples.peek().is_none() {
            return;
        }
        // Writing to a string doesn't fail.
        let _ = writeln!(self.0, "# HELP fineline_{name} {help}\n# TYPE fineline_{name} {kind}");
        for (labels, value) in samples {
            let labels: Vec<String> =
                labels.iter().map(|(label, value)| format!("{label}=\"{}\"", escaped(value))).collect();
            let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
            let _ = writeln!(self.0, "fineline_{name}{labels} {}", number(value));
        }
    }

    fn gauge(&mut self, name: &str, help: &str, value: Option<f64>) {
        self.metric(name, "gauge", help, value.map(|value| (Vec::new(), value)));
    }
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// Formats a number as Go parses it.
fn number(value: f64) -> String {
    match value {
        value if value.is_nan() => "NaN".to_owned(),
        f64::INFINITY => "+Inf".to_owned(),
        f64::NEG_INFINITY => "-Inf".to_owned(),
        value => format!("{value}"),
    }
}

impl LatestValues {
    fn page(&self) -> String {
        let mut page = MetricsPage::default();
        if let Some(step) = &self.step {
            let or_nan = |value: Option<f32>| Some(value.map_or(f64::NAN, f64::from));
            page.gauge("step", "Optimizer steps made.", Some(step.step as f64));
            let tokens = [(Vec::new(), step.tokens as f64)];
            page.metric("tokens_total", "counter", "Tokens trained on.", tokens);
            page.gauge("loss", "Loss of the last step, nats per token.", or_nan(step.loss));
            page.gauge("grad_norm", "Norm of its gradients before clipping.", or_nan(step.grad_norm));
            page.gauge("lr", "Its learning rate.", Some(step.lr));
            page.gauge("step_seconds", "Seconds it took.", Some(step.step_s));
            page.gauge(
                "data_wait_seconds",
                "Seconds of these spent waiting for rows.",
                Some(step.data_wait_s),
            );
            page.gauge("tokens_per_second", "Its tokens over its seconds.", Some(step.tokens_per_s));
            page.gauge("mfu", "Model FLOP utilization.", step.mfu);
        }
        if let Some(saved) = &self.checkpoint {
            page.gauge("checkpoint_step", "Step of the newest checkpoint.", Some(saved.step as f64));
            page.gauge("checkpoint_bytes", "Its size.", Some(saved.bytes as f64));
            page.gauge(
                "checkpoint_seconds",
                "Seconds that writing it took in the background.",
                Some(saved.seconds),
            );
            let time = saved.time.as_millisecond() as f64 / 1000.0;
            page.gauge("checkpoint_timestamp_seconds", "When it stood, in Unix time.", Some(time));
        }
        let failures = self.events.get("checkpoint_failed").copied().unwrap_or_default();
        let help = "Checkpoints that could not be written, since this start.";
        page.metric("checkpoint_failures_total", "counter", help, [(Vec::new(), failures as f64)]);
        page.gauge(
            "upload_step",
            "Step of the newest checkpoint in storage.remote.",
            self.uploaded.map(|step| step as f64),
        );
        self.probes(&mut page);
        let events =
            self.events.iter().map(|(event, count)| (vec![("event", event.as_str())], *count as f64));
        page.metric(
            "events_total",
            "counter",
            "Events since this start, by their name in events.jsonl.",
            events,
        );
        page.0
    }

    fn probes(&self, page: &mut MetricsPage) {
        let steps = self.probes.iter().map(|(task, (step, _))| (vec![("task", task.as_str())], *step as f64));
        page.metric("probe_step", "gauge", "Step of the task's last round.", steps);
        let parts: [EstimatePart; 3] = [
            ("probe", "Value of a metric in the task's last round.", |estimate| estimate.value),
            ("probe_lo", "Lower end of its 95 % interval.", |estimate| estimate.lo),
            ("probe_hi", "Upper end of its 95 % interval.", |estimate| estimate.hi),
        ];
        for (name, help, part) in parts {
            let samples = self.probes.iter().flat_map(|(task, (_, metrics))| {
                metrics.iter().filter_map(move |(metric, estimate)| {
                    Some((vec![("task", task.as_str()), ("metric", metric.as_str())], part(estimate)?))
                })
            });
            page.metric(name, "gauge", help, samples);
        }
    }
}

/// Answers one request.
fn answer(mut client: TcpStream, latest: &Mutex<LatestValues>) -> io::Result<()> {
    client.set_read_timeout(Some(PATIENCE))?;
    client.set_write_timeout(Some(PATIENCE))?;
    let mut request = BufReader::new((&client).take(REQUEST));
    let mut first_line = String::new();
    request.read_line(&mut first_line)?;
    let mut line = String::new();
    while request.read_line(&mut line)? > 2 {
        line.clear();
    }
    let mut words = first_line.split_whitespace();
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let (status, body) = match (method, target.split('?').next()) {
        ("GET" | "HEAD", Some("/metrics")) => {
            ("200 OK", latest.lock().unwrap_or_else(PoisonError::into_inner).page())
        }
        ("GET" | "HEAD", _) => ("404 Not Found", "metrics are at /metrics\n".to_owned()),
        _ => ("405 Method Not Allowed", "ask with GET\n".to_owned()),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\nContent-Length: \
         {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    client.write_all(head.as_bytes())?;
    if method != "HEAD" {
        client.write_all(body.as_bytes())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_labels_are_as_prometheus_reads_them() {
        assert_eq!([0.1, f64::NAN, f64::INFINITY, 1e300].map(number)[..3], ["0.1", "NaN", "+Inf"]);
        assert_eq!(escaped("a\"b\\c\nd"), "a\\\"b\\\\c\\nd");
        let mut page = MetricsPage::default();
        page.metric("probe", "gauge", "Help.", [(vec![("task", "x"), ("metric", "acc")], 0.5)]);
        page.gauge("mfu", "Help.", None);
        assert_eq!(
            page.0,
            "# HELP fineline_probe Help.\n# TYPE fineline_probe \
             gauge\nfineline_probe{task=\"x\",metric=\"acc\"} 0.5\n"
        );
    }

    #[test]
    fn an_address_that_is_taken_is_an_error_that_names_the_key() {
        let first = PrometheusServer::start(ListenAddress(SocketAddr::from(([127, 0, 0, 1], 0)))).unwrap();
        let error =
            PrometheusServer::start(ListenAddress(first.address())).map(|_| ()).unwrap_err().to_string();
        assert!(error.starts_with("log.prometheus: can't listen at 127.0.0.1:"), "{error}");
    }
}
