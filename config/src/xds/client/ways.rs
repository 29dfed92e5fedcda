//! Further ways to the controller: calls over the connection that configuration comes by. So they lead to the same replica, and
//! no proxy makes a second handshake.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use prost::Message;
use tokio::sync::{mpsc, watch};
use tonic::client::Grpc;
use tonic::metadata::{Ascii, MetadataValue};
use tonic_prost::ProstCodec;

use super::dial::{Channel, Dialer};
use crate::load::proto::{Node, Report};
use crate::xds::server::{GATEWAY, MAX_LOADS, MAX_REPORTS, POD};
use crate::{load, quota};

/// Longest time from the call to its answer's head.
const OPEN: Duration = Duration::from_secs(20);
/// Messages that may wait for the connection.
const WAITING: usize = 16;

/// The way to the quota server ([`quota::Way`]), and to who asks for loads ([`load::Way`]).
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

/// Both ends of a stream.
type Ends<Q, A> = (mpsc::Sender<Q>, mpsc::Receiver<Result<A, String>>);

impl ControllerWay {
    /// Opens a stream of a method, with messages of so many bytes.
    async fn stream<Q, A>(&self, method: &'static str, most: usize) -> Result<Ends<Q, A>, String>
    where
        Q: Message + Default + 'static,
        A: Message + Default + 'static,
    {
        let mut connection = self.connection.clone();
        let connected = connection.wait_for(Option::is_some).await;
        let channel = connected.ok().and_then(|channel| channel.clone());
        let channel = channel.ok_or("nobody asks for configuration any more")?;
        let (said, mut sent) = mpsc::channel::<Q>(WAITING);
        let mut call = tonic::Request::new(futures::stream::poll_fn(move |cx| sent.poll_recv(cx)));
        let node = self.dialer.node();
        let metadata = call.metadata_mut();
        metadata.insert("authorization", self.dialer.token().await.map_err(|error| error.to_string())?);
        metadata.insert(GATEWAY, text(&node.cluster)?);
        metadata.insert(POD, text(&node.id)?);
        let mut grpc = Grpc::with_origin(channel, self.dialer.origin.clone())
            .max_decoding_message_size(most)
            .max_encoding_message_size(most);
        let codec: ProstCodec<Q, A> = ProstCodec::default();
        let opened = grpc.streaming(call, http::uri::PathAndQuery::from_static(method), codec);
        let opened = tokio::time::timeout(OPEN, opened).await;
        let opened = opened.map_err(|_| "the controller does not answer".to_owned())?;
        let mut messages = opened.map_err(|status| status.message().to_owned())?.into_inner();
        let (told, heard) = mpsc::channel(WAITING);
        tokio::spawn(async move {
            loop {
                // It ends with the stream, or with who reads it.
                let message = tokio::select! {
                    message = messages.message() => message,
                    () = told.closed() => return,
                };
                let message = match message {
                    Ok(Some(message)) => Ok(message),
                    Ok(None) => return,
                    Err(status) => Err(status.message().to_owned()),
                };
                let is_over = message.is_err();
                if told.send(message).await.is_err() || is_over {
                    return;
                }
            }
        });
        Ok((said, heard))
    }
}

#[async_trait]
impl quota::Way for ControllerWay {
    async fn open(&self) -> Result<quota::Line, String> {
        let (reports, responses) = self.stream(quota::proto::STREAM, MAX_REPORTS).await?;
        Ok(quota::Line { reports, responses })
    }
}

#[async_trait]
impl load::Way for ControllerWay {
    async fn open(&self) -> Result<load::Line, String> {
        let (reports, requests) = self.stream(load::proto::STREAM, MAX_LOADS).await?;
        let crate::xds::proto::Node { id, cluster, .. } = self.dialer.node();
        // It has room.
        let first = Report { node: Some(Node { id, cluster }), clusters: Vec::new() };
        _ = reports.send(first).await;
        Ok(load::Line { reports, requests })
    }
}

fn text(value: &str) -> Result<MetadataValue<Ascii>, String> {
    value.parse().map_err(|_| format!("{value:?} cannot be said in a call"))
}
