//! The part of `docs/performance.md` that the bench writes: what stands between two marks.

use anyhow::{Context as _, Result};

/// A part of the page.
#[derive(Clone, Copy, Debug)]
pub struct Marks {
    /// The line before what is written.
    begin: &'static str,
    /// The line after it.
    end: &'static str,
}

/// What the agent costs.
pub const AGENT: Marks = Marks {
    begin: "<!-- begin: written by `cargo xtask bench --write` -->\n",
    end: "<!-- end -->\n",
};

/// The same on real CPUs.
pub const REAL: Marks = Marks {
    begin: "<!-- begin: written by `cargo xtask bench --write` where guests are not emulated -->\n",
    end: "<!-- end of real CPUs -->\n",
};

/// What recordings cost.
pub const RECORDINGS: Marks = Marks {
    begin: "<!-- begin: written by `cargo xtask bench --recordings --write` -->\n",
    end: "<!-- end of recordings -->\n",
};

/// The page with its old figures replaced.
///
/// # Errors
/// If the page lacks the marks.
pub fn replace(page: &str, marks: &Marks, figures: &str) -> Result<String> {
    let Marks { begin, end } = marks;
    let missing = |mark: &str| format!("the line {} is missing", mark.trim());
    let (before, rest) = page.split_once(begin).with_context(|| missing(begin))?;
    let (_, after) = rest.split_once(end).with_context(|| missing(end))?;
    Ok(format!(
        "{before}{begin}\n```\n{}\n```\n\n{end}{after}",
        figures.trim_end()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_stands_between_the_marks_is_replaced() {
        let Marks { begin, end } = AGENT;
        let page = format!("# A\n{begin}old\n{end}rest\n");
        let once = replace(&page, &AGENT, "new\n").unwrap();
        assert_eq!(once, format!("# A\n{begin}\n```\nnew\n```\n\n{end}rest\n"));
        assert_eq!(replace(&once, &AGENT, "new\n").unwrap(), once);
    }

    #[test]
    fn a_page_without_marks_is_left_alone() {
        assert!(replace("# A\n", &AGENT, "new").is_err());
        assert!(replace(AGENT.begin, &AGENT, "new").is_err());
    }

    #[test]
    fn the_page_in_the_repository_has_the_marks() {
        let page = include_str!("../../../docs/performance.md");
        assert!(replace(page, &AGENT, "x").is_ok());
        assert!(replace(page, &REAL, "x").is_ok());
        assert!(replace(page, &RECORDINGS, "x").is_ok());
    }
}
