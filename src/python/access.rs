//! `dcos_etcd._access.Access` as the core's [`Access`].

use std::path::PathBuf;
use std::time::Duration;

use pyo3::FromPyObject;

use crate::client::{Access, Tls};
use crate::error::{Error, Result};

/// The attributes of `dcos_etcd._access.Access`.
#[derive(FromPyObject)]
pub(super) struct PyAccess {
    endpoints: Vec<String>,
    tls: Option<PyTls>,
    user: Option<(String, String)>,
    dial_timeout: f64,
    command_timeout: f64,
}

/// The attributes of `dcos_etcd.Tls`.
#[derive(FromPyObject)]
struct PyTls {
    cacert: Option<PathBuf>,
    cert: Option<PathBuf>,
    key: Option<PathBuf>,
    server_name: Option<String>,
}

impl PyAccess {
    /// The core's own.
    pub(super) fn into_inner(self) -> Result<Access> {
        let tls =
            self.tls.map(|tls| Tls { cacert: tls.cacert, cert: tls.cert, key: tls.key, server_name: tls.server_name });
        Ok(Access {
            endpoints: self.endpoints,
            tls,
            user: self.user,
            dial_timeout: duration("--dial-timeout", self.dial_timeout)?,
            command_timeout: duration("--command-timeout", self.command_timeout)?,
        })
    }
}

/// Seconds as a [`Duration`]; `option` names the culprit.
pub(super) fn duration(option: &str, seconds: f64) -> Result<Duration> {
    Duration::try_from_secs_f64(seconds).map_err(|error| Error::invalid(format!("{option}: {seconds} s: {error}")))
}
