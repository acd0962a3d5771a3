//! What a caller gives to reach a cluster.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::endpoint::EndpointUrl;
use crate::error::{Error, Result};

/// etcdctl's `--dial-timeout`.
pub const DEFAULT_DIAL_TIMEOUT: Duration = Duration::from_secs(2);

/// etcdctl's `--command-timeout`.
pub const DEFAULT_COMMAND_TIMEOUT: Duration = Duration::from_secs(5);

/// Files and names for TLS. All of them optional: without a CA the machine's own roots are trusted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tls {
    /// PEM file with the certificates of the CAs that signed the servers' certificates.
    pub cacert: Option<PathBuf>,
    /// PEM file with the client's certificate, its intermediates after it.
    pub cert: Option<PathBuf>,
    /// PEM file with the client's private key, not encrypted.
    pub key: Option<PathBuf>,
    /// The name that the servers' certificates are made for, where it is not the endpoint's host.
    pub server_name: Option<String>,
}

/// Where a cluster is and who asks.
#[derive(Clone)]
pub struct Access {
    /// Endpoints as etcdctl takes them: `host:port`, `http://host:port`, `https://host:port`.
    pub endpoints: Vec<String>,
    /// TLS for `https` endpoints, and for those without a scheme.
    pub tls: Option<Tls>,
    /// User name and password.
    pub user: Option<(String, String)>,
    /// Time for a connection: name lookup, TCP and TLS.
    pub dial_timeout: Duration,
    /// Time for a request.
    pub command_timeout: Duration,
}

impl Access {
    /// Access to `endpoints` with etcdctl's timeouts, in the clear and without a user.
    pub fn new(endpoints: Vec<String>) -> Self {
        Self {
            endpoints,
            tls: None,
            user: None,
            dial_timeout: DEFAULT_DIAL_TIMEOUT,
            command_timeout: DEFAULT_COMMAND_TIMEOUT,
        }
    }

    /// The endpoints, parsed, each once, in the order given.
    pub(super) fn parsed_endpoints(&self) -> Result<Vec<EndpointUrl>> {
        let mut parsed: Vec<EndpointUrl> = Vec::new();
        for text in &self.endpoints {
            let endpoint = EndpointUrl::parse(text, self.tls.is_some())?;
            if !parsed.iter().any(|known| known.uri() == endpoint.uri()) {
                parsed.push(endpoint);
            }
        }
        if parsed.is_empty() {
            return Err(Error::invalid("no endpoint given (--endpoints)"));
        }
        Ok(parsed)
    }

    /// Refuses what can't work before anything is tried.
    pub(super) fn check(&self) -> Result<()> {
        if self.dial_timeout.is_zero() || self.command_timeout.is_zero() {
            return Err(Error::invalid("--dial-timeout and --command-timeout must be greater than 0"));
        }
        if let Some((name, _)) = &self.user
            && name.is_empty()
        {
            return Err(Error::invalid("the user name is empty (--user name:password)"));
        }
        if let Some(tls) = &self.tls {
            match (&tls.cert, &tls.key) {
                (Some(_), None) => return Err(Error::invalid("--cert needs its private key (--key)")),
                (None, Some(_)) => return Err(Error::invalid("--key needs its certificate (--cert)")),
                _ => {}
            }
        }
        Ok(())
    }
}

/// The password is left out: this text ends up in logs and tracebacks.
impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access")
            .field("endpoints", &self.endpoints)
            .field("tls", &self.tls)
            .field("user", &self.user.as_ref().map(|(name, _)| name))
            .field("dial_timeout", &self.dial_timeout)
            .field("command_timeout", &self.command_timeout)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_holds_no_password() {
        let mut access = Access::new(vec!["a:2379".to_owned()]);
        access.user = Some(("root".to_owned(), "s3cret".to_owned()));
        let text = format!("{access:?}");

        assert!(text.contains("root"));
        assert!(!text.contains("s3cret"), "{text}");
    }

    #[test]
    fn endpoints_given_twice_are_asked_once() {
        let access = Access::new(vec!["a:2379".to_owned(), "http://a:2379/".to_owned(), "b:2379".to_owned()]);

        assert_eq!(access.parsed_endpoints().unwrap().len(), 2);
    }

    #[test]
    fn no_endpoint_is_refused() {
        assert!(matches!(Access::new(Vec::new()).parsed_endpoints(), Err(Error::InvalidArgument { .. })));
    }

    #[test]
    fn certificate_without_key_is_refused() {
        let mut access = Access::new(vec!["a:2379".to_owned()]);
        access.tls = Some(Tls { cert: Some("c.pem".into()), ..Tls::default() });

        assert!(access.check().unwrap_err().to_string().contains("--key"));
    }
}
