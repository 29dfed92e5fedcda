//! The way to the quota server: another call over the connection that configuration comes by. So it is the same replica, and
//! no proxy makes a second handshake.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{mpsc, watch};
use tonic::client::Grpc;
use tonic::metadata::{Ascii, MetadataValue};
use tonic_prost::ProstCodec;

use super::dial::{Channel, Dialer};
use crate::quota::proto::{Reports, Response, STREAM};
use crate::quota::{Line, Way};
use crate::xds::server::{GATEWAY, MAX_REPORTS, POD};

/// Longest time from the call to its answer's head.
const OPEN: Duration = Duration::from_secs(20);
/// Messages that may wait for the connection.
const WAITING: usize = 16;

/// See the module.
pub struct ControllerWay {
    pub(in crate::xds) dialer: Arc<Dialer>,
    /// The connection by which configuration comes; `None` while there is none.
    pub(in crate::xds) connection: watch::Receiver<Option<Channel>>,
}

impl fmt::Debug for ControllerWay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ControllerWay").finish_non_exhaustive()
    }
}

#[async_trait]
impl Way for ControllerWay {
    async fn open(&self) -> Result<Line, String> {
        let mut connection = self.connection.clone();
        let connected = connection.wait_for(Option::is_some).await;
        let channel = connected.ok().and_then(|channel| channel.clone());
        let channel = channel.ok_or("nobody asks for configuration any more")?;
        let (reports, mut sent) = mpsc::channel::<Reports>(WAITING);
        let mut call = tonic::Request::new(futures::stream::poll_fn(move |cx| sent.poll_recv(cx)));
        let node = self.dialer.node();
        let metadata = call.metadata_mut();
        metadata.insert("authorization", self.dialer.token().await.map_err(|error| error.to_string())?);
        metadata.insert(GATEWAY, text(&node.cluster)?);
        metadata.insert(POD, text(&node.id)?);
        let mut grpc = Grpc::with_origin(channel, self.dialer.origin.clone())
            .max_decoding_message_size(MAX_REPORTS)
            .max_encoding_message_size(MAX_REPORTS);
        let codec: ProstCodec<Reports, Response> = ProstCodec::default();
        let opened = grpc.streaming(call, http::uri::PathAndQuery::from_static(STREAM), codec);
        let opened = tokio::time::timeout(OPEN, opened).await;
        let opened = opened.map_err(|_| "the controller does not answer".to_owned())?;
        let mut messages = opened.map_err(|status| status.message().to_owned())?.into_inner();
        let (told, responses) = mpsc::channel(WAITING);
        tokio::spawn(async move {
            loop {
                // It ends with the stream, or with who reads it.
                let message = tokio::select! {
                    message = messages.message() => message,
                    () = told.closed() => return,
                };
                let response = match message {
                    Ok(Some(response)) => Ok(response),
                    Ok(None) => return,
                    Err(status) => Err(status.message().to_owned()),
                };
                let is_over = response.is_err();
                if told.send(response).await.is_err() || is_over {
                    return;
                }
            }
        });
        Ok(Line { reports, responses })
    }
}

fn text(value: &str) -> Result<MetadataValue<Ascii>, String> {
    value.parse().map_err(|_| format!("{value:?} cannot be said in a call"))
}
