//! A source with its mutants in it, and where in the text each of them is.

use std::collections::BTreeSet;
use std::ops::Range;

use crate::mutate::Mutant;

/// A mutated file.
#[derive(Debug)]
pub struct Mutated {
    pub text: String,
    /// By number of the mutant, in bytes of `text`: all that stands between its first byte and its last.
    pub regions: Vec<(u32, Range<usize>)>,
}

pub fn render(source: &str, mutants: &[Mutant], without: &BTreeSet<u32>) -> Mutated {
    let mut edits: Vec<&Mutant> = mutants.iter().filter(|mutant| !without.contains(&mutant.id)).collect();
    // What holds another opens before it. Insertions have nothing in them: they go first.
    edits.sort_by_key(|edit| {
        let is_around = !edit.at.is_empty();
        (edit.at.start, is_around, std::cmp::Reverse(edit.at.end), edit.id)
    });
    let mut out = Mutated { text: String::with_capacity(source.len() * 3), regions: Vec::new() };
    let mut open: Vec<(&Mutant, usize)> = Vec::new();
    let mut done = 0;
    for edit in edits {
        out.close(source, &mut done, &mut open, edit.at.start);
        out.copy(source, &mut done, edit.at.start);
        open.push((edit, out.text.len()));
        out.text.push_str(&edit.before);
    }
    out.close(source, &mut done, &mut open, source.len());
    out.copy(source, &mut done, source.len());
    out
}

impl Mutated {
    fn copy(&mut self, source: &str, done: &mut usize, to: usize) {
        self.text.push_str(&source[*done..to]);
        *done = to;
    }

    /// Closes what ends before `at`.
    fn close(&mut self, source: &str, done: &mut usize, open: &mut Vec<(&Mutant, usize)>, at: usize) {
        while let Some((edit, start)) = open.pop_if(|(edit, _)| edit.at.end <= at) {
            self.copy(source, done, edit.at.end);
            self.text.push_str(&edit.after);
            self.regions.push((edit.id, start..self.text.len()));
        }
    }

    /// Whose fault an error at these bytes is: of the smallest mutant around it, or of all that are in it.
    pub fn blamed(&self, error: &Range<usize>) -> Vec<u32> {
        let holds = |region: &Range<usize>| region.start <= error.start && error.end <= region.end;
        let around = self.regions.iter().filter(|(_, region)| holds(region));
        if let Some((id, _)) = around.min_by_key(|(_, region)| region.len()) {
            return vec![*id];
        }
        let within = |region: &Range<usize>| error.start <= region.start && region.end <= error.end;
        self.regions.iter().filter(|(_, region)| within(region)).map(|(id, _)| *id).collect()
    }
}
