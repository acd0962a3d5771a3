//! URLs by the rules of Go's `net/url`, which decide etcd's member ids: an id is the hash of what `URL.String`
//! gives back for a peer URL.
//!
//! A port of `Parse` and `String` of Go 1.26, with the port rule of the Go releases before it (colons in a host
//! are left to etcd's own "host:port" check, whose message is clearer).

use std::net::Ipv6Addr;

use super::go_text::quote;

/// Go's `url.URL`. Decoded parts are bytes: percent escapes may stand for anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Url {
    pub(super) scheme: String,
    opaque: String,
    user: Option<UserInfo>,
    pub(super) host: Vec<u8>,
    pub(super) path: Vec<u8>,
    raw_path: String,
    query: String,
    force_query: bool,
    fragment: Vec<u8>,
    raw_fragment: String,
    omit_host: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct UserInfo {
    name: Vec<u8>,
    password: Option<Vec<u8>>,
}

/// The part of a URL that is being escaped or unescaped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    UserPassword,
    Host,
    Zone,
    Path,
    Fragment,
}

impl Url {
    /// Go's `url.Parse`.
    ///
    /// # Errors
    /// Go's message, `parse "...": ...`.
    pub(super) fn parse(raw: &str) -> Result<Self, String> {
        let (rest, fragment) = raw.split_once('#').unwrap_or((raw, ""));
        let mut url = Self::parse_without_fragment(rest).map_err(|error| format!("parse {}: {error}", quote(rest)))?;
        if !fragment.is_empty() {
            url.fragment =
                unescape(fragment, Part::Fragment).map_err(|error| format!("parse {}: {error}", quote(raw)))?;
            if escape(&url.fragment, Part::Fragment) != fragment {
                fragment.clone_into(&mut url.raw_fragment);
            }
        }
        Ok(url)
    }

    fn parse_without_fragment(raw: &str) -> Result<Self, String> {
        if raw.bytes().any(|byte| byte < b' ' || byte == 0x7f) {
            return Err("net/url: invalid control character in URL".to_owned());
        }
        let (scheme, mut rest) = scheme(raw)?;
        let mut url = Self::with_scheme(scheme.to_ascii_lowercase());
        if raw == "*" {
            url.path = b"*".to_vec();
            return Ok(url);
        }
        match rest.split_once('?') {
            Some((before, "")) => {
                url.force_query = true;
                rest = before;
            }
            Some((before, query)) => {
                query.clone_into(&mut url.query);
                rest = before;
            }
            None => {}
        }
        if !rest.starts_with('/') {
            if !url.scheme.is_empty() {
                rest.clone_into(&mut url.opaque);
                return Ok(url);
            }
            if rest.split('/').next().is_some_and(|segment| segment.contains(':')) {
                return Err("first path segment in URL cannot contain colon".to_owned());
            }
        }
        if let Some(after) = rest.strip_prefix("//").filter(|after| !url.scheme.is_empty() || !after.starts_with('/')) {
            let (authority, path) = after.split_at(after.find('/').unwrap_or(after.len()));
            url.set_authority(authority)?;
            rest = path;
        } else if !url.scheme.is_empty() {
            url.omit_host = true;
        }
        url.path = unescape(rest, Part::Path)?;
        if escape(&url.path, Part::Path) != rest {
            rest.clone_into(&mut url.raw_path);
        }
        Ok(url)
    }

    fn with_scheme(scheme: String) -> Self {
        Self {
            scheme,
            opaque: String::new(),
            user: None,
            host: Vec::new(),
            path: Vec::new(),
            raw_path: String::new(),
            query: String::new(),
            force_query: false,
            fragment: Vec::new(),
            raw_fragment: String::new(),
            omit_host: false,
        }
    }

    fn set_authority(&mut self, authority: &str) -> Result<(), String> {
        let (user, host) = match authority.rsplit_once('@') {
            Some((user, host)) => (Some(user), host),
            None => (None, authority),
        };
        self.host = parse_host(host)?;
        if let Some(user) = user {
            if !user.chars().all(valid_in_userinfo) {
                return Err("net/url: invalid userinfo".to_owned());
            }
            let (name, password) = match user.split_once(':') {
                Some((name, password)) => (name, Some(unescape(password, Part::UserPassword)?)),
                None => (user, None),
            };
            self.user = Some(UserInfo { name: unescape(name, Part::UserPassword)?, password });
        }
        Ok(())
    }

    /// The host without brackets and the port, as Go's `net.SplitHostPort`; `None` where it has an error.
    pub(super) fn host_port(&self) -> Option<(&[u8], &[u8])> {
        let colon = self.host.iter().rposition(|byte| *byte == b':')?;
        let (before, port) = self.host.split_at_checked(colon)?;
        let port = port.get(1..)?;
        let host = if before.first() == Some(&b'[') {
            // The first closing bracket stands right before the last colon.
            before.get(1..).and_then(|inner| inner.strip_suffix(b"]"))?
        } else if before.contains(&b':') {
            return None;
        } else {
            before
        };
        let bracket = |bytes: &[u8]| bytes.contains(&b'[') || bytes.contains(&b']');
        if bracket(host) || bracket(port) { None } else { Some((host, port)) }
    }

    fn escaped_path(&self) -> String {
        if !self.raw_path.is_empty() && valid_encoded(&self.raw_path, Part::Path) {
            return self.raw_path.clone();
        }
        if self.path == b"*" { "*".to_owned() } else { escape(&self.path, Part::Path) }
    }
}

impl std::fmt::Display for Url {
    /// Go's `URL.String`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if !self.scheme.is_empty() {
            write!(f, "{}:", self.scheme)?;
        }
        if self.opaque.is_empty() {
            let nothing_there = self.host.is_empty() && self.user.is_none();
            if !(nothing_there && (self.scheme.is_empty() || self.omit_host)) {
                if !(nothing_there && self.path.is_empty()) {
                    f.write_str("//")?;
                }
                if let Some(user) = &self.user {
                    f.write_str(&escape(&user.name, Part::UserPassword))?;
                    if let Some(password) = &user.password {
                        write!(f, ":{}", escape(password, Part::UserPassword))?;
                    }
                    f.write_str("@")?;
                }
                f.write_str(&escape(&self.host, Part::Host))?;
            }
            // Go also guards relative paths here; etcd accepts no URL without a scheme.
            f.write_str(&self.escaped_path())?;
        } else {
            f.write_str(&self.opaque)?;
        }
        if self.force_query || !self.query.is_empty() {
            write!(f, "?{}", self.query)?;
        }
        if !self.fragment.is_empty() {
            f.write_str("#")?;
            if !self.raw_fragment.is_empty() && valid_encoded(&self.raw_fragment, Part::Fragment) {
                f.write_str(&self.raw_fragment)?;
            } else {
                f.write_str(&escape(&self.fragment, Part::Fragment))?;
            }
        }
        Ok(())
    }
}

/// Splits off `scheme:`; no scheme is no error.
fn scheme(raw: &str) -> Result<(&str, &str), String> {
    for (at, byte) in raw.bytes().enumerate() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' => {}
            b'0'..=b'9' | b'+' | b'-' | b'.' if at > 0 => {}
            b':' if at == 0 => return Err("missing protocol scheme".to_owned()),
            b':' => return Ok(raw.split_once(':').unwrap_or(("", raw))),
            _ => break,
        }
    }
    Ok(("", raw))
}

fn valid_in_userinfo(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-._:~!$&'()*+,;=%@".contains(c)
}

fn parse_host(host: &str) -> Result<Vec<u8>, String> {
    match host.rfind('[') {
        Some(0) => return parse_literal(host),
        Some(_) => return Err("invalid IP-literal".to_owned()),
        None => {}
    }
    if let Some(colon) = host.rfind(':') {
        valid_optional_port(host.get(colon..).unwrap_or_default())?;
    }
    unescape(host, Part::Host)
}

/// An IPv6 address in brackets, perhaps with a zone and a port.
fn parse_literal(host: &str) -> Result<Vec<u8>, String> {
    let Some((literal, port)) = host.strip_prefix('[').and_then(|rest| rest.rsplit_once(']')) else {
        return Err("missing ']' in host".to_owned());
    };
    valid_optional_port(port)?;
    let (address, zone) = literal.split_at(literal.find("%25").unwrap_or(literal.len()));
    let mut decoded = unescape(address, Part::Host)?;
    let is_ip6 = std::str::from_utf8(&decoded).is_ok_and(|text| text.parse::<Ipv6Addr>().is_ok());
    let zone = unescape(zone, Part::Zone)?;
    decoded.extend_from_slice(&zone);
    if !is_ip6 || zone == b"%" {
        return Err("invalid IP-literal".to_owned());
    }
    Ok([b"[", &decoded[..], b"]", port.as_bytes()].concat())
}

fn valid_optional_port(port: &str) -> Result<(), String> {
    let digits = port.strip_prefix(':');
    if port.is_empty() || digits.is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_digit())) {
        return Ok(());
    }
    Err(format!("invalid port {} after host", quote(port)))
}

fn unescape(text: &str, part: Part) -> Result<Vec<u8>, String> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let after = rest.get(c.len_utf8()..).unwrap_or_default();
        if c != '%' {
            if matches!(part, Part::Host | Part::Zone) && u8::try_from(c).is_ok_and(|b| b < 0x80 && escapes(b, part)) {
                return Err(format!("invalid character {} in host name", quote(&c.to_string())));
            }
            out.extend_from_slice(c.to_string().as_bytes());
            rest = after;
            continue;
        }
        let refused = || format!("invalid URL escape {}", quote(&rest.chars().take(3).collect::<String>()));
        let digits = after.get(..2).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()).ok_or_else(refused)?;
        let allowed = match part {
            // A host may only escape bytes that are not ASCII, and the percent sign before a zone.
            Part::Host => byte >= 0x80 || byte == b'%',
            Part::Zone => byte == b'%' || byte == b' ' || !escapes(byte, Part::Host),
            _ => true,
        };
        if !allowed {
            return Err(refused());
        }
        out.push(byte);
        rest = after.get(2..).unwrap_or_default();
    }
    Ok(out)
}

fn escape(bytes: &[u8], part: Part) -> String {
    let mut out = String::with_capacity(bytes.len());
    for byte in bytes {
        if escapes(*byte, part) {
            let hex = format!("%{byte:02X}");
            out.push_str(&hex);
        } else {
            out.push(char::from(*byte));
        }
    }
    out
}

/// Go's `shouldEscape`.
fn escapes(byte: u8, part: Part) -> bool {
    let in_host = matches!(part, Part::Host | Part::Zone);
    match byte {
        b'a'..=b'z'
        | b'A'..=b'Z'
        | b'0'..=b'9'
        | b'-'
        | b'_'
        | b'.'
        | b'~'
        | b'$'
        | b'&'
        | b'+'
        | b','
        | b';'
        | b'=' => false,
        b'!' | b'(' | b')' | b'*' => !in_host && part != Part::Fragment,
        b'\'' | b'[' | b']' | b'<' | b'>' | b'"' => !in_host,
        b':' => part == Part::UserPassword,
        b'/' | b'@' => in_host || part == Part::UserPassword,
        b'?' => part != Part::Fragment,
        _ => true,
    }
}

/// Whether an escaped text needs no further escapes: what it has is kept as it was written.
fn valid_encoded(text: &str, part: Part) -> bool {
    text.bytes().all(|byte| b"!$&'()*+,;=:@[]%".contains(&byte) || !escapes(byte, part))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn round(raw: &str) -> String {
        Url::parse(raw).unwrap().to_string()
    }

    #[test]
    fn urls_come_back_as_go_writes_them() {
        let cases = [
            ("http://127.0.0.1:2380", "http://127.0.0.1:2380"),
            ("HTTP://Host.Example:2380", "http://Host.Example:2380"),
            ("https://[::1]:2380", "https://[::1]:2380"),
            ("https://[fe80::1%25eth0]:2380", "https://[fe80::1%25eth0]:2380"),
            ("http://u:p%40@h:1?a=1&b=<2>#f g", "http://u:p%40@h:1?a=1&b=<2>#f%20g"),
            ("http://h:1?", "http://h:1?"),
            ("http://h:1?a?", "http://h:1?a?"),
            ("http://h:1#", "http://h:1"),
            ("unix:///var/run/etcd.sock", "unix:///var/run/etcd.sock"),
            ("unix:/var/run/etcd.sock", "unix:/var/run/etcd.sock"),
            ("unix:etcd.sock", "unix:etcd.sock"),
            ("unix:///a b%2f[c]é", "unix:///a%20b/%5Bc%5D%C3%A9"),
            ("unix:///%2f[c]", "unix:///%2f[c]"),
            ("http://h%C3%A9:1", "http://h%C3%A9:1"),
            ("http://é:1", "http://%C3%A9:1"),
        ];
        for (raw, expected) in cases {
            assert_eq!(round(raw), expected, "{raw}");
        }
    }

    #[test]
    fn bad_urls_are_refused_in_the_words_of_go() {
        let cases = [
            ("127.0.0.1:2380", r#"parse "127.0.0.1:2380": first path segment in URL cannot contain colon"#),
            (":2380", r#"parse ":2380": missing protocol scheme"#),
            ("http://h:port", r#"parse "http://h:port": invalid port ":port" after host"#),
            ("http://h h:1", r#"parse "http://h h:1": invalid character " " in host name"#),
            ("http://h%zz:1", r#"parse "http://h%zz:1": invalid URL escape "%zz""#),
            ("http://h%41:1", r#"parse "http://h%41:1": invalid URL escape "%41""#),
            ("http://[::1:1", r#"parse "http://[::1:1": missing ']' in host"#),
            ("http://[::1]x:1", r#"parse "http://[::1]x:1": invalid port "x:1" after host"#),
            ("http://a[::1]:1", r#"parse "http://a[::1]:1": invalid IP-literal"#),
            ("http://[name]:1", r#"parse "http://[name]:1": invalid IP-literal"#),
            ("http://u{}@h:1", r#"parse "http://u{}@h:1": net/url: invalid userinfo"#),
            ("http://h\n:1", r#"parse "http://h\n:1": net/url: invalid control character in URL"#),
            ("http://h:1#%", r#"parse "http://h:1#%": invalid URL escape "%""#),
        ];
        for (raw, expected) in cases {
            assert_eq!(Url::parse(raw).unwrap_err(), expected, "{raw}");
        }
    }

    #[test]
    fn host_and_port_split_as_in_go() {
        let split = |raw: &str| {
            let url = Url::parse(raw).unwrap();
            url.host_port().map(|(host, port)| (host.to_vec(), port.to_vec()))
        };
        assert_eq!(split("http://h:1"), Some((b"h".to_vec(), b"1".to_vec())));
        assert_eq!(split("http://h:"), Some((b"h".to_vec(), Vec::new())));
        assert_eq!(split("http://:1"), Some((Vec::new(), b"1".to_vec())));
        assert_eq!(split("http://[::1]:1"), Some((b"::1".to_vec(), b"1".to_vec())));
        for none in ["http://h", "http://[::1]", "http://::1:2", "http://"] {
            assert_eq!(split(none), None, "{none}");
        }
    }

    proptest! {
        #[test]
        fn any_text_never_panics_and_settles_after_one_round(raw: String) {
            if let Ok(url) = Url::parse(&raw) && !url.scheme.is_empty() {
                let text = url.to_string();
                let again = Url::parse(&text);
                prop_assert!(again.is_ok(), "{raw:?} gave {text:?}: {again:?}");
                prop_assert_eq!(again.unwrap().to_string(), text);
            }
        }

        #[test]
        fn text_of_url_characters_never_panics(raw in "(http|unix):/{0,3}[a-z0-9:@/?#%\\[\\].]{0,20}") {
            if let Ok(url) = Url::parse(&raw) {
                let _ = (url.to_string(), url.host_port().is_some());
            }
        }
    }
}
