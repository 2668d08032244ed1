//! Small pages for as long as a kernel's types are read and gone through: megabytes that are given back soon.
//!
//! A huge page (`Documentation/admin-guide/mm/transhuge.rst`) is zeroed as a whole, however little of it is used. A
//! kernel that zeroes all that it hands out (`CONFIG_INIT_ON_ALLOC_DEFAULT_ON`, as distributions have it) may do it
//! twice: Linux 6.12 does (`do_huge_pmd_anonymous_page`).

use rustix::thread::{disable_transparent_huge_pages, transparent_huge_pages_are_disabled};

/// The process gets no huge pages until this is dropped; whoever it starts meanwhile never gets any
/// (`PR_SET_THP_DISABLE`, prctl(2)).
pub(super) struct SmallPages(());

impl SmallPages {
    /// `None`: somebody else has already said that there are to be none, or the kernel refuses.
    pub(super) fn begin() -> Option<Self> {
        let are_huge_pages_allowed = !transparent_huge_pages_are_disabled().ok()?;
        (are_huge_pages_allowed && disable_transparent_huge_pages(true).is_ok()).then_some(Self(()))
    }
}

impl Drop for SmallPages {
    fn drop(&mut self) {
        // Refused, it only costs the time that huge pages save.
        let _ = disable_transparent_huge_pages(false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn huge_pages_are_allowed_again() {
        let before = transparent_huge_pages_are_disabled();
        let small = SmallPages::begin();
        assert!(small.is_none() || transparent_huge_pages_are_disabled() == Ok(true));
        // Whoever finds them disallowed does not allow them.
        assert!(SmallPages::begin().is_none());
        drop(small);
        assert_eq!(transparent_huge_pages_are_disabled(), before);
    }
}
