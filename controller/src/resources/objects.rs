//! The objects of one kind, by age and by name.

use std::cmp::Ordering;
use std::sync::Arc;

use config::sorted::{self, Entry, Sorted};

use super::Named;

/// Objects of one kind, in conflict order. A copy costs two counters and shares what does not change.
#[derive(Debug)]
pub struct Objects<T> {
    sorted: Sorted<ByAge<T>>,
    /// The same, by namespace and name.
    by_name: Sorted<ByName<T>>,
}

#[derive(Debug)]
struct ByAge<T>(Arc<T>);

#[derive(Debug)]
struct ByName<T>(Arc<T>);

macro_rules! entry {
    ($($by:ident: $($key:ident),*;)*) => { $(
        impl<T> Clone for $by<T> {
            fn clone(&self) -> Self {
                Self(Arc::clone(&self.0))
            }
        }

        impl<T: Named> Entry for $by<T> {
            fn order(&self, other: &Self) -> Ordering {
                ($(self.0.$key(),)*).cmp(&($(other.0.$key(),)*))
            }

            fn is_identical(&self, other: &Self) -> bool {
                Arc::ptr_eq(&self.0, &other.0)
            }
        }
    )* };
}

entry! {
    ByAge: created, namespace, name;
    ByName: namespace, name;
}

impl<T> Default for Objects<T> {
    fn default() -> Self {
        Self { sorted: Sorted::default(), by_name: Sorted::default() }
    }
}

impl<T> Clone for Objects<T> {
    fn clone(&self) -> Self {
        Self { sorted: self.sorted.clone(), by_name: self.by_name.clone() }
    }
}

impl<T> Objects<T> {
    /// All, oldest first, then by `namespace/name`.
    #[must_use]
    pub fn iter(&self) -> Iter<'_, T> {
        Iter(self.sorted.iter())
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.sorted.len()
    }

    /// True when there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sorted.is_empty()
    }

    /// Whether both are the same version: nothing changed in between.
    #[must_use]
    pub fn is_identical(&self, other: &Self) -> bool {
        self.by_name.is_identical(&other.by_name)
    }
}

impl<T: Named> Objects<T> {
    /// Of several objects with one name the last is kept.
    pub(super) fn new(objects: Vec<Arc<T>>) -> Self {
        let by_name = Sorted::collect(objects.into_iter().map(ByName).collect());
        let sorted = by_name.iter().map(|object| ByAge(Arc::clone(&object.0)));
        Self { sorted: Sorted::collect(sorted.collect()), by_name }
    }

    /// Adds an object, or replaces the one of its name.
    pub fn insert(&mut self, object: Arc<T>) {
        if let Some(old) = self.by_name.insert(ByName(Arc::clone(&object))) {
            let old = ByAge(old.0);
            self.sorted.remove(|other| other.order(&old));
        }
        self.sorted.insert(ByAge(object));
    }

    /// Takes out the one of this name.
    pub fn remove(&mut self, namespace: &str, name: &str) {
        if let Some(old) = self.by_name.remove(is_named(namespace, name)) {
            let old = ByAge(old.0);
            self.sorted.remove(|other| other.order(&old));
        }
    }

    /// The one of this name. `namespace` is empty for kinds without.
    #[must_use]
    pub fn get(&self, namespace: &str, name: &str) -> Option<&Arc<T>> {
        self.by_name.get(is_named(namespace, name)).map(|object| &object.0)
    }

    /// Those of one namespace, by name.
    pub fn in_namespace(&self, namespace: &str) -> impl Iterator<Item = &Arc<T>> {
        let from = self.by_name.iter_from(is_named(namespace, ""));
        from.map(|object| &object.0).take_while(move |object| object.namespace() == namespace)
    }

    /// What is not the same in a newer version, by name: the object of this version, and that of the other. Costs what
    /// they do not share. An object that was written again is given even if it is equal.
    pub fn changes<'a>(
        &'a self,
        newer: &'a Self,
    ) -> impl Iterator<Item = (Option<&'a Arc<T>>, Option<&'a Arc<T>>)> {
        let changes = self.by_name.changes(&newer.by_name);
        changes.map(|(old, new)| (old.map(|object| &object.0), new.map(|object| &object.0)))
    }
}

fn is_named<T: Named>(namespace: &str, name: &str) -> impl Fn(&ByName<T>) -> Ordering {
    move |object| (object.0.namespace(), object.0.name()).cmp(&(namespace, name))
}

/// Objects in order.
#[derive(Debug)]
pub struct Iter<'a, T>(sorted::Iter<'a, ByAge<T>>);

impl<T> Clone for Iter<'_, T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<'a, T> Iterator for Iter<'a, T> {
    type Item = &'a Arc<T>;

    fn next(&mut self) -> Option<&'a Arc<T>> {
        self.0.next().map(|object| &object.0)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl<T> ExactSizeIterator for Iter<'_, T> {}

impl<'a, T> IntoIterator for &'a Objects<T> {
    type Item = &'a Arc<T>;
    type IntoIter = Iter<'a, T>;

    fn into_iter(self) -> Iter<'a, T> {
        self.iter()
    }
}
