//! Who the members of the new cluster are: etcd's `VerifyBootstrap` and `NewClusterFromURLsMap`.

use std::net::{SocketAddr, ToSocketAddrs};
use std::thread;
use std::time::Duration;

use sha1::{Digest, Sha1};

use super::go_text::{push_json, push_json_list, quote, quote_list};
use super::url::Url;
use super::urls::{Urls, UrlsMap};
use crate::error::{Error, Result};
use crate::hex::hex_id;

/// What the person who restores says about the new cluster, in the form of `etcdutl`'s flags.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bootstrap {
    /// Name of the member that is restored.
    pub name: String,
    /// `name=url` pairs of all members, with commas between.
    pub initial_cluster: String,
    /// Peer URLs of the member that is restored, with commas between.
    pub initial_advertise_peer_urls: String,
    /// Text that goes into the ids, so that old and new clusters keep apart.
    pub initial_cluster_token: String,
}

/// A member as a restore writes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// First eight bytes of the SHA-1 of the peer URLs and the token.
    pub id: u64,
    /// Its name in the initial cluster; may be empty.
    pub name: String,
    /// Sorted by their text.
    pub peer_urls: Vec<String>,
}

/// All members of the new cluster, and which of them this one is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Membership {
    /// First eight bytes of the SHA-1 of the member ids.
    pub cluster_id: u64,
    /// The member that is restored.
    pub local_id: u64,
    /// Ascending by id.
    pub members: Vec<Member>,
}

impl Membership {
    /// Ids of all members, ascending: the voters of the new cluster.
    #[must_use]
    pub fn ids(&self) -> Vec<u64> {
        self.members.iter().map(|member| member.id).collect()
    }

    /// Number of members: the raft index at which a restored log ends.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.members.len() as u64
    }

    /// Whether there are no members at all, which no bootstrap gives.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }
}

/// JSON of a restored member, byte for byte as etcd's `membership.Member` gives it: what is kept in the `members`
/// bucket, and the context of the member's ConfChange.
#[must_use]
pub fn member_json(member: &Member) -> String {
    let mut json = format!("{{\"id\":{},\"peerURLs\":", member.id);
    push_json_list(&mut json, &member.peer_urls);
    if !member.name.is_empty() {
        json.push_str(",\"name\":");
        push_json(&mut json, &member.name);
    }
    json.push('}');
    json
}

/// Checks the plan of a new cluster as etcd's `VerifyBootstrap` does, and derives the ids.
///
/// Host names are looked up only when the advertised URLs of the member and those in the initial cluster differ as
/// text; where the look-up fails it is tried again a few times within two seconds (etcd: thirty).
///
/// # Errors
/// [`Error::Bootstrap`] with etcd's own words.
pub fn bootstrap(plan: &Bootstrap) -> Result<Membership> {
    bootstrap_with(plan, &mut resolve_with_retries)
}

/// Gives the address of a `host:port`, or the reason why there is none.
type Resolve<'a> = &'a mut dyn FnMut(&str) -> std::result::Result<SocketAddr, String>;

fn bootstrap_with(plan: &Bootstrap, resolve: Resolve<'_>) -> Result<Membership> {
    verify_and_derive(plan, resolve).map_err(|message| Error::Bootstrap { message })
}

fn verify_and_derive(plan: &Bootstrap, resolve: Resolve<'_>) -> std::result::Result<Membership, String> {
    let advertised = Urls::new(&plan.initial_advertise_peer_urls.split(',').collect::<Vec<_>>())?;
    let cluster = UrlsMap::new(&plan.initial_cluster)?;
    let Some(listed) = cluster.get(&plan.name) else {
        let name = quote(&plan.name);
        return Err(format!("couldn't find local name {name} in the initial cluster configuration"));
    };
    advertised_match_cluster(&plan.name, &advertised, listed, resolve)?;
    if cluster.has_duplicate_url() {
        return Err(format!("initial cluster {cluster} has duplicate url"));
    }
    derive_ids(&cluster, &plan.name, &plan.initial_cluster_token)
}

/// etcd's `advertiseMatchesCluster`.
fn advertised_match_cluster(
    name: &str,
    advertised: &Urls,
    listed: &Urls,
    resolve: Resolve<'_>,
) -> std::result::Result<(), String> {
    let Err(reason) = urls_equal(advertised.as_slice(), listed.as_slice(), resolve) else {
        return Ok(());
    };
    let lacking = |of: &Urls, among: &Urls| {
        let mut urls = of.as_slice().to_vec();
        urls.retain(|url| !among.as_slice().contains(url));
        urls.dedup();
        urls
    };
    let named = |urls: &[String]| urls.iter().map(|url| format!("{name}={url}")).collect::<Vec<_>>().join(",");
    let advertised_text = advertised.as_slice().join(",");
    let missing = lacking(listed, advertised);
    if !missing.is_empty() {
        return Err(format!(
            "--initial-cluster has {} but missing from --initial-advertise-peer-urls={advertised_text} ({reason})",
            named(&missing)
        ));
    }
    let cluster_text = named(advertised.as_slice());
    let missing = lacking(advertised, listed);
    if !missing.is_empty() {
        return Err(format!(
            "--initial-advertise-peer-urls has {} but missing from --initial-cluster={cluster_text}",
            missing.join(",")
        ));
    }
    Err(format!("failed to resolve {advertised_text} to match --initial-cluster={cluster_text} ({reason})"))
}

/// etcd's `netutil.URLStringsEqual`: as text, else with every host replaced by its first address.
fn urls_equal(a: &[String], b: &[String], resolve: Resolve<'_>) -> std::result::Result<(), String> {
    if a.len() != b.len() {
        return Err(format!("len({}) != len({})", quote_list(a), quote_list(b)));
    }
    if a == b {
        return Ok(());
    }
    let mut with_addresses = |urls: &[String]| {
        let mut resolved =
            urls.iter().map(|url| resolved_url(url, resolve)).collect::<std::result::Result<Vec<_>, _>>()?;
        resolved.sort_unstable();
        Ok::<_, String>(resolved)
    };
    let (a, b) = (with_addresses(a)?, with_addresses(b)?);
    match a.iter().zip(&b).find(|(a, b)| a != b) {
        Some((a, b)) => Err(format!("resolved urls: {} != {}", quote(a), quote(b))),
        None => Ok(()),
    }
}

fn resolved_url(text: &str, resolve: Resolve<'_>) -> std::result::Result<String, String> {
    let mut url = Url::parse(text)?;
    // A socket's path has no address, and "localhost" stays what it is.
    if matches!(url.scheme.as_str(), "unix" | "unixs") || url.host_port().is_none_or(|(host, _)| host == b"localhost") {
        return Ok(url.to_string());
    }
    let host = String::from_utf8_lossy(&url.host).into_owned();
    let mut address = resolve(&host).map_err(|reason| format!("failed to resolve {} ({reason})", quote(text)))?;
    if let Some(mapped) = mapped_ipv4(address) {
        address = mapped;
    }
    url.host = address.to_string().into_bytes();
    Ok(url.to_string())
}

/// To Go an IPv4 address inside an IPv6 one is the same as the plain one.
fn mapped_ipv4(address: SocketAddr) -> Option<SocketAddr> {
    let SocketAddr::V6(v6) = address else { return None };
    v6.ip().to_ipv4_mapped().map(|ip| SocketAddr::new(ip.into(), v6.port()))
}

const RESOLVE_ATTEMPTS: u32 = 3;
const RESOLVE_PAUSE: Duration = Duration::from_secs(1);

fn resolve_with_retries(host_port: &str) -> std::result::Result<SocketAddr, String> {
    let mut attempt = 1;
    loop {
        let reason = match host_port.to_socket_addrs().map(|mut addresses| addresses.next()) {
            Ok(Some(address)) => return Ok(address),
            Ok(None) => format!("lookup {host_port}: no addresses"),
            Err(error) => format!("lookup {host_port}: {error}"),
        };
        if attempt == RESOLVE_ATTEMPTS {
            return Err(reason);
        }
        attempt += 1;
        thread::sleep(RESOLVE_PAUSE);
    }
}

/// etcd's `NewClusterFromURLsMap`.
fn derive_ids(cluster: &UrlsMap, local: &str, token: &str) -> std::result::Result<Membership, String> {
    let mut membership = Membership { cluster_id: 0, local_id: 0, members: Vec::new() };
    for (name, urls) in cluster.iter() {
        let mut hash = Sha1::new();
        urls.as_slice().iter().for_each(|url| hash.update(url));
        hash.update(token);
        let id = first_eight_bytes(hash);
        if id == 0 {
            return Err("cannot use 0 as member id".to_owned());
        }
        if membership.members.iter().any(|member| member.id == id) {
            let (id, urls) = (hex_id(id), urls.as_slice().join(" "));
            return Err(format!("member exists with identical ID &{{{id} {{[{urls}] false}} {{{name} []}}}}"));
        }
        if name == local {
            membership.local_id = id;
        }
        membership.members.push(Member { id, name: name.to_owned(), peer_urls: urls.as_slice().to_vec() });
    }
    membership.members.sort_unstable_by_key(|member| member.id);
    let mut hash = Sha1::new();
    membership.members.iter().for_each(|member| hash.update(member.id.to_be_bytes()));
    membership.cluster_id = first_eight_bytes(hash);
    Ok(membership)
}

fn first_eight_bytes(hash: Sha1) -> u64 {
    let digest: [u8; 20] = hash.finalize().into();
    digest.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::raft::fixture::{plan, three_members};

    fn refused(plan: &Bootstrap) -> String {
        refused_with(plan, &[])
    }

    /// The message of a refused plan when names resolve as in `hosts`.
    fn refused_with(plan: &Bootstrap, hosts: &[(&str, &str)]) -> String {
        match resolved(plan, hosts) {
            Err(Error::Bootstrap { message }) => message,
            other => panic!("{other:?}"),
        }
    }

    fn resolved(plan: &Bootstrap, hosts: &[(&str, &str)]) -> Result<Membership> {
        let hosts: BTreeMap<_, _> = hosts.iter().copied().collect();
        bootstrap_with(plan, &mut |host_port| match hosts.get(host_port) {
            Some(address) => Ok(address.parse().unwrap()),
            None => host_port.parse().map_err(|_| format!("lookup {host_port}: no such host")),
        })
    }

    #[test]
    fn ids_are_those_of_etcd() {
        let membership = three_members();
        assert_eq!(membership.ids(), [0x2088_2c38_5690_775a, 0x2bf4_ebf7_445e_1eb9, 0xd8c1_1779_edff_0484]);
        assert_eq!(membership.local_id, 3_167_415_885_184_769_721);
        assert_eq!(membership.cluster_id, 0x95c0_b977_98b7_0158);
        assert_eq!(membership.members[0].name, "m2");
        let single = bootstrap(&plan("m1", "m1=http://127.0.0.1:42700", "http://127.0.0.1:42700")).unwrap();
        assert_eq!(hex_id(single.local_id), "22e81eaacabed8c3");
    }

    #[test]
    fn member_json_is_that_of_etcd() {
        let member = &three_members().members[1];
        let expected = r#"{"id":3167415885184769721,"peerURLs":["http://127.0.0.1:42901"],"name":"m1"}"#;
        assert_eq!(member_json(member), expected);
        let odd = Member { id: 1, name: "a<b>".to_owned(), peer_urls: vec!["u&v".to_owned(), "w".to_owned()] };
        assert_eq!(member_json(&odd), r#"{"id":1,"peerURLs":["u\u0026v","w"],"name":"a\u003cb\u003e"}"#);
        let unnamed = Member { id: 1, name: String::new(), peer_urls: Vec::new() };
        assert_eq!(member_json(&unnamed), r#"{"id":1,"peerURLs":[]}"#);
    }

    #[test]
    fn a_name_outside_the_cluster_is_refused() {
        let message = "couldn't find local name \"m\\\"9\" in the initial cluster configuration";
        assert_eq!(refused(&plan("m\"9", "m1=http://a:1", "http://a:1")), message);
        assert_eq!(
            refused(&plan("", "", "http://a:1")),
            "couldn't find local name \"\" in the initial cluster configuration"
        );
    }

    #[test]
    fn a_name_may_be_empty() {
        assert!(bootstrap(&plan("", "=http://a:1", "http://a:1")).is_ok());
    }

    #[test]
    fn bad_urls_come_before_everything_else() {
        let message = "URL scheme must be http, https, unix, or unixs: ";
        assert_eq!(refused(&plan("m9", "m1=nonsense://", "")), message);
        assert_eq!(refused(&plan("m1", "m1=http://a:1", "http://a:1,")), message);
    }

    #[test]
    fn advertised_urls_may_come_in_any_order_and_with_blanks() {
        let plan = plan("m1", "m1=http://b:1,m1=http://a:1,m2=http://c:1", "http://a:1 , HTTP://b:1");
        assert!(bootstrap(&plan).is_ok());
    }

    #[test]
    fn a_listed_url_that_is_not_advertised_is_refused() {
        let message = "--initial-cluster has m1=http://b:1 but missing from --initial-advertise-peer-urls=http://a:1 \
                       (len([\"http://a:1\"]) != len([\"http://a:1\" \"http://b:1\"]))";
        assert_eq!(refused(&plan("m1", "m1=http://a:1,m1=http://b:1", "http://a:1")), message);
    }

    #[test]
    fn an_advertised_url_that_is_not_listed_is_refused() {
        let message = "--initial-advertise-peer-urls has http://b:1 but missing from \
                       --initial-cluster=m1=http://a:1,m1=http://b:1";
        assert_eq!(refused(&plan("m1", "m1=http://a:1", "http://a:1,http://b:1")), message);
    }

    #[test]
    fn the_same_url_in_other_numbers_is_refused() {
        let message = "failed to resolve http://a:1,http://a:1 to match --initial-cluster=m1=http://a:1,m1=http://a:1 \
                       (len([\"http://a:1\" \"http://a:1\"]) != len([\"http://a:1\"]))";
        assert_eq!(refused(&plan("m1", "m1=http://a:1", "http://a:1,http://a:1")), message);
    }

    #[test]
    fn a_name_and_its_address_are_the_same_and_the_id_comes_from_the_initial_cluster() {
        let by_address = plan("m1", "m1=http://10.0.0.1:1", "http://node.example:1");
        let membership = resolved(&by_address, &[("node.example:1", "10.0.0.1:1")]).unwrap();
        assert_eq!(membership.members[0].peer_urls, ["http://10.0.0.1:1"]);
        let by_address = plan("m1", "m1=http://[::2]:1", "http://node.example:1");
        assert!(resolved(&by_address, &[("node.example:1", "[::2]:1")]).is_ok());
        let mapped = plan("m1", "m1=http://10.0.0.1:1", "http://[::ffff:10.0.0.1]:1");
        assert!(resolved(&mapped, &[]).is_ok());
    }

    #[test]
    fn names_of_other_addresses_are_refused() {
        let plan = plan("m1", "m1=http://10.0.0.1:1", "http://node.example:1");
        let message = "--initial-cluster has m1=http://10.0.0.1:1 but missing from \
                       --initial-advertise-peer-urls=http://node.example:1 \
                       (resolved urls: \"http://10.0.0.2:1\" != \"http://10.0.0.1:1\")";
        assert_eq!(refused_with(&plan, &[("node.example:1", "10.0.0.2:1")]), message);
        let message = "--initial-cluster has m1=http://10.0.0.1:1 but missing from \
                       --initial-advertise-peer-urls=http://node.example:1 \
                       (failed to resolve \"http://node.example:1\" (lookup node.example:1: no such host))";
        assert_eq!(refused(&plan), message);
    }

    #[test]
    fn localhost_and_sockets_are_not_looked_up() {
        let loopback = plan("m1", "m1=http://127.0.0.1:1", "http://localhost:1");
        assert!(refused(&loopback).ends_with("(resolved urls: \"http://localhost:1\" != \"http://127.0.0.1:1\")"));
        let sockets = plan("m1", "m1=unix:///a", "unix:///b");
        assert!(refused(&sockets).ends_with("(resolved urls: \"unix:///b\" != \"unix:///a\")"));
    }

    #[test]
    fn a_url_of_two_members_is_refused() {
        let message = "initial cluster m1=http://a:1,m2=http://a:1 has duplicate url";
        assert_eq!(refused(&plan("m1", "m2=http://a:1,m1=http://a:1", "http://a:1")), message);
    }

    #[test]
    fn members_whose_urls_run_together_to_the_same_text_are_refused() {
        let plan = plan("m2", "m1=http://a:1?,m1=http://b:2,m2=http://a:1?http://b:2", "http://a:1?http://b:2");
        let message = refused(&plan);
        let id = message.strip_prefix("member exists with identical ID &{").unwrap();
        assert!(id.ends_with(" {[http://a:1?http://b:2] false} {m2 []}}"), "{message}");
    }

    #[test]
    fn another_token_gives_other_ids() {
        let mut other = plan("m1", "m1=http://a:1", "http://a:1");
        let first = bootstrap(&other).unwrap();
        other.initial_cluster_token = "etcd-cluster".to_owned();
        let second = bootstrap(&other).unwrap();
        assert_ne!((first.cluster_id, first.local_id), (second.cluster_id, second.local_id));
    }
}
