//! How a broker is to be started.

use std::path::PathBuf;
use std::time::Duration;

use crate::binary::ropewalk_binary;
use crate::broker::Broker;
use crate::error::HarnessError;
use crate::launch::{Files, Launch};

/// How often a broker whose ports were taken meanwhile is given others.
const PORT_ATTEMPTS: u32 = 10;
/// How long a broker may take until it is ready, where the test does not say.
const READY_WITHIN: Duration = Duration::from_secs(30);

/// How a broker is to be started. [`Broker::builder`] makes one.
#[derive(Debug)]
#[must_use = "nothing runs until start() is called"]
pub struct BrokerBuilder {
    binary: Option<PathBuf>,
    data_dir: Option<PathBuf>,
    environment: Vec<(String, String)>,
    arguments: Vec<String>,
    addresses: Option<[String; 2]>,
    prefix: Vec<String>,
    ready_within: Duration,
}

impl Default for BrokerBuilder {
    fn default() -> Self {
        Self {
            binary: None,
            data_dir: None,
            environment: Vec::new(),
            arguments: Vec::new(),
            addresses: None,
            prefix: Vec::new(),
            ready_within: READY_WITHIN,
        }
    }
}

impl BrokerBuilder {
    /// Settings by their keys, such as `("topics.auto_create", "false")`. Addresses and the data
    /// directory are the harness's.
    pub fn settings(mut self, settings: &[(&str, &str)]) -> Self {
        self.environment
            .extend(settings.iter().map(|(key, value)| (variable(key), (*value).into())));
        self
    }

    /// A variable of the process's environment.
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Arguments after those of the harness.
    pub fn args(mut self, arguments: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// A data directory that outlives the broker. Without, it has one that goes with it.
    pub fn data_dir(mut self, path: impl Into<PathBuf>) -> Self {
        self.data_dir = Some(path.into());
        self
    }

    /// A binary other than the one that [`ropewalk_binary`] finds.
    pub fn binary(mut self, path: impl Into<PathBuf>) -> Self {
        self.binary = Some(path.into());
        self
    }

    /// HOST:PORT of the client port and of the admin port. Without, they are free ports of
    /// loopback.
    pub fn addresses(mut self, client: impl Into<String>, admin: impl Into<String>) -> Self {
        self.addresses = Some([client.into(), admin.into()]);
        self
    }

    /// A program that the broker is started through, with arguments before the broker's binary. It
    /// must become the broker, as `nsenter` and `env` do.
    pub fn through(mut self, prefix: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.prefix = prefix.into_iter().map(Into::into).collect();
        self
    }

    /// How long the broker may take until it is ready; 30 s when it is not said.
    pub fn ready_within(mut self, time: Duration) -> Self {
        self.ready_within = time;
        self
    }

    /// Starts the broker, and waits until it is ready.
    ///
    /// # Errors
    /// When there is no binary, and when the broker ends or takes too long before it is ready; the
    /// error then holds its log.
    pub async fn start(self) -> Result<Broker, HarnessError> {
        // Ports that the caller chose are not replaced.
        let most = if self.addresses.is_some() { 1 } else { PORT_ATTEMPTS };
        let ready_within = self.ready_within;
        let mut launch = self.launch()?;
        let mut attempts = 1;
        loop {
            match launch.start(ready_within).await {
                Ok(running) => return Ok(Broker::new(launch, Some(running), ready_within)),
                Err(error) if is_port_clash(&error) && attempts < most => {
                    launch.choose_ports()?;
                    attempts += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// A broker that does not run until [`Broker::begin`] starts it.
    ///
    /// # Errors
    /// When there is no binary, or no room for its files.
    pub fn prepare(self) -> Result<Broker, HarnessError> {
        let ready_within = self.ready_within;
        Ok(Broker::new(self.launch()?, None, ready_within))
    }

    fn launch(self) -> Result<Launch, HarnessError> {
        let binary = self.binary.map_or_else(ropewalk_binary, Ok)?;
        let files = Files::new(self.data_dir)?;
        let launch = Launch::new(binary, files, self.environment, self.arguments)?;
        Ok(launch.placed(self.addresses, self.prefix))
    }
}

/// Whether a broker ended because somebody else was given its port in the meantime.
pub(crate) fn is_port_clash(error: &HarnessError) -> bool {
    let HarnessError::Exited { log, .. } = error else {
        return false;
    };
    log.to_ascii_lowercase().contains("address already in use")
}

/// The variable of the setting with this key.
fn variable(key: &str) -> String {
    format!("ROPEWALK_{}", key.replace('.', "__").to_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_travel_in_the_environment() {
        assert_eq!(variable("topics.auto_create"), "ROPEWALK_TOPICS__AUTO_CREATE");
    }
}
