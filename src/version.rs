//! Versions of etcd servers, and which of them are known to lose data.

/// A server's version; what follows a `-` or `+` is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// The 3 of 3.5.30.
    pub major: u32,
    /// The 5 of 3.5.30.
    pub minor: u32,
    /// The 30 of 3.5.30.
    pub patch: u32,
}

impl Version {
    /// Parses `3.5.30`, and `3.5.30-custom` as the same; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.split(['-', '+']).next()?;
        let mut numbers = text.split('.').map(|number| number.parse::<u32>().ok());
        let version = Self { major: numbers.next()??, minor: numbers.next()??, patch: numbers.next()?? };
        numbers.next().is_none().then_some(version)
    }

    /// Whether it is 3.5.0, 3.5.1 or 3.5.2: these can lose writes or let members diverge when a server is killed under
    /// load, and upstream advises against them.
    pub fn loses_data(self) -> bool {
        self.major == 3 && self.minor == 5 && self.patch <= 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_that_lose_data_are_known_whoever_built_them() {
        for (text, loses) in [
            ("3.4.23", false),
            ("3.5.0", true),
            ("3.5.2", true),
            ("3.5.1-custom", true),
            ("3.5.3", false),
            ("3.6.0", false),
        ] {
            assert_eq!(loses, Version::parse(text).unwrap().loses_data(), "{text}");
        }
        for text in ["", "3.5", "3.5.1.2", "three"] {
            assert_eq!(None, Version::parse(text), "{text}");
        }
    }
}
