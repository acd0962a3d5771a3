//! Text as Go writes it: `encoding/json` strings and `%q` quotes.

use std::fmt::Write as _;

/// Appends `text` as Go's `encoding/json` writes a string, quotes included: besides what JSON demands, `&`, `<`,
/// `>`, U+2028 and U+2029 are escaped. Backspace and form feed are `\u0008` and `\u000c`, as in the Go releases
/// that etcd 3.4 and 3.5 were built with (later ones shorten them).
pub(super) fn push_json(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\0'..='\u{1f}' | '&' | '<' | '>' | '\u{2028}' | '\u{2029}' => {
                // Writing to a String cannot fail.
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            _ => out.push(c),
        }
    }
    out.push('"');
}

/// [`push_json`] for a list of strings.
pub(super) fn push_json_list(out: &mut String, texts: &[String]) {
    out.push('[');
    for (position, text) in texts.iter().enumerate() {
        if position > 0 {
            out.push(',');
        }
        push_json(out, text);
    }
    out.push(']');
}

/// `text` as Go's `%q` prints it. What is printable is decided more simply than by Go's Unicode tables: control
/// characters and blanks other than the space are escaped.
pub(super) fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        let _ = match c {
            '"' | '\\' => write!(out, "\\{c}"),
            '\u{07}' => write!(out, "\\a"),
            '\u{08}' => write!(out, "\\b"),
            '\u{0c}' => write!(out, "\\f"),
            '\n' => write!(out, "\\n"),
            '\r' => write!(out, "\\r"),
            '\t' => write!(out, "\\t"),
            '\u{0b}' => write!(out, "\\v"),
            '\0'..='\u{1f}' | '\u{7f}' => write!(out, "\\x{:02x}", u32::from(c)),
            ' ' => write!(out, " "),
            _ if c.is_control() || c.is_whitespace() => write!(out, "\\u{:04x}", u32::from(c)),
            _ => write!(out, "{c}"),
        };
    }
    out.push('"');
    out
}

/// A list of strings as Go's `%q` prints it: `["a" "b"]`.
pub(super) fn quote_list(texts: &[String]) -> String {
    let quoted: Vec<String> = texts.iter().map(|text| quote(text)).collect();
    format!("[{}]", quoted.join(" "))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn json(text: &str) -> String {
        let mut out = String::new();
        push_json(&mut out, text);
        out
    }

    #[test]
    fn json_escapes_what_go_escapes() {
        assert_eq!(json("a&b<c>\"\\\u{2028}\u{2029}"), r#""a\u0026b\u003cc\u003e\"\\\u2028\u2029""#);
        assert_eq!(json("\n\r\t\u{8}\u{c}\u{1}\u{7f}é/"), "\"\\n\\r\\t\\u0008\\u000c\\u0001\u{7f}é/\"");
    }

    #[test]
    fn quotes_are_those_of_go() {
        assert_eq!(quote("m\"1\\\n\u{1}\u{7f}\u{a0}é"), "\"m\\\"1\\\\\\n\\x01\\x7f\\u00a0é\"");
        assert_eq!(quote_list(&["a".to_owned(), "b".to_owned()]), r#"["a" "b"]"#);
    }

    proptest! {
        #[test]
        fn json_strings_read_back(text: String) {
            let back: String = serde_json::from_str(&json(&text)).unwrap();
            prop_assert_eq!(back, text);
        }
    }
}
