//! What is said of messages, each said once: two thousand messages of one process refer to one text.

use std::collections::HashMap;

use super::model::Fact;

/// All facts so far.
#[derive(Debug, Default)]
pub(super) struct Facts {
    all: Vec<Fact>,
    positions: HashMap<Fact, usize>,
}

impl Facts {
    /// Where these stand. A name that is indented, or empty, belongs to the one before.
    pub(super) fn add(&mut self, facts: Vec<(&str, Vec<String>)>) -> Vec<usize> {
        let mut found: Vec<Fact> = Vec::new();
        for (name, lines) in facts {
            let text = lines.join("\n");
            match found.last_mut() {
                Some(last) if name.is_empty() || name.starts_with(' ') => {
                    last.more.push((name.trim().to_owned(), text));
                }
                _ => found.push(Fact {
                    name: name.to_owned(),
                    text,
                    more: Vec::new(),
                }),
            }
        }
        found.into_iter().map(|fact| self.position(fact)).collect()
    }

    /// Where one stands.
    pub(super) fn position(&mut self, fact: Fact) -> usize {
        if let Some(position) = self.positions.get(&fact) {
            return *position;
        }
        let position = self.all.len();
        self.all.push(fact.clone());
        self.positions.insert(fact, position);
        position
    }

    /// Newer facts in place of those of the same names.
    pub(super) fn replace(&self, old: &mut Vec<usize>, new: Vec<usize>) {
        for position in new {
            let name = &self.all[position].name;
            match old.iter_mut().find(|it| self.all[**it].name == *name) {
                Some(place) => *place = position,
                None => old.push(position),
            }
        }
    }

    /// All of them.
    pub(super) fn into_vec(self) -> Vec<Fact> {
        self.all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(name: &'static str, text: &str) -> (&'static str, Vec<String>) {
        (name, vec![text.to_owned()])
    }

    #[test]
    fn what_is_said_of_two_stands_once() {
        let mut facts = Facts::default();
        let first = facts.add(vec![
            one("sender", "app[1]"),
            one("  unit", "a"),
            one("fds", "0"),
        ]);
        let second = facts.add(vec![
            one("sender", "app[1]"),
            one("  unit", "a"),
            one("fds", "1"),
        ]);
        assert_eq!((first, second), (vec![0, 1], vec![0, 2]));
        let all = facts.into_vec();
        assert_eq!(all.len(), 3);
        assert_eq!(all[0].more, [("unit".to_owned(), "a".to_owned())]);
    }

    #[test]
    fn a_later_fact_takes_the_place_of_the_earlier() {
        let mut facts = Facts::default();
        let mut old = facts.add(vec![one("delivery", "pending"), one("fds", "0")]);
        let new = facts.add(vec![one("delivery", "delivered"), one("read by", "init")]);
        facts.replace(&mut old, new);
        let names: Vec<&str> = old.iter().map(|it| &*facts.all[*it].text).collect();
        assert_eq!(names, ["delivered", "0", "init"]);
    }
}
