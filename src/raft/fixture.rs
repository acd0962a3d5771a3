//! The cluster of the golden vectors, for tests.

use super::{Bootstrap, Membership, bootstrap};

/// A plan with the token of the golden vectors.
pub(crate) fn plan(name: &str, initial_cluster: &str, advertised: &str) -> Bootstrap {
    Bootstrap {
        name: name.to_owned(),
        initial_cluster: initial_cluster.to_owned(),
        initial_advertise_peer_urls: advertised.to_owned(),
        initial_cluster_token: "tok".to_owned(),
    }
}

/// m1, m2 and m3 on ports 42901 to 42903, seen from m1.
pub(crate) fn three_members() -> Membership {
    let cluster = "m1=http://127.0.0.1:42901,m2=http://127.0.0.1:42902,m3=http://127.0.0.1:42903";
    bootstrap(&plan("m1", cluster, "http://127.0.0.1:42901")).unwrap()
}
