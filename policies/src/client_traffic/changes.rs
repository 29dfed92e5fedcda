//! Changes of fields before anything is matched and after everything else, compiled.

use super::{FieldChanges, HeaderValue};
use crate::edits::{Edits, HeaderField, Lists, Side};
use crate::{Invalid, Request, Response};

/// Most fields of a list.
const MOST: usize = 64;

/// Compiled [`FieldChanges`]. They touch neither Host, what frames a message, nor what
/// belongs to one connection.
#[derive(Debug, Default)]
pub struct HeaderChanges(Edits);

impl HeaderChanges {
    /// # Errors
    /// Field, reason and remedy, below the place of the changes.
    pub fn compile(spec: &FieldChanges) -> Result<Self, Invalid> {
        let [set, add, add_if_absent] =
            [&spec.set, &spec.add, &spec.add_if_absent].map(|l| fields(l.as_deref()));
        let remove = spec.remove.as_deref().unwrap_or_default();
        for (name, length) in [
            ("set", set.len()),
            ("add", add.len()),
            ("addIfAbsent", add_if_absent.len()),
            ("remove", remove.len()),
        ] {
            if length > MOST {
                return Err(Invalid::field(name, format!("has {length} fields; at most {MOST} are taken")));
            }
        }
        let lists = Lists { set: &set, add: &add, add_if_absent: &add_if_absent, remove };
        // As of a response: Host is out of reach.
        Edits::compile_lists(&lists, Side::Response).map(Self)
    }

    /// Changes a request.
    pub fn request(&self, head: &mut Request) {
        self.0.apply(head);
    }

    /// Changes a response.
    pub fn response(&self, head: &mut Response) {
        self.0.apply(head);
    }
}

fn fields(list: Option<&[HeaderValue]>) -> Vec<HeaderField> {
    let field =
        |HeaderValue { name, value }: &HeaderValue| HeaderField { name: name.clone(), value: value.clone() };
    list.unwrap_or_default().iter().map(field).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compiled(yaml: &str) -> Result<HeaderChanges, Invalid> {
        HeaderChanges::compile(&serde_saphyr::from_str(yaml).unwrap())
    }

    #[test]
    fn fields_are_set_added_added_where_absent_and_removed() {
        let changes = compiled(
            "{set: [{name: A, value: '1'}], add: [{name: B, value: '2'}], addIfAbsent: [{name: C, value: '3'}, {name: D, \
             value: '4'}], remove: [E]}",
        )
        .unwrap();
        let mut head = Request::build("GET", b"/", None).unwrap();
        for name in ["a", "b", "c", "e"] {
            head.append_header(name, "0").unwrap();
        }
        changes.request(&mut head);
        let all: Vec<_> = ["a", "b", "c", "d", "e"]
            .map(|name| {
                head.headers.get_all(name).iter().map(|v| v.to_str().unwrap()).collect::<Vec<_>>().join(" ")
            })
            .into();
        assert_eq!(all, ["1", "0 2", "0", "4", ""]);
    }

    #[test]
    fn what_frames_a_message_or_names_its_host_is_out_of_reach() {
        for name in ["host", "Content-Length", "transfer-encoding", "connection", "upgrade", "te", "a b", ""]
        {
            for list in [
                format!("{{set: [{{name: {name:?}, value: x}}]}}"),
                format!("{{addIfAbsent: [{{name: {name:?}, value: x}}]}}"),
                format!("{{remove: [{name:?}]}}"),
            ] {
                assert!(compiled(&list).is_err(), "{list}");
            }
        }
        let both = compiled("{set: [{name: a, value: x}], addIfAbsent: [{name: A, value: y}]}");
        assert!(both.unwrap_err().to_string().starts_with("addIfAbsent[0].name: a is also in `set`"));
        let many = format!("{{remove: [{}]}}", "a,".repeat(65));
        assert!(compiled(&many).unwrap_err().to_string().starts_with("remove: has 65"));
    }
}
