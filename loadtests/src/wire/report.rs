//! What is printed of a run, and the table of the documentation.

use std::fmt::Write as _;

use super::table::Class;
use super::{Verdict, count};
use crate::report::{Table, say};

/// One proxy.
#[derive(Debug)]
pub(crate) struct Column {
    pub(crate) name: &'static str,
    pub(crate) is_ours: bool,
    pub(crate) verdicts: Vec<Verdict>,
}

impl Column {
    pub(crate) fn of(&self, id: &str) -> Option<&Verdict> {
        self.verdicts.iter().find(|verdict| verdict.id == id)
    }
}

/// True when exactly those vectors fail that say so.
pub(crate) fn is_as_said(classes: &[Class], column: &Column) -> bool {
    classes.iter().flat_map(|class| &class.vectors).all(|vector| {
        column.of(&vector.id).is_some_and(|verdict| verdict.wrong.is_some() == vector.unmet.is_some())
    })
}

/// Sums, and whatever of ours is not as the table says.
pub(crate) fn print(classes: &[Class], columns: &[Column]) {
    for vector in classes.iter().flat_map(|class| &class.vectors) {
        for column in columns.iter().filter(|column| column.is_ours || columns.len() == 1) {
            let Some(verdict) = column.of(&vector.id) else { continue };
            match (&verdict.wrong, column.is_ours.then_some(&vector.unmet)) {
                (Some(_), Some(Some(_))) | (None, None | Some(None)) => {}
                (Some(wrong), _) => {
                    say(format_args!("FAILED {} ({}): {}: {wrong}", vector.id, vector.cites, verdict.brief));
                }
                (None, Some(Some(_))) => say(format_args!("FAILED {}: passes, but says `unmet`", vector.id)),
            }
        }
    }
    let mut headings = vec!["class", "vectors"];
    headings.extend(columns.iter().map(|column| column.name));
    let mut table = Table::new(&headings);
    for class in classes {
        let mut row = vec![class.name.clone(), class.vectors.len().to_string()];
        row.extend(columns.iter().map(|column| count(class, column).to_string()));
        table.row(row);
    }
    say(table.aligned());
}

/// One row a vector.
pub(crate) fn markdown(classes: &[Class], columns: &[Column]) -> String {
    let mut out = String::new();
    for class in classes {
        let mut headings = vec!["vector", "cites"];
        headings.extend(columns.iter().map(|column| column.name));
        let mut table = Table::new(&headings);
        for vector in &class.vectors {
            let mut row = vec![format!("`{}`", vector.id), vector.cites.replace('|', "\\|")];
            row.extend(columns.iter().map(|column| match column.of(&vector.id) {
                Some(verdict) if verdict.wrong.is_none() => format!("✔ {}", verdict.brief),
                Some(verdict) => format!("✘ {}", verdict.brief),
                None => "–".to_owned(),
            }));
            table.row(row);
        }
        let sums: Vec<String> =
            columns.iter().map(|column| format!("{} {}", column.name, count(class, column))).collect();
        let _ = write!(
            out,
            "### {}: {} vectors; {}\n\n{}\n",
            class.name,
            class.vectors.len(),
            sums.join(", "),
            table.markdown()
        );
    }
    out
}
