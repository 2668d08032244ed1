//! The part of `docs/performance.md` that the bench writes: what stands between two marks.

use anyhow::{Context as _, Result};

/// The line before what is written.
const BEGIN: &str = "<!-- begin: written by `cargo xtask bench --write` -->\n";
/// The line after it.
const END: &str = "<!-- end -->\n";

/// The page with its old figures replaced.
///
/// # Errors
/// If the page lacks the marks.
pub fn replace(page: &str, figures: &str) -> Result<String> {
    let missing = |mark: &str| format!("the line {} is missing", mark.trim());
    let (before, rest) = page.split_once(BEGIN).with_context(|| missing(BEGIN))?;
    let (_, after) = rest.split_once(END).with_context(|| missing(END))?;
    Ok(format!(
        "{before}{BEGIN}\n```\n{}\n```\n\n{END}{after}",
        figures.trim_end()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_stands_between_the_marks_is_replaced() {
        let page = format!("# A\n{BEGIN}old\n{END}rest\n");
        let once = replace(&page, "new\n").unwrap();
        assert_eq!(once, format!("# A\n{BEGIN}\n```\nnew\n```\n\n{END}rest\n"));
        assert_eq!(replace(&once, "new\n").unwrap(), once);
    }

    #[test]
    fn a_page_without_marks_is_left_alone() {
        assert!(replace("# A\n", "new").is_err());
        assert!(replace(BEGIN, "new").is_err());
    }

    #[test]
    fn the_page_in_the_repository_has_the_marks() {
        assert!(replace(include_str!("../../../docs/performance.md"), "x").is_ok());
    }
}
