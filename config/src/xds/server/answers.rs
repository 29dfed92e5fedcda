//! Calls that are answered as long as they last.

use std::future::{Future, Ready, ready};
use std::pin::Pin;
use std::sync::Arc;

use futures::Stream;
use tokio::sync::mpsc;
use tonic::{Response, Status};

use super::call::Caller;

/// What a call is answered, one after the other.
pub(super) type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;
/// Where they go.
pub(super) type Answering<T> = mpsc::Sender<Result<T, Status>>;
/// The call is taken at once.
pub(super) type Taken<T> = Ready<Result<Response<Answers<T>>, Status>>;

/// Lets `run` answer until it ends, and says why in our log, which calls it `what`, and as the last answer.
pub(super) fn answers<T: Send + 'static, F>(
    caller: &Arc<Caller>,
    what: &'static str,
    run: impl FnOnce(Arc<Caller>, Answering<T>) -> F,
) -> Taken<T>
where
    F: Future<Output = Result<(), Status>> + Send + 'static,
{
    // One waits while one is sent: a slow proxy holds this stream up and nothing else.
    let (answers, mut sent) = mpsc::channel(1);
    let (caller, gone, last) = (caller.clone(), answers.clone(), answers.clone());
    let run = run(caller.clone(), answers);
    tokio::spawn(async move {
        tokio::select! {
            ended = run => {
                if let Err(status) = ended {
                    caller.log(what, &status);
                    _ = last.send(Err(status)).await;
                }
            }
            // The proxy went away: stop wherever we are.
            () = gone.closed() => {}
        }
    });
    let answers: Answers<T> = Box::pin(futures::stream::poll_fn(move |cx| sent.poll_recv(cx)));
    ready(Ok(Response::new(answers)))
}
