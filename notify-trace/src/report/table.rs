//! Columns under headings, as wide as what stands in them. Pure.

use std::io::{self, Write};

use crate::words;

/// A column.
#[derive(Clone, Debug)]
pub struct Column {
    /// What stands above it.
    pub heading: String,
    /// Numbers stand at the right.
    pub is_right: bool,
}

/// A table to be written.
#[derive(Clone, Debug, Default)]
pub struct Table {
    /// Its columns.
    pub columns: Vec<Column>,
    /// Its rows; as many cells as there are columns.
    pub rows: Vec<Vec<String>>,
}

impl Table {
    /// Adds a column.
    pub fn column(&mut self, heading: &str, is_right: bool) {
        self.columns.push(Column {
            heading: heading.to_owned(),
            is_right,
        });
    }

    /// Writes it. The first column gives way if the lines would be longer than that, to at least
    /// sixteen cells.
    ///
    /// # Errors
    /// If it can't be written.
    pub fn write(&self, out: &mut dyn Write, columns: Option<usize>) -> io::Result<()> {
        const LEAST: usize = 16;
        let mut widths: Vec<usize> = self
            .columns
            .iter()
            .enumerate()
            .map(|(at, column)| {
                let cells = self.rows.iter().map(|row| words::width(&row[at]));
                cells.max().unwrap_or(0).max(words::width(&column.heading))
            })
            .collect();
        let all: usize = widths.iter().sum::<usize>() + 2 * widths.len().saturating_sub(1);
        if let (Some(columns), Some(first)) = (columns, widths.first_mut()) {
            let over = all.saturating_sub(columns);
            *first = first.saturating_sub(over).max(LEAST.min(*first));
        }
        let headings: Vec<&str> = self.columns.iter().map(|it| &*it.heading).collect();
        self.line(out, &widths, &headings)?;
        for row in &self.rows {
            let cells: Vec<&str> = row.iter().map(|cell| &**cell).collect();
            self.line(out, &widths, &cells)?;
        }
        Ok(())
    }

    fn line(&self, out: &mut dyn Write, widths: &[usize], cells: &[&str]) -> io::Result<()> {
        let mut line = String::new();
        for (at, (cell, width)) in cells.iter().zip(widths).enumerate() {
            if at > 0 {
                line.push_str("  ");
            }
            let text = words::cut(cell, *width);
            let pad = " ".repeat(width.saturating_sub(words::width(&text)));
            if self.columns[at].is_right {
                line.push_str(&pad);
                line.push_str(&text);
            } else {
                line.push_str(&text);
                line.push_str(&pad);
            }
        }
        writeln!(out, "{}", line.trim_end())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(columns: Option<usize>) -> String {
        let mut table = Table::default();
        table.column("UNIT", false);
        table.column("N", true);
        table
            .rows
            .push(vec!["a.service".to_owned(), "7".to_owned()]);
        table.rows.push(vec![
            "a-very-long-name-of-a-unit.service".to_owned(),
            "1234".to_owned(),
        ]);
        let mut out = Vec::new();
        table.write(&mut out, columns).expect("a vector");
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn numbers_stand_at_the_right() {
        let text = text(None);
        let lines: Vec<&str> = text.lines().collect();
        assert!(
            lines[0].starts_with("UNIT ") && lines[0].ends_with("   N"),
            "{text}"
        );
        assert!(lines[1].ends_with("    7"), "{text}");
    }

    #[test]
    fn a_long_name_gives_way_to_the_numbers() {
        let text = text(Some(30));
        assert!(text.lines().all(|line| words::width(line) <= 30), "{text}");
        assert!(text.contains('…') && text.ends_with("1234\n"), "{text}");
    }
}
