//! Endpoints in the forms that etcdctl takes.

use std::fmt;
use std::net::Ipv6Addr;

use crate::error::{Error, Result};

/// etcd's usual client port, for hints.
const USUAL_PORT: u16 = 2379;

/// One endpoint, in a form that can be connected to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointUrl {
    given: String,
    tls: bool,
    host: String,
    port: u16,
}

impl EndpointUrl {
    /// Parses `host:port`, `http://host[:port]` or `https://host[:port]`. A bare `host:port` means `https` when
    /// `tls_given`, else `http`.
    pub fn parse(text: &str, tls_given: bool) -> Result<Self> {
        let text = text.trim();
        let (tls, rest) = split_scheme(text, tls_given)?;
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if rest.contains('@') {
            // Not echoed: what stands before the @ may be a password.
            return Err(Error::invalid(
                "an endpoint holds a user name or password (`@`); give them with --user instead",
            ));
        }
        if rest.contains(['/', '?', '#']) {
            return Err(Error::invalid(format!("endpoint {text:?} has a path; only host and port are meant")));
        }
        let (host, port) = split_port(text, rest)?;
        let has_scheme = text.contains("://");
        let port = match port {
            Some(port) => port,
            None if has_scheme => {
                if tls {
                    443
                } else {
                    80
                }
            }
            None => {
                return Err(Error::invalid(format!("endpoint {text:?} has no port (usually {USUAL_PORT})")));
            }
        };
        check_host(text, &host)?;
        Ok(Self { given: text.to_owned(), tls, host, port })
    }

    /// Whether the connection is made with TLS.
    pub fn is_tls(&self) -> bool {
        self.tls
    }

    /// Scheme, host and port: equal for endpoints that are written differently and mean the same.
    pub fn uri(&self) -> String {
        let scheme = if self.tls { "https" } else { "http" };
        if self.host.contains(':') {
            format!("{scheme}://[{}]:{}", self.host, self.port)
        } else {
            format!("{scheme}://{}:{}", self.host, self.port)
        }
    }
}

/// As it was given: people recognise what they typed.
impl fmt::Display for EndpointUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.given)
    }
}

fn split_scheme(text: &str, tls_given: bool) -> Result<(bool, &str)> {
    let Some((scheme, rest)) = text.split_once("://") else {
        if text.starts_with("unix:") || text.starts_with("unixs:") {
            return Err(unix_unsupported());
        }
        return Ok((tls_given, text));
    };
    match scheme.to_ascii_lowercase().as_str() {
        "http" => Ok((false, rest)),
        "https" => Ok((true, rest)),
        "unix" | "unixs" => Err(unix_unsupported()),
        other => Err(Error::invalid(format!("endpoints with scheme {other:?} are not known; use http or https"))),
    }
}

fn unix_unsupported() -> Error {
    Error::invalid("unix socket endpoints are not supported; give the member's http or https client URL")
}

/// Host and port; an IPv6 address stands in brackets, or alone without a port.
fn split_port(text: &str, rest: &str) -> Result<(String, Option<u16>)> {
    let bad_port = || Error::invalid(format!("endpoint {text:?} has no valid port: a number from 1 to 65535 is meant"));
    let parse_port = |digits: &str| match digits.parse::<u16>() {
        Ok(port) if port > 0 && digits.bytes().all(|byte| byte.is_ascii_digit()) => Ok(port),
        _ => Err(bad_port()),
    };
    if let Some(inside) = rest.strip_prefix('[') {
        let (host, after) =
            inside.split_once(']').ok_or_else(|| Error::invalid(format!("endpoint {text:?} lacks a `]`")))?;
        host.parse::<Ipv6Addr>()
            .map_err(|_| Error::invalid(format!("endpoint {text:?} has no IPv6 address in its brackets")))?;
        let port = match after.strip_prefix(':') {
            Some(digits) => Some(parse_port(digits)?),
            None if after.is_empty() => None,
            None => return Err(bad_port()),
        };
        return Ok((host.to_owned(), port));
    }
    match rest.split_once(':') {
        None => Ok((rest.to_owned(), None)),
        Some((_, more)) if more.contains(':') => {
            Err(Error::invalid(format!("endpoint {text:?}: an IPv6 address stands in brackets, [::1]:{USUAL_PORT}")))
        }
        Some((host, digits)) => Ok((host.to_owned(), Some(parse_port(digits)?))),
    }
}

fn check_host(text: &str, host: &str) -> Result<()> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
    if host.is_empty() || !host.chars().all(fits) {
        return Err(Error::invalid(format!("endpoint {text:?} has no valid host name or address")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_of_etcdctl_are_understood() {
        for (text, tls_given, uri) in [
            ("127.0.0.1:2379", false, "http://127.0.0.1:2379"),
            ("127.0.0.1:2379", true, "https://127.0.0.1:2379"),
            ("http://etcd-1.local:2379/", true, "http://etcd-1.local:2379"),
            ("HTTPS://etcd-1.local:2379", false, "https://etcd-1.local:2379"),
            ("https://etcd.example", false, "https://etcd.example:443"),
            (" [::1]:2379 ", false, "http://[::1]:2379"),
            ("https://[fe80::1]:2379", false, "https://[fe80::1]:2379"),
        ] {
            assert_eq!(EndpointUrl::parse(text, tls_given).unwrap().uri(), uri, "{text}");
        }
    }

    #[test]
    fn what_cannot_be_an_endpoint_is_refused() {
        for text in [
            "",
            "localhost",
            "localhost:",
            "localhost:0",
            "localhost:+79",
            "localhost:65536",
            "localhost:port",
            ":2379",
            "http://",
            "http://a:2379/v3",
            "a b:2379",
            "::1:2379",
            "[::1:2379",
            "[nonsense]:2379",
            "[::1]x",
            "ftp://a:2379",
            "unix:///run/etcd.sock",
            "unixs:localhost:1",
        ] {
            assert!(matches!(EndpointUrl::parse(text, false), Err(Error::InvalidArgument { .. })), "{text}");
        }
    }

    #[test]
    fn password_in_an_endpoint_is_refused_and_not_repeated() {
        let message = EndpointUrl::parse("http://root:s3cret@a:2379", false).unwrap_err().to_string();

        assert!(message.contains("--user"));
        assert!(!message.contains("s3cret"), "{message}");
    }
}
