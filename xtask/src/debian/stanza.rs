//! Package descriptions as apt prints them, and the order of Debian versions.

use std::cmp::Ordering;

/// What is needed of one package's description.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stanza {
    /// Name of the package.
    pub package: String,
    /// Its Debian version.
    pub version: String,
    /// Names of the packages it depends on, versions left out.
    pub depends: Vec<String>,
    /// Digest of the package file, as hexadecimal digits.
    pub sha256: String,
}

impl Stanza {
    /// Reads the output of `apt-cache show`.
    pub fn parse_all(text: &str) -> Vec<Self> {
        let mut all = Vec::new();
        for block in text.split("\n\n") {
            let field = |name: &str| {
                let value = block.lines().filter_map(|line| line.split_once(": "));
                value
                    .filter(|(field, _)| *field == name)
                    .map(|(_, value)| value.trim())
                    .next()
            };
            let (Some(package), Some(version)) = (field("Package"), field("Version")) else {
                continue;
            };
            let depends = field("Depends").unwrap_or_default().split([',', '|']);
            all.push(Self {
                package: package.to_owned(),
                version: version.to_owned(),
                depends: depends
                    .filter_map(|dependency| dependency.split_whitespace().next())
                    .map(str::to_owned)
                    .collect(),
                sha256: field("SHA256").unwrap_or_default().to_owned(),
            });
        }
        all
    }
}

/// Debian's order of versions (deb-version(7)): `~` sorts before the end, letters before the rest.
pub fn compare_versions(a: &str, b: &str) -> Ordering {
    let (epoch_a, a) = epoch(a);
    let (epoch_b, b) = epoch(b);
    let (upstream_a, revision_a) = a.rsplit_once('-').unwrap_or((a, ""));
    let (upstream_b, revision_b) = b.rsplit_once('-').unwrap_or((b, ""));
    epoch_a
        .cmp(&epoch_b)
        .then_with(|| compare_part(upstream_a, upstream_b))
        .then_with(|| compare_part(revision_a, revision_b))
}

fn epoch(version: &str) -> (u32, &str) {
    match version.split_once(':') {
        Some((epoch, rest)) => (epoch.parse().unwrap_or(0), rest),
        None => (0, version),
    }
}

fn compare_part(mut a: &str, mut b: &str) -> Ordering {
    while !a.is_empty() || !b.is_empty() {
        let (text_a, rest_a) = a.split_at(a.find(|c: char| c.is_ascii_digit()).unwrap_or(a.len()));
        let (text_b, rest_b) = b.split_at(b.find(|c: char| c.is_ascii_digit()).unwrap_or(b.len()));
        let width = text_a.len().max(text_b.len());
        let weights = |text: &str| -> Vec<u32> {
            (0..width)
                .map(|index| weight(text.as_bytes().get(index).copied()))
                .collect()
        };
        let order = weights(text_a).cmp(&weights(text_b));
        if order != Ordering::Equal {
            return order;
        }
        let (number_a, tail_a) = number(rest_a);
        let (number_b, tail_b) = number(rest_b);
        if number_a != number_b {
            return number_a.cmp(&number_b);
        }
        (a, b) = (tail_a, tail_b);
    }
    Ordering::Equal
}

fn number(text: &str) -> (u64, &str) {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    (digits.parse().unwrap_or(0), rest)
}

fn weight(byte: Option<u8>) -> u32 {
    match byte {
        Some(b'~') => 0,
        None => 1,
        Some(letter) if letter.is_ascii_alphabetic() => 2 + u32::from(letter),
        Some(other) => 0x200 + u32::from(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_sort_as_dpkg_sorts_them() {
        let ascending = [
            "5.10.223-1",
            "5.10.262-1",
            "6.12.9-1",
            "6.12.117-1",
            "7.2.13-1",
            "7.3~rc7-1~exp1",
            "7.3.4-1~bpo13+1",
            "7.3.4-1",
            "7.3.4+1-1",
            "1:1.0-1",
        ];
        for pair in ascending.windows(2) {
            assert_eq!(
                compare_versions(pair[0], pair[1]),
                Ordering::Less,
                "{pair:?}"
            );
            assert_eq!(
                compare_versions(pair[1], pair[0]),
                Ordering::Greater,
                "{pair:?}"
            );
        }
        assert_eq!(compare_versions("1.0-1", "1.0-1"), Ordering::Equal);
    }

    #[test]
    fn a_description_gives_name_version_digest_and_bare_dependencies() {
        let text = "\
Package: linux-image-7.3.4-cloud-amd64
Version: 7.3.4-1
Depends: dracut | initramfs-tools (>= 0.1), linux-binary-7.3.4-cloud-amd64 (= 7.3.4-1)
SHA256: 00ff

Package: broken
";
        let all = Stanza::parse_all(text);
        assert_eq!(all.len(), 1);
        assert_eq!(all[0].version, "7.3.4-1");
        assert_eq!(all[0].sha256, "00ff");
        assert_eq!(
            all[0].depends,
            [
                "dracut",
                "initramfs-tools",
                "linux-binary-7.3.4-cloud-amd64"
            ]
        );
    }
}
