//! Users by name, from `/etc/passwd` (passwd(5)). A static program can't ask what else
//! nsswitch.conf names, so users who are only there are known by number.

use std::path::{Path, PathBuf};

/// A line of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
struct User {
    name: String,
    uid: u32,
    home: PathBuf,
}

/// All users of the file.
#[derive(Clone, Debug, Default)]
pub struct Users(Vec<User>);

impl Users {
    /// Those of the host whose files are below `root`; none if the file can't be read.
    #[must_use]
    pub fn of(root: &Path) -> Self {
        let text = std::fs::read(root.join("etc/passwd")).unwrap_or_default();
        Self::parse(&String::from_utf8_lossy(&text))
    }

    fn parse(text: &str) -> Self {
        let users = text.lines().filter_map(|line| {
            let fields: Vec<&str> = line.split(':').collect();
            let [name, _, uid, _, _, home, ..] = fields[..] else {
                return None;
            };
            Some(User {
                name: name.to_owned(),
                uid: uid.parse().ok()?,
                home: PathBuf::from(home),
            })
        });
        Self(users.collect())
    }

    /// A user's number.
    #[must_use]
    pub fn uid(&self, name: &str) -> Option<u32> {
        self.0
            .iter()
            .find(|user| user.name == name)
            .map(|user| user.uid)
    }

    /// A user's home.
    #[must_use]
    pub fn home(&self, uid: u32) -> Option<&Path> {
        self.0
            .iter()
            .find(|user| user.uid == uid)
            .map(|user| &*user.home)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_found_by_name_and_by_number() {
        let users = Users::parse(
            "root:x:0:0:root:/root:/bin/bash\n# a comment\nalice:x:1000:1000:A,,,:/home/alice:/bin/sh\n\
             broken:x:many:0::/:\n",
        );
        assert_eq!(users.uid("alice"), Some(1000));
        assert_eq!(users.home(1000), Some(Path::new("/home/alice")));
        assert_eq!(users.uid("broken"), None);
        assert_eq!(users.home(7), None);
    }
}
