use std::time::Duration;

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
    #[must_use]
    pub fn from_env() -> Self {
        let variable = |name| std::env::var(name).ok().map(|value| value.trim().to_owned());
        let set = |name| variable(name).filter(|value| !value.is_empty());
        let is_on = |value: String| ["1", "true", "yes", "on"].contains(&value.to_lowercase().as_str());
        let base = set("HF_ENDPOINT").map_or_else(Self::public, |endpoint| Self::at(&endpoint));
        let offline = set("HF_HUB_OFFLINE").is_some_and(is_on);
        let access = if offline { Access::Offline } else { Access::Online };
        Self { token: set("HF_TOKEN"), access, ..base }
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
    fn a_token_is_never_shown() {
        let config = HubConfig { token: Some("hf_secret".into()), ..HubConfig::at("http://localhost:1/") };
        assert!(!format!("{config:?}").contains("secret"));
        assert_eq!(config.endpoint, "http://localhost:1");
    }
}
