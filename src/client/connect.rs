//! A connection to one endpoint.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use etcd_client::{Channel, Client, ConnectOptions};
use tokio::time::timeout;
use tonic::transport::Endpoint;

use super::access::Access;
use super::endpoint::EndpointUrl;
use super::failure::{Circumstances, Failure, FailureKind};
use super::tls::TlsMaterial;
use crate::error::Result;

/// Bytes that a stream may run ahead of its reader: enough for a fast link with 50 ms of delay, and a bound on memory.
const STREAM_WINDOW: u32 = 4 << 20;

/// The same for the whole connection.
const CONNECTION_WINDOW: u32 = 8 << 20;

/// A ping after this long without a frame. etcd drops clients that ping more often than every 5 s
/// (`--grpc-keepalive-min-time`).
const PING_INTERVAL: Duration = Duration::from_secs(15);

/// A connection whose ping stays unanswered for so long is dead.
const PING_TIMEOUT: Duration = Duration::from_secs(15);

/// TCP's own probes, for the time between requests.
const TCP_KEEPALIVE: Duration = Duration::from_secs(30);

/// Makes connections with one caller's TLS material, user and timeouts.
pub struct Connector {
    endpoints: Vec<EndpointUrl>,
    tls: TlsMaterial,
    tls_given: bool,
    user: Option<(String, String)>,
    dial_timeout: Duration,
    command_timeout: Duration,
}

impl Connector {
    /// Checks what was given and reads the TLS files; nothing is sent yet.
    ///
    /// # Errors
    /// `InvalidArgument` for endpoints, timeouts or files that can't work, `Io` for files that can't be read.
    pub fn new(access: &Access) -> Result<Self> {
        access.check()?;
        Ok(Self {
            endpoints: access.parsed_endpoints()?,
            tls: TlsMaterial::load(access.tls.as_ref())?,
            tls_given: access.tls.is_some(),
            user: access.user.clone(),
            dial_timeout: access.dial_timeout,
            command_timeout: access.command_timeout,
        })
    }

    /// The given endpoints, each once, in the order given.
    pub fn endpoints(&self) -> &[EndpointUrl] {
        &self.endpoints
    }

    /// Parses an endpoint that was found elsewhere, by the same rules as the given ones.
    pub fn parse(&self, text: &str) -> Result<EndpointUrl> {
        EndpointUrl::parse(text, self.tls_given)
    }

    /// Connects and, where there is a user, gets a token.
    ///
    /// A dead endpoint costs one timeout: connecting is bounded by the dial timeout, the first request by the command
    /// timeout, and after either of them fails nothing more is asked.
    ///
    /// # Errors
    /// Why there is no connection.
    pub async fn connect(&self, endpoint: &EndpointUrl) -> std::result::Result<Connection, Failure> {
        let circumstances = Circumstances {
            tls: endpoint.is_tls(),
            client_certificate: self.tls.has_client_certificate(),
            answered: false,
        };
        let dial = self.dial(endpoint, circumstances)?;
        let channel = match timeout(self.dial_timeout, dial.connect()).await {
            Ok(Ok(channel)) => channel,
            Ok(Err(error)) => return Err(Failure::connecting(&error, circumstances)),
            Err(_) => {
                let limit = self.dial_timeout.as_secs_f64();
                return Err(Failure::new(FailureKind::TimedOut, format!("no connection within {limit} s")));
            }
        };
        let bare = Client::from_channel(Channel::Tonic(channel.clone()), None)
            .await
            .map_err(|error| Failure::calling(&error, circumstances))?;
        let mut connection = Connection {
            endpoint: endpoint.clone(),
            client: bare,
            circumstances,
            answered: Arc::default(),
            command_timeout: self.command_timeout,
            without_token: None,
        };
        if let Some((name, password)) = &self.user {
            let options = ConnectOptions::new().with_user(name.clone(), password.clone()).with_auto_token_refresh(true);
            connection.authenticate(Client::from_channel(Channel::Tonic(channel), Some(options))).await?;
        }
        Ok(connection)
    }

    fn dial(&self, endpoint: &EndpointUrl, circumstances: Circumstances) -> std::result::Result<Endpoint, Failure> {
        let unusable = |error: tonic::transport::Error| Failure::connecting(&error, circumstances);
        let dial = Endpoint::from_shared(endpoint.uri())
            .map_err(unusable)?
            .connect_timeout(self.dial_timeout)
            .tcp_nodelay(true)
            .tcp_keepalive(Some(TCP_KEEPALIVE))
            .http2_keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_TIMEOUT)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW);
        if endpoint.is_tls() { dial.tls_config(self.tls.config()).map_err(unusable) } else { Ok(dial) }
    }
}

/// A connection to one endpoint, with a token if a user was given.
#[derive(Clone)]
pub struct Connection {
    pub(super) endpoint: EndpointUrl,
    pub(super) client: Client,
    circumstances: Circumstances,
    answered: Arc<AtomicBool>,
    pub(super) command_timeout: Duration,
    pub(super) without_token: Option<String>,
}

impl Connection {
    /// Where it leads.
    pub fn endpoint(&self) -> &EndpointUrl {
        &self.endpoint
    }

    /// Why there is no token although a user was given: neither a learner nor a cluster without a leader can check a
    /// password, and yet they answer what needs none.
    pub fn without_token(&self) -> Option<&str> {
        self.without_token.as_deref()
    }

    /// Judges what came of a request, and keeps in mind whether the server ever answered one.
    pub(super) fn judge<T>(
        &self,
        outcome: std::result::Result<T, etcd_client::Error>,
    ) -> std::result::Result<T, Failure> {
        let judged = outcome.map_err(|error| self.failure(&error));
        if judged.as_ref().err().is_none_or(Failure::is_answer) {
            self.answered.store(true, Ordering::Relaxed);
        }
        judged
    }

    /// What an error of a request on this connection means.
    pub(super) fn failure(&self, error: &etcd_client::Error) -> Failure {
        let answered = self.answered.load(Ordering::Relaxed);
        Failure::calling(error, Circumstances { answered, ..self.circumstances })
    }

    /// Exchanges the user for a token.
    ///
    /// `Authenticate` goes through consensus. Beside it runs a request that does not, so that a member without a
    /// leader is told from a dead endpoint in the time of one timeout.
    async fn authenticate(
        &mut self,
        attempt: impl Future<Output = std::result::Result<Client, etcd_client::Error>>,
    ) -> std::result::Result<(), Failure> {
        let mut bare = self.client.maintenance_client();
        let limit = self.command_timeout;
        let (token, status) = tokio::join!(timeout(limit, attempt), timeout(limit, bare.status()));
        let failure = match token.map(|token| self.judge(token)) {
            Ok(Ok(client)) => {
                self.client = client;
                return Ok(());
            }
            Ok(Err(failure)) => {
                if failure.message.contains("authentication is not enabled") {
                    return Ok(());
                }
                failure
            }
            Err(_) => Failure::timed_out("Authenticate", limit),
        };
        let alive = match status.map(|status| self.judge(status)) {
            Ok(Ok(_)) => true,
            Ok(Err(failure)) => !failure.is_dead(),
            Err(_) => false,
        };
        if failure.is_denied() || !alive {
            return Err(failure);
        }
        let reason = if failure.is_of_a_learner() {
            "a learner checks no passwords"
        } else {
            "checking a password needs a leader"
        };
        self.without_token = Some(format!("{failure} ({reason})"));
        Ok(())
    }
}
