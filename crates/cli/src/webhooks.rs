//! Webhooks of triggers.

use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use fineline_run::triggers::Notify;
use serde_json::Value;

/// Timeout of a request. When the program ends, it waits at most this long for pending requests.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Posts the events of triggers, each on a thread of its own. A failure is a warning and never ends a run.
#[derive(Debug, Default)]
pub(crate) struct Webhooks(Mutex<Vec<JoinHandle<()>>>);

impl Notify for Webhooks {
    fn post(&self, url: &str, body: Value) {
        let url = url.to_owned();
        let thread = std::thread::spawn(move || {
            if let Err(error) = send(&url, &body) {
                tracing::warn!("webhook {url}: {error}");
            }
        });
        let mut threads = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        threads.retain(|thread| !thread.is_finished());
        threads.push(thread);
    }
}

impl Drop for Webhooks {
    fn drop(&mut self) {
        let threads = self.0.get_mut().unwrap_or_else(PoisonError::into_inner);
        for thread in threads.drain(..) {
            // A panic of the thread has no consequences.
            let _ = thread.join();
        }
    }
}

fn send(url: &str, body: &Value) -> Result<(), Box<ureq::Error>> {
    let config = ureq::Agent::config_builder().timeout_global(Some(TIMEOUT)).build();
    let request = ureq::Agent::new_with_config(config).post(url).content_type("application/json");
    request.send(body.to_string()).map(drop).map_err(Box::new)
}
