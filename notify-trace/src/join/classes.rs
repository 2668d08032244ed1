//! The classes of addresses: what the rules say of one is kept, for most datagrams go to an address that
//! others went to.

use std::sync::Arc;

use bytes::Bytes;

use crate::names::Recent;
use crate::select::Rules;

/// So many addresses are remembered.
const KEPT: usize = 1_024;

/// What the rules said of addresses. Always of the same rules: they are those that were attached with.
#[derive(Debug)]
pub(super) struct Classes(Recent<Bytes, Option<Arc<str>>>);

impl Classes {
    pub(super) fn new() -> Self {
        Self(Recent::new(KEPT))
    }

    /// The class by names, else by the first rule of inode numbers among those that the kernel side told;
    /// `None` if no rule selects it.
    pub(super) fn of(
        &mut self,
        rules: &Rules,
        destination: Option<&[u8]>,
        receiver: Option<&[u8]>,
        told: impl IntoIterator<Item = Option<u32>>,
    ) -> Option<Arc<str>> {
        self.by_names(rules, destination, receiver).or_else(|| {
            let mut told = told.into_iter().flatten();
            told.find_map(|rule| rules.class_of_inode(rule)).cloned()
        })
    }

    /// The class by the name of the receiver first, by how the sender spells it second.
    fn by_names(
        &mut self,
        rules: &Rules,
        destination: Option<&[u8]>,
        receiver: Option<&[u8]>,
    ) -> Option<Arc<str>> {
        let mut class = |address: &[u8]| {
            if let Some(known) = self.0.get(address) {
                return known.clone();
            }
            let class = rules.class_of_name(address).cloned();
            self.0
                .insert(Bytes::copy_from_slice(address), class.clone());
            class
        };
        receiver
            .and_then(&mut class)
            .or_else(|| destination.and_then(class))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_what_the_rules_say() {
        let rules = Rules::new(&[], &[], false).unwrap();
        let mut classes = Classes::new();
        for _ in 0..2 {
            let mut class = |destination: Option<&[u8]>, receiver: Option<&[u8]>| {
                classes.by_names(&rules, destination, receiver)
            };
            let systemd: Option<&[u8]> = Some(b"/run/systemd/notify");
            let nspawn: Option<&[u8]> = Some(b"/run/host/notify");
            assert_eq!(class(nspawn, systemd).as_deref(), Some("systemd"));
            assert_eq!(class(nspawn, Some(b"/odd")).as_deref(), Some("nspawn"));
            assert_eq!(class(nspawn, None).as_deref(), Some("nspawn"));
            assert_eq!(class(None, None), None);
            assert_eq!(class(Some(b"/odd"), Some(b"")), None);
        }
    }
}
