//! Why a request failed, told by code and by text, in words that say what to do.
//!
//! The codes alone do not tell: etcd 3.4 and 3.5 answer a missing role with code `Unknown` and the text
//! `auth: permission denied` where 3.6 has `PermissionDenied`; a TLS server that wants a client certificate breaks the
//! connection after the handshake.

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use tonic::Code;

use super::endpoint::EndpointUrl;
use crate::error::Error;

/// What a server says that may be able to do it in a moment, and has not done it: of `ErrLeaderChanged` in reading only,
/// of `ErrTooManyRequests` before it is proposed, of raft's `ErrProposalDropped` where there is no leader.
const UNDONE: [&str; 4] = ["leader changed", "no leader", "too many requests", "raft proposal dropped"];
/// What it says after it may have been proposed: whoever comes after it can carry it out.
const UNKNOWN: [&str; 6] = [
    "request timed out",
    "server stopped",
    "raft: stopped",
    "request cancel",
    "context canceled",
    "transport is closing",
];
/// What it says of a token, or of a request under way, from before the last change of users or roles: `isOpPermitted` in
/// etcd's `server/auth/store.go`, as it is and as `togRPCError` puts it. Nothing was done.
const OLD_AUTH: [&str; 2] = ["revision of auth store is old", "revision in header is old"];

/// What a failure means for the next step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureKind {
    /// No connection, or it broke.
    Unreachable,
    /// No answer in time.
    TimedOut,
    /// Refused for who the caller is: certificate, user, password.
    Denied,
    /// The user is known and has not the role that the request needs.
    PermissionDenied,
    /// The server answered with an error of its own.
    Answered,
}

/// One failed request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What it means.
    pub kind: FailureKind,
    /// What happened and what to do about it; without the endpoint.
    pub message: String,
}

/// How the connection was made: what a broken one may be due to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Circumstances {
    pub(super) tls: bool,
    pub(super) client_certificate: bool,
    /// Whether the server has answered anything on it: what breaks later is no refusal.
    pub(super) answered: bool,
}

impl Failure {
    pub(super) fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    /// No answer within `limit`.
    pub(super) fn timed_out(what: &str, limit: Duration) -> Self {
        Self::new(FailureKind::TimedOut, format!("no answer to {what} within {} s", limit.as_secs_f64()))
    }

    /// A failure to connect.
    pub(super) fn connecting(error: &tonic::transport::Error, circumstances: Circumstances) -> Self {
        transport(&chain(error), circumstances)
    }

    /// A failed request.
    pub(super) fn calling(error: &etcd_client::Error, circumstances: Circumstances) -> Self {
        match error {
            etcd_client::Error::GRpcStatus(status) => from_status(status, circumstances),
            etcd_client::Error::TransportError(error) => Self::connecting(error, circumstances),
            other => Self::new(FailureKind::Answered, other.to_string()),
        }
    }

    /// Whether asking the same endpoint again would only cost another timeout.
    pub fn is_dead(&self) -> bool {
        matches!(self.kind, FailureKind::Unreachable | FailureKind::TimedOut)
    }

    /// Whether it may be worth while to ask again.
    pub fn may_pass(&self) -> bool {
        self.is_dead() || self.says(&UNDONE) || self.says(&UNKNOWN)
    }

    /// Whether it may pass and leaves open what becomes of the request: it may have been carried out, or be carried out
    /// yet, as by a server that was stopped for a while.
    pub fn is_open(&self) -> bool {
        self.is_dead() || self.says(&UNKNOWN)
    }

    /// Whether users or roles were changed since the token was made; nothing was done.
    pub(super) fn is_of_old_auth(&self) -> bool {
        self.says(&OLD_AUTH)
    }

    fn says(&self, texts: &[&str]) -> bool {
        texts.iter().any(|text| self.message.contains(text))
    }

    /// Whether the server itself spoke: it has let the caller in.
    pub fn is_answer(&self) -> bool {
        matches!(self.kind, FailureKind::Answered | FailureKind::PermissionDenied)
    }

    /// Whether the caller was refused, by whatever rule.
    pub fn is_denied(&self) -> bool {
        matches!(self.kind, FailureKind::Denied | FailureKind::PermissionDenied)
    }

    /// Whether it is what a learner answers to most requests, by its nature.
    pub fn is_of_a_learner(&self) -> bool {
        self.kind == FailureKind::Answered && self.message.contains("not supported for learner")
    }

    /// The crate's error for a verb that can't go on.
    pub fn into_error(self, endpoint: &EndpointUrl) -> Error {
        let (endpoint, message) = (endpoint.to_string(), self.message);
        match self.kind {
            FailureKind::Denied | FailureKind::PermissionDenied => Error::Denied { endpoint, message },
            FailureKind::Answered => Error::Refused { endpoint, message },
            FailureKind::Unreachable | FailureKind::TimedOut => Error::Unavailable { tried: vec![(endpoint, message)] },
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

fn from_status(status: &tonic::Status, circumstances: Circumstances) -> Failure {
    // tonic keeps the cause of what it made up itself; what the server sent has none.
    if status.source().is_some() {
        return transport(&chain(status), circumstances);
    }
    from_server(status.code(), status.message(), circumstances)
}

/// Judges an error that the server sent.
fn from_server(code: Code, text: &str, circumstances: Circumstances) -> Failure {
    let failed = |kind, advice: &str| Failure::new(kind, format!("{text}; {advice}"));
    if text.contains("permission denied") || code == Code::PermissionDenied {
        return failed(
            FailureKind::PermissionDenied,
            "give a user that may do this, such as one with the role root (--user)",
        );
    }
    if text.contains("user name is empty") {
        return failed(FailureKind::Denied, "authentication is enabled: give a user and password (--user)");
    }
    if text.contains("invalid user ID or password") || text.contains("authentication failed") {
        return failed(FailureKind::Denied, "check user name and password (--user)");
    }
    if text.contains("invalid auth token") || code == Code::Unauthenticated {
        return failed(FailureKind::Denied, "the token has expired; try again");
    }
    if text.contains("does not have root role") || text.contains("user name not found") {
        return failed(FailureKind::PermissionDenied, "give a user that has the role root (--user)");
    }
    // tonic's own words for an answer without an end: so ends what a server with TLS was asked when it is stopped.
    if text.contains("missing grpc-status trailer") {
        return Failure::new(FailureKind::Unreachable, format!("the connection ended within the answer ({text})"));
    }
    if code == Code::Unimplemented || text.contains("grpc-status header missing") {
        return failed(FailureKind::Unreachable, "is this an etcd v3 client port?");
    }
    if code == Code::Unavailable && circumstances.tls && text.contains("error reading from server") {
        return transport(text, circumstances);
    }
    let text = if text.is_empty() { format!("the server answered with gRPC code {code:?}") } else { text.to_owned() };
    Failure::new(FailureKind::Answered, text)
}

/// Judges an error of the connection, by the text of the whole chain of causes.
fn transport(text: &str, circumstances: Circumstances) -> Failure {
    let any = |words: &[&str]| words.iter().any(|word| text.contains(word));
    let denied = |advice: &str| Failure::new(FailureKind::Denied, format!("{text}; {advice}"));
    if any(&["UnknownIssuer", "CaUsedAsEndEntity", "BadSignature"]) {
        return denied("its certificate is not signed by a CA that is trusted here: give the cluster's own (--cacert)");
    }
    if any(&["certificate not valid for name", "NotValidForName"]) {
        return denied(
            "its certificate is made for another name: use an endpoint with that name, or give the name \
             (--server-name)",
        );
    }
    if any(&["certificate expired", "certificate not valid yet", "Expired", "NotValidYet"]) {
        return denied("its certificate is not valid now: renew it, or set this machine's clock");
    }
    if any(&["CertificateRequired", "BadCertificate", "CertificateUnknown", "UnknownCA", "AccessDenied"]) {
        return denied(client_certificate_advice(circumstances));
    }
    if any(&["InvalidContentType", "corrupt message", "tls handshake eof"]) {
        return Failure::new(FailureKind::Unreachable, format!("{text}; it does not speak TLS here: try http://"));
    }
    if any(&["HTTP/2 was not negotiated", "H2NotNegotiated"]) {
        return Failure::new(FailureKind::Unreachable, format!("{text}; is it an etcd client port?"));
    }
    let broken = any(&[
        "broken pipe",
        "Broken pipe",
        "BrokenPipe",
        "connection reset",
        "Connection reset",
        "closed",
        // hyper's words where the connection was gone before the request was handed to it.
        "connection was not ready",
    ]);
    if circumstances.tls && broken && !circumstances.answered {
        return denied(if circumstances.client_certificate {
            "the server closed the connection after the TLS handshake, it may not accept this client certificate: give \
             one that its trusted CA signed (--cert, --key)"
        } else {
            client_certificate_advice(circumstances)
        });
    }
    let no_http2 = any(&["frame with invalid size", "FRAME_SIZE_ERROR", "invalid preface", "PROTOCOL_ERROR"]);
    if !circumstances.tls && (no_http2 || text.contains("connection closed")) {
        return Failure::new(FailureKind::Unreachable, format!("{text}; does it want TLS? try https://"));
    }
    Failure::new(FailureKind::Unreachable, text)
}

fn client_certificate_advice(circumstances: Circumstances) -> &'static str {
    if circumstances.client_certificate {
        "the server does not accept this client certificate: give one that its trusted CA signed (--cert, --key)"
    } else {
        "the server closed the connection after the TLS handshake, it may want a client certificate: give one \
         (--cert, --key)"
    }
}

/// The texts of an error and its causes joined by `": "`, each once: libraries repeat those of their causes.
fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut parts: Vec<String> = Vec::new();
    let mut next: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(error) = next {
        let text = match error.downcast_ref::<tonic::Status>() {
            Some(status) => status.message().to_owned(),
            None => error.to_string(),
        };
        if !text.is_empty() && !parts.iter().any(|part| part.contains(&text)) {
            parts.push(text);
        }
        next = error.source();
    }
    // Says nothing that a cause does not say better.
    if parts.len() > 1 {
        parts.retain(|part| {
            part != "transport error" && part != "tcp connect error" && part != "client error (Connect)"
        });
    }
    parts.join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Circumstances = Circumstances { tls: false, client_certificate: false, answered: false };
    const TLS: Circumstances = Circumstances { tls: true, client_certificate: false, answered: false };
    const MUTUAL: Circumstances = Circumstances { tls: true, client_certificate: true, answered: false };

    const ANSWERED: Circumstances = Circumstances { tls: true, client_certificate: true, answered: true };

    #[test]
    fn refusals_of_all_versions_are_told_by_text_and_code() {
        for (code, text, kind, advice) in [
            (Code::Unknown, "auth: user name is empty", FailureKind::Denied, "--user"),
            (Code::InvalidArgument, "etcdserver: user name is empty", FailureKind::Denied, "--user"),
            (Code::Unknown, "auth: permission denied", FailureKind::PermissionDenied, "root"),
            (Code::PermissionDenied, "etcdserver: permission denied", FailureKind::PermissionDenied, "root"),
            (Code::Unauthenticated, "etcdserver: invalid auth token", FailureKind::Denied, "again"),
            (Code::Unknown, "auth: invalid auth token", FailureKind::Denied, "again"),
            (
                Code::InvalidArgument,
                "etcdserver: authentication failed, invalid user ID or password",
                FailureKind::Denied,
                "password",
            ),
        ] {
            let failure = from_server(code, text, PLAIN);
            assert_eq!(failure.kind, kind, "{text}");
            assert!(failure.message.contains(advice), "{}", failure.message);
        }
    }

    #[test]
    fn errors_of_the_server_itself_are_no_refusals() {
        for (code, text) in [
            (Code::Unavailable, "etcdserver: no leader"),
            (Code::Unavailable, "etcdserver: request timed out"),
            (Code::OutOfRange, "etcdserver: mvcc: required revision has been compacted"),
            (Code::Unavailable, "etcdserver: rpc not supported for learner"),
        ] {
            assert_eq!(from_server(code, text, PLAIN), Failure::new(FailureKind::Answered, text));
        }
    }

    #[test]
    fn what_may_pass_is_told_from_what_may_be_done() {
        for (code, text, passes, open) in [
            (Code::Unavailable, "etcdserver: no leader", true, false),
            (Code::Unavailable, "etcdserver: leader changed", true, false),
            (Code::ResourceExhausted, "etcdserver: too many requests", true, false),
            (Code::Unknown, "raft proposal dropped", true, false),
            (Code::Unavailable, "etcdserver: request timed out, possibly due to connection lost", true, true),
            (Code::Unavailable, "etcdserver: server stopped", true, true),
            (Code::Unknown, "raft: stopped", true, true),
            (Code::Unknown, "etcdserver: request cancelled", true, true),
            (Code::Cancelled, "context canceled", true, true),
            (Code::Unknown, "protocol error: missing grpc-status trailer, stream was terminated", true, true),
            (Code::ResourceExhausted, "etcdserver: mvcc: database space exceeded", false, false),
            (Code::PermissionDenied, "etcdserver: permission denied", false, false),
            (Code::InvalidArgument, "etcdserver: revision of auth store is old", false, false),
        ] {
            let failure = from_server(code, text, ANSWERED);
            assert_eq!((failure.may_pass(), failure.is_open()), (passes, open), "{text}");
        }
    }

    #[test]
    fn an_answer_without_an_end_is_a_broken_connection() {
        let text = "protocol error: missing grpc-status trailer, stream was terminated without a final status";
        for circumstances in [PLAIN, TLS, ANSWERED] {
            assert_eq!(from_server(Code::Unknown, text, circumstances).kind, FailureKind::Unreachable);
        }
    }

    #[test]
    fn broken_connections_are_told_apart() {
        for (text, circumstances, kind, advice) in [
            ("invalid peer certificate: UnknownIssuer", TLS, FailureKind::Denied, "--cacert"),
            (
                "invalid peer certificate: certificate not valid for name \"a\"; certificate is only valid for b",
                TLS,
                FailureKind::Denied,
                "--server-name",
            ),
            ("received fatal alert: CertificateRequired", TLS, FailureKind::Denied, "--cert"),
            ("received fatal alert: BadCertificate", MUTUAL, FailureKind::Denied, "does not accept"),
            ("connection error: Broken pipe (os error 32)", TLS, FailureKind::Denied, "--cert"),
            ("stream closed because of a broken pipe", MUTUAL, FailureKind::Denied, "may not accept"),
            ("operation was canceled: connection was not ready", TLS, FailureKind::Denied, "--cert"),
            ("operation was canceled: connection was not ready", PLAIN, FailureKind::Unreachable, "not ready"),
            ("stream closed because of a broken pipe", ANSWERED, FailureKind::Unreachable, "broken pipe"),
            ("connection error: Broken pipe (os error 32)", PLAIN, FailureKind::Unreachable, "Broken pipe"),
            ("received corrupt message of type InvalidContentType", TLS, FailureKind::Unreachable, "http://"),
            ("tls handshake eof", TLS, FailureKind::Unreachable, "http://"),
            ("operation was canceled: connection closed", PLAIN, FailureKind::Unreachable, "https://"),
            ("Connection refused (os error 111)", TLS, FailureKind::Unreachable, "refused"),
        ] {
            let failure = transport(text, circumstances);
            assert_eq!(failure.kind, kind, "{text}");
            assert!(failure.message.contains(advice), "{}", failure.message);
        }
    }
}
