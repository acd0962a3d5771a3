//! The member list as a verb of its own.

use super::access::Access;
use super::connect::Connector;
use super::failure::Failure;
use crate::error::{Error, Result};
use crate::facts::MemberList;

/// The members of the cluster as the first endpoint that answers knows them, in the order given.
///
/// # Errors
/// `Denied` when one endpoint refused and none answered, `Unavailable` when nobody could be asked, with every reason.
pub async fn member_list(access: &Access) -> Result<MemberList> {
    let connector = Connector::new(access)?;
    let mut tried: Vec<(String, Failure)> = Vec::new();
    for endpoint in connector.endpoints() {
        let answer = match Box::pin(connector.connect(endpoint)).await {
            Ok(connection) => connection.member_list().await,
            Err(failure) => Err(failure),
        };
        match answer {
            Ok(list) => return Ok(list),
            Err(failure) => tried.push((endpoint.to_string(), failure)),
        }
    }
    Err(nobody(&tried))
}

/// The error when no endpoint could be used: a refusal says more than silence.
pub(crate) fn nobody(tried: &[(String, Failure)]) -> Error {
    let reasons = || tried.iter().map(|(endpoint, failure)| (endpoint.clone(), failure.message.clone()));
    let Some((endpoint, denied)) = tried.iter().find(|(_, failure)| failure.is_denied()) else {
        return Error::Unavailable { tried: reasons().collect() };
    };
    let others: Vec<String> =
        reasons().filter(|(other, _)| other != endpoint).map(|(other, reason)| format!("{other}: {reason}")).collect();
    let message = if others.is_empty() {
        denied.message.clone()
    } else {
        format!("{} (and {})", denied.message, others.join("; "))
    };
    Error::Denied { endpoint: endpoint.clone(), message }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::FailureKind;

    fn failed(endpoint: &str, kind: FailureKind) -> (String, Failure) {
        (endpoint.to_owned(), Failure::new(kind, "why"))
    }

    #[test]
    fn refusal_is_told_before_silence() {
        let error = nobody(&[failed("a", FailureKind::Unreachable), failed("b", FailureKind::Denied)]);

        assert!(matches!(&error, Error::Denied { endpoint, .. } if endpoint == "b"));
        assert_eq!(error.to_string(), "b: why (and a: why)");
    }

    #[test]
    fn silence_of_all_names_all() {
        let error = nobody(&[failed("a", FailureKind::Unreachable), failed("b", FailureKind::TimedOut)]);

        assert_eq!(error.to_string(), "no endpoint answered: a: why; b: why");
    }
}
