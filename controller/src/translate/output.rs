//! Collects what a translation says.

use std::sync::Arc;

use config::{Key, Resource};

use super::Translation;
use crate::status::Status;
use crate::{ObjectKey, Statuses};

/// A translation in the making: lists, because sorting once is cheaper than keeping order.
#[derive(Debug, Default)]
pub(crate) struct Output {
    pub(crate) resources: Vec<(Key, Arc<Resource>)>,
    pub(crate) statuses: Vec<(ObjectKey, Arc<Status>)>,
}

impl Output {
    pub(crate) fn resource(&mut self, key: Key, resource: Resource) {
        self.resources.push((key, Arc::new(resource)));
    }

    pub(crate) fn into_translation(self) -> Translation {
        Translation {
            resources: self.resources.into_iter().collect(),
            statuses: Statuses(self.statuses.into_iter().collect()),
        }
    }
}
