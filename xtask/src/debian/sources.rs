//! Apt's own source lists, read only to learn which Debian mirror this system uses.
//!
//! Both formats: deb822 (`*.sources`) and one line per entry (`*.list`).

/// One source of packages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// Addresses that hold the same packages.
    pub uris: Vec<String>,
    /// Suites or code names to take from them.
    pub suites: Vec<String>,
    /// File of the keys that sign them, where one is named.
    pub signed_by: Option<String>,
}

/// Where a Debian system takes its packages from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirror {
    /// Base address of the main archive.
    pub base: String,
    /// Base address of the security archive, when the system uses it.
    pub security: Option<String>,
    /// File of the keys that sign the archive, when the sources name one.
    pub keyring: Option<String>,
}

/// Reads a deb822 file: stanzas of `Field: value`, continued by indented lines.
pub fn parse_deb822(text: &str) -> Vec<Entry> {
    let mut entries = Vec::new();
    let lines = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .collect::<Vec<_>>();
    for stanza in lines.split(|line| line.trim().is_empty()) {
        let mut fields: Vec<(String, String)> = Vec::new();
        for line in stanza {
            match (
                line.starts_with([' ', '\t']),
                line.split_once(':'),
                fields.last_mut(),
            ) {
                (true, _, Some((_, value))) => {
                    value.push(' ');
                    value.push_str(line.trim());
                }
                (false, Some((name, value)), _) => {
                    fields.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
                }
                _ => {}
            }
        }
        let words = |name: &str| -> Vec<String> {
            let value = fields
                .iter()
                .find(|(field, _)| field == name)
                .map(|(_, value)| value);
            value
                .into_iter()
                .flat_map(|value| value.split_whitespace())
                .map(str::to_owned)
                .collect()
        };
        let is_off = words("enabled")
            .first()
            .is_some_and(|word| word.eq_ignore_ascii_case("no"));
        if is_off || !words("types").iter().any(|kind| kind == "deb") {
            continue;
        }
        entries.push(Entry {
            uris: words("uris"),
            suites: words("suites"),
            signed_by: words("signed-by")
                .into_iter()
                .find(|word| word.starts_with('/')),
        });
    }
    entries
}

/// Reads a list of lines `deb [options] address suite component...`.
pub fn parse_lines(text: &str) -> Vec<Entry> {
    text.lines().filter_map(parse_line).collect()
}

fn parse_line(line: &str) -> Option<Entry> {
    let line = line.split('#').next()?.trim();
    let mut rest = line
        .strip_prefix("deb")
        .filter(|rest| rest.starts_with([' ', '\t', '[']))?
        .trim();
    let mut signed_by = None;
    if let Some(bracket) = rest.strip_prefix('[') {
        let (options, after) = bracket.split_once(']')?;
        signed_by = options
            .split_whitespace()
            .filter_map(|option| option.strip_prefix("signed-by="))
            .filter_map(|files| files.split(',').find(|file| file.starts_with('/')))
            .map(str::to_owned)
            .next();
        rest = after.trim();
    }
    let mut words = rest.split_whitespace();
    let uri = words.next()?.to_owned();
    let suite = words.next()?.to_owned();
    Some(Entry {
        uris: vec![uri],
        suites: vec![suite],
        signed_by,
    })
}

/// Picks Debian's own mirror for `codename` from all entries of a system.
///
/// Other vendors name their suites after Debian's code names too; what tells Debian apart is an
/// address that ends in `/debian`, and updates of the suite under the same address.
pub fn mirror(entries: &[Entry], codename: &str) -> Option<Mirror> {
    let names = [codename, "stable", "testing", "unstable", "sid"];
    let updates = names.map(|name| format!("{name}-updates"));
    let security = names.map(|name| format!("{name}-security"));
    let has = |entry: &Entry, suites: &[String]| entry.suites.iter().any(|s| suites.contains(s));

    let mut best: Option<(u8, String, &Entry)> = None;
    for entry in entries {
        for uri in entry.uris.iter().map(|uri| uri.trim_end_matches('/')) {
            if !entry
                .suites
                .iter()
                .any(|suite| names.contains(&suite.as_str()))
            {
                continue;
            }
            let updated = entries.iter().any(|other| {
                let same = other
                    .uris
                    .iter()
                    .any(|other| other.trim_end_matches('/') == uri);
                same && has(other, &updates)
            });
            let score = u8::from(updated) + 2 * u8::from(uri.ends_with("/debian"));
            if best.as_ref().is_none_or(|(top, ..)| score > *top) {
                best = Some((score, uri.to_owned(), entry));
            }
        }
    }
    let (score, base, entry) = best?;
    if score == 0 {
        return None;
    }
    Some(Mirror {
        base,
        security: entries
            .iter()
            .find(|entry| has(entry, &security))
            .and_then(|entry| entry.uris.first())
            .map(|uri| uri.trim_end_matches('/').to_owned()),
        keyring: entry.signed_by.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEB822: &str = "\
Types: deb
# a comment
URIs: https://mirror.test/debian/
Suites: bookworm
 bookworm-updates
Components: main
Signed-By: /keys/debian.gpg

Types: deb deb-src
URIs: https://mirror.test/debian-security
Suites: bookworm-security

Types: deb
Enabled: no
URIs: https://off.test/debian
Suites: bookworm
";

    #[test]
    fn deb822_sources_name_mirror_security_and_keyring() {
        let found = mirror(&parse_deb822(DEB822), "bookworm").unwrap();
        assert_eq!(found.base, "https://mirror.test/debian");
        assert_eq!(
            found.security.as_deref(),
            Some("https://mirror.test/debian-security")
        );
        assert_eq!(found.keyring.as_deref(), Some("/keys/debian.gpg"));
    }

    #[test]
    fn one_line_sources_say_the_same() {
        let text = "\
# deb https://commented.test/debian trixie main
deb-src https://mirror.test/debian trixie main
deb [arch=amd64 signed-by=/keys/a.gpg] https://mirror.test/debian trixie main # why
deb https://mirror.test/debian-security trixie-security main
";
        let found = mirror(&parse_lines(text), "trixie").unwrap();
        assert_eq!(found.base, "https://mirror.test/debian");
        assert_eq!(
            found.security.as_deref(),
            Some("https://mirror.test/debian-security")
        );
        assert_eq!(found.keyring.as_deref(), Some("/keys/a.gpg"));
    }

    #[test]
    fn a_vendor_that_reuses_the_code_name_is_not_debian() {
        let vendor = "deb https://vendor.test/apt bookworm main\n";
        assert_eq!(mirror(&parse_lines(vendor), "bookworm"), None);

        let docker = "deb https://vendor.test/linux/debian bookworm stable\n";
        let entries = [parse_lines(docker), parse_deb822(DEB822)].concat();
        assert_eq!(
            mirror(&entries, "bookworm").unwrap().base,
            "https://mirror.test/debian"
        );
    }
}
