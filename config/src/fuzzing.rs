//! Narrow ways to what is private, for the fuzz targets (`fuzz/`). Not an interface: it changes with what is behind it.

use std::sync::Arc;

use bytes::Bytes;
use prost::Message as _;

use crate::xds::proto::{DeltaRequest, DeltaResponse};
use crate::xds::wire::{Entry, decode, rejections};
use crate::{Key, Rejection, Resource};

/// The bytes of a response, as a proxy reads them: each resource, or the name of what cannot be used.
#[must_use]
pub fn response(bytes: &[u8]) -> Vec<Result<(Key, Arc<Resource>), String>> {
    let Ok(response) = DeltaResponse::decode(bytes) else { return Vec::new() };
    decode(response).0.into_iter().map(|decoded| decoded.resource.map_err(|_| decoded.name)).collect()
}

/// The bytes of a request, as the controller reads them: what is rejected.
#[must_use]
pub fn request(bytes: &[u8]) -> Vec<Rejection> {
    DeltaRequest::decode(bytes)
        .map_or_else(|_| Vec::new(), |request| rejections(request.error_detail.as_ref()))
}

/// A response that holds one resource; `None` when it is too large to be sent.
#[must_use]
pub fn sent(key: &Key, resource: &Arc<Resource>) -> Option<Bytes> {
    let wrapped = Entry::new(key.clone(), resource.clone()).wrap().ok()?;
    let response = DeltaResponse { resources: vec![wrapped], ..DeltaResponse::default() };
    Some(response.encode_to_vec().into())
}

/// A snapshot's bytes with their checksum.
#[must_use]
pub fn sealed(snapshot: &[u8]) -> Vec<u8> {
    crate::snapshot::sealed(snapshot)
}
