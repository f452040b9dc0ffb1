use std::time::Duration;

use crate::error::HubError;

/// Where the hub is, and who asks.
#[derive(Clone)]
pub struct HubConfig {
    /// The address, without a slash at its end.
    pub endpoint: String,
    /// The token of whoever asks, for repositories that aren't for everyone.
    pub token: Option<String>,
    /// Whether the network may be used.
    pub access: Access,
    /// How often a request is made before its failure counts; a download that made progress begins to count anew.
    pub attempts: u32,
    /// How long to wait before the second attempt; each further wait is twice as long.
    pub first_wait: Duration,
    /// The longest wait that the hub may ask for. Longer ones are an error.
    pub longest_wait: Duration,
}

/// Whether the network may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// It may.
    Online,
    /// What would need it is an error.
    Offline,
}

impl HubConfig {
    /// Hugging Face's own hub, asked by nobody in particular.
    #[must_use]
    pub fn public() -> Self {
        Self::at("https://huggingface.co")
    }

    /// The hub at this address.
    #[must_use]
    pub fn at(endpoint: &str) -> Self {
        Self {
            endpoint: endpoint.trim_end_matches('/').to_owned(),
            token: None,
            access: Access::Online,
            attempts: 5,
            first_wait: Duration::from_secs(1),
            longest_wait: Duration::from_mins(10),
        }
    }

    /// What the environment says: `HF_ENDPOINT`, `HF_TOKEN`, `HF_HUB_OFFLINE` (`1`, `true`, `yes` or `on`).
    ///
    /// # Errors
    /// [`HubError::InvalidEnvironment`]: an endpoint that is no address, a token that can't be sent.
    pub fn from_env() -> Result<Self, HubError> {
        let variable = |name| std::env::var(name).ok().map(|value| value.trim().to_owned());
        let set = |name| variable(name).filter(|value| !value.is_empty());
        let is_on = |value: String| ["1", "true", "yes", "on"].contains(&value.to_lowercase().as_str());
        let base = set("HF_ENDPOINT").map_or_else(Self::public, |endpoint| Self::at(&endpoint));
        let offline = set("HF_HUB_OFFLINE").is_some_and(is_on);
        let access = if offline { Access::Offline } else { Access::Online };
        Self { token: set("HF_TOKEN"), access, ..base }.checked()
    }

    /// Refuses at once what no attempt could do anything with.
    fn checked(self) -> Result<Self, HubError> {
        let wrong = |variable, expected| Err(HubError::InvalidEnvironment { variable, expected });
        let rest = ["http://", "https://"].iter().find_map(|scheme| self.endpoint.strip_prefix(scheme));
        if rest.is_none_or(str::is_empty) || self.endpoint.contains(char::is_whitespace) {
            return wrong("HF_ENDPOINT", "an address that begins with https:// or http://");
        }
        let is_sendable = |token: &String| token.bytes().all(|byte| byte.is_ascii_graphic());
        if !self.token.as_ref().is_none_or(is_sendable) {
            return wrong("HF_TOKEN", "a token of ASCII characters without spaces");
        }
        Ok(self)
    }
}

impl std::fmt::Debug for HubConfig {
    /// Without the token, which is nobody else's business.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HubConfig")
            .field("endpoint", &self.endpoint)
            .field("token", &self.token.as_ref().map(|_| "..."))
            .field("access", &self.access)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_attempt_could_use_is_refused_at_once() {
        let refused = |endpoint: &str, token: Option<&str>| {
            let config = HubConfig { token: token.map(str::to_owned), ..HubConfig::at(endpoint) };
            config.checked().expect_err("it can't be used").to_string()
        };
        for endpoint in ["banana", "https://", "ftp://a", "https://a b"] {
            assert_eq!(
                refused(endpoint, None),
                "HF_ENDPOINT: expected an address that begins with https:// or http://"
            );
        }
        let error = refused("https://localhost", Some("hf_a\nb"));
        assert_eq!(error, "HF_TOKEN: expected a token of ASCII characters without spaces");
        HubConfig { token: Some("hf_a".into()), ..HubConfig::public() }.checked().expect("it is good");
    }

    #[test]
    fn a_token_is_never_shown() {
        let config = HubConfig { token: Some("hf_secret".into()), ..HubConfig::at("http://localhost:1/") };
        assert!(!format!("{config:?}").contains("secret"));
        assert_eq!(config.endpoint, "http://localhost:1");
    }
}
