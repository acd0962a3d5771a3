//! Lists and maps of peer URLs, by the rules of etcd's `client/pkg/types` (`NewURLs`, `NewURLsMap`).

use std::collections::BTreeMap;

use super::url::Url;

/// Peer URLs of one member, sorted by their text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Urls(Vec<String>);

impl Urls {
    /// etcd's `NewURLs`.
    ///
    /// # Errors
    /// etcd's or Go's message about the first URL that will not do.
    pub(super) fn new(texts: &[&str]) -> Result<Self, String> {
        if texts.is_empty() {
            return Err("no valid URLs given".to_owned());
        }
        let mut urls = texts.iter().map(|text| peer_url(text.trim())).collect::<Result<Vec<_>, _>>()?;
        urls.sort_unstable();
        Ok(Self(urls))
    }

    pub(super) fn as_slice(&self) -> &[String] {
        &self.0
    }
}

fn peer_url(text: &str) -> Result<String, String> {
    let url = Url::parse(text)?;
    match url.scheme.as_str() {
        "http" | "https" => {
            if url.host_port().is_none() {
                return Err(format!("URL address does not have the form \"host:port\": {text}"));
            }
            if !url.path.is_empty() {
                return Err(format!("URL must not contain a path: {text}"));
            }
        }
        "unix" | "unixs" => {}
        _ => return Err(format!("URL scheme must be http, https, unix, or unixs: {text}")),
    }
    Ok(url.to_string())
}

/// etcd's `--initial-cluster`: member names with their peer URLs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct UrlsMap(BTreeMap<String, Urls>);

impl UrlsMap {
    /// etcd's `NewURLsMap`: `name=url` pieces between commas. Empty pieces are skipped, a name that comes again
    /// collects URLs, and names are taken as they stand, blanks included.
    ///
    /// # Errors
    /// As [`Urls::new`], for the first name in order; etcd reports any of them.
    pub(super) fn new(text: &str) -> Result<Self, String> {
        let mut collected: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for piece in text.split(',').filter(|piece| !piece.is_empty()) {
            let (name, url) = piece.split_once('=').unwrap_or((piece, ""));
            collected.entry(name).or_default().push(url);
        }
        let map = collected.into_iter().map(|(name, urls)| Ok((name.to_owned(), Urls::new(&urls)?)));
        map.collect::<Result<_, String>>().map(Self)
    }

    pub(super) fn get(&self, name: &str) -> Option<&Urls> {
        self.0.get(name)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &Urls)> {
        self.0.iter().map(|(name, urls)| (name.as_str(), urls))
    }

    /// etcd's `CheckDuplicateURL`: whether any URL stands twice, whoever the members are.
    pub(super) fn has_duplicate_url(&self) -> bool {
        let mut urls: Vec<&String> = self.0.values().flat_map(Urls::as_slice).collect();
        let all = urls.len();
        urls.sort_unstable();
        urls.dedup();
        urls.len() < all
    }
}

impl std::fmt::Display for UrlsMap {
    /// `name=url` pairs, sorted, with commas between.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let pairs = self.iter().flat_map(|(name, urls)| urls.as_slice().iter().map(move |url| format!("{name}={url}")));
        let mut pairs: Vec<String> = pairs.collect();
        pairs.sort_unstable();
        f.write_str(&pairs.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peer_urls_that_etcd_accepts_are_accepted() {
        for url in [
            "http://127.0.0.1:2380",
            " https://host.example:2380\t",
            "http://[::1]:2380",
            "http://user:word@h:1?a=b",
            "http://:2380",
            "http://h:",
            "unix:///a/path",
            "unixs://host",
        ] {
            assert!(Urls::new(&[url]).is_ok(), "{url}");
        }
    }

    #[test]
    fn peer_urls_that_etcd_refuses_are_refused_in_its_words() {
        for (url, message) in [
            ("http://host", "URL address does not have the form \"host:port\": http://host"),
            ("http://", "URL address does not have the form \"host:port\": http://"),
            ("http://::1:2380", "URL address does not have the form \"host:port\": http://::1:2380"),
            ("http://h:1/", "URL must not contain a path: http://h:1/"),
            ("https://h:1/a", "URL must not contain a path: https://h:1/a"),
            ("ftp://h:1", "URL scheme must be http, https, unix, or unixs: ftp://h:1"),
            ("localhost:2380", "URL scheme must be http, https, unix, or unixs: localhost:2380"),
            ("", "URL scheme must be http, https, unix, or unixs: "),
            ("1.2.3.4:1", "parse \"1.2.3.4:1\": first path segment in URL cannot contain colon"),
        ] {
            assert_eq!(Urls::new(&[url]).unwrap_err(), message);
        }
        assert_eq!(Urls::new(&[]).unwrap_err(), "no valid URLs given");
    }

    #[test]
    fn urls_are_sorted_by_their_text() {
        let urls = Urls::new(&["http://b:1", "HTTP://a:10", "http://a:2"]).unwrap();
        assert_eq!(urls.as_slice(), ["http://a:10", "http://a:2", "http://b:1"]);
    }

    #[test]
    fn a_map_collects_the_urls_of_a_name_and_skips_empty_pieces() {
        let map = UrlsMap::new(",m2=http://b:1,,m1=http://c:1,m1=http://a:1, m1=http://d:1,").unwrap();
        assert_eq!(map.to_string(), " m1=http://d:1,m1=http://a:1,m1=http://c:1,m2=http://b:1");
        assert_eq!(map.get("m1").unwrap().as_slice(), ["http://a:1", "http://c:1"]);
        assert!(!map.has_duplicate_url());
        assert!(UrlsMap::new("").unwrap().get("").is_none());
    }

    #[test]
    fn a_name_may_hold_no_equals_sign_but_a_url_may() {
        let map = UrlsMap::new("m1=http://a:1?x=y").unwrap();
        assert_eq!(map.get("m1").unwrap().as_slice(), ["http://a:1?x=y"]);
    }

    #[test]
    fn a_piece_without_a_url_is_refused() {
        let message = "URL scheme must be http, https, unix, or unixs: ";
        assert_eq!(UrlsMap::new("m1").unwrap_err(), message);
        assert_eq!(UrlsMap::new("m1=").unwrap_err(), message);
    }

    #[test]
    fn a_url_of_two_members_is_a_duplicate() {
        assert!(UrlsMap::new("m1=http://a:1,m2=HTTP://a:1").unwrap().has_duplicate_url());
    }
}
