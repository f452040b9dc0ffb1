use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use fineline_run::triggers::Notify;
use serde_json::Value;

/// What an answer may take. A program that ends waits no longer for those under way.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Posts what triggers have to tell, each on a thread of its own. What goes wrong is a warning: no run ends because of it.
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
            // It doesn't panic; if it did, nothing would depend on it.
            let _ = thread.join();
        }
    }
}

fn send(url: &str, body: &Value) -> Result<(), Box<ureq::Error>> {
    let config = ureq::Agent::config_builder().timeout_global(Some(TIMEOUT)).build();
    let request = ureq::Agent::new_with_config(config).post(url).content_type("application/json");
    request.send(body.to_string()).map(drop).map_err(Box::new)
}
