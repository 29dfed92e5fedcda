//! What is printed and written.

use std::fmt::{Display, Write as _};
use std::io::{self, Write as _};

/// Prints a result.
pub(crate) fn say(text: impl Display) {
    let _ = writeln!(io::stdout(), "{text}"); // a closed pipe is the reader's choice
}

/// Prints progress, and what went wrong, apart from the results.
pub(crate) fn complain(text: impl Display) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// Rows under headings; the first column is text, the others are figures.
#[derive(Debug)]
pub(crate) struct Table {
    headings: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(headings: &[&str]) -> Self {
        Self { headings: headings.iter().map(|h| (*h).to_owned()).collect(), rows: Vec::new() }
    }

    pub(crate) fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// For a terminal.
    pub(crate) fn aligned(&self) -> String {
        let lines = || std::iter::once(&self.headings).chain(&self.rows);
        let width = |i: usize| lines().filter_map(|l| l.get(i)).map(|c| c.chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..self.headings.len()).map(width).collect();
        let mut out = String::new();
        for line in lines() {
            for (i, (cell, width)) in line.iter().zip(&widths).enumerate() {
                let _ =
                    if i == 0 { write!(out, "  {cell:<width$}") } else { write!(out, "  {cell:>width$}") };
            }
            out.push('\n');
        }
        out
    }

    /// For a Markdown file.
    pub(crate) fn markdown(&self) -> String {
        let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
        let rule = self.headings.iter().enumerate().map(|(i, _)| if i == 0 { "---|" } else { "---:|" });
        let mut out = line(&self.headings) + "|" + &rule.collect::<String>() + "\n";
        self.rows.iter().for_each(|row| out.push_str(&line(row)));
        out
    }
}

/// A figure with as many digits as it deserves; `–` when there is none.
pub(crate) fn figure(value: Option<f64>) -> String {
    match value {
        None => "–".to_owned(),
        Some(v) if v.abs() >= 100.0 => format!("{v:.0}"),
        Some(v) if v.abs() >= 10.0 => format!("{v:.1}"),
        Some(v) => format!("{v:.2}"),
    }
}

/// The middle value; the mean of the two middle ones when their number is even.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.into_iter().filter(|v| v.is_finite()).collect();
    values.sort_by(f64::total_cmp);
    let upper = *values.get(values.len() / 2)?;
    if values.len() % 2 == 1 {
        return Some(upper);
    }
    values.get(values.len() / 2 - 1).map(|lower| f64::midpoint(*lower, upper))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_figures_keep_three_digits() {
        let mut table = Table::new(&["who", "µs"]);
        table.row(vec!["nginx".to_owned(), figure(Some(16.04))]);
        table.row(vec!["–".to_owned(), figure(Some(332.4))]);
        assert_eq!(table.aligned(), "  who      µs\n  nginx  16.0\n  –       332\n");
        assert_eq!(table.markdown(), "| who | µs |\n|---|---:|\n| nginx | 16.0 |\n| – | 332 |\n");
    }

    #[test]
    fn the_median_ignores_what_is_not_a_number() {
        assert_eq!(median([3.0, f64::NAN, 1.0, 2.0]), Some(2.0));
        assert_eq!(median([1.0, 2.0]), Some(1.5));
        assert_eq!(median([]), None);
    }
}
