//! Who gets in, and what they see.

use std::time::Duration;

use tonic::client::Grpc;
use tonic_prost::ProstCodec;

use crate::identity::{Authority, Identity, Issue};
use crate::xds::TYPE_URL;
use crate::xds::client::dial::Dialer;
use crate::xds::proto::{DELTA, DeltaRequest, DeltaResponse};
use crate::xds::tests::harness::{Controller, FakeProxy, Files, gateway, generation, options, proxy, tls};

#[tokio::test]
async fn a_proxy_never_receives_what_is_another_gateways() {
    let controller = Controller::start().await;
    let mut resources = gateway("a", &["x"]);
    resources.extend(gateway("b", &["x", "y"]));
    controller.hub.publish(generation(1), resources);
    let mut a = FakeProxy::start(&controller, "a", "pod-1");
    let mut b = FakeProxy::start(&controller, "b", "pod-1");
    assert_eq!(a.update().await.upserts, gateway("a", &["x"]));
    assert_eq!(b.update().await.upserts, gateway("b", &["x", "y"]));
    // Changes neither.
    let mut resources = gateway("a", &["x", "y"]);
    resources.extend(gateway("b", &["x"]));
    controller.hub.publish(generation(2), resources);
    assert!(a.update().await.upserts.keys().all(|key| !key.name.starts_with('b')));
    assert_eq!(b.update().await.removes.len(), 3);
}

#[tokio::test]
async fn a_proxy_whose_token_is_anothers_is_turned_away_and_told_why() {
    let controller = Controller::start().await;
    controller.hub.publish(generation(1), gateway("b", &["x"]));
    let files = Files::new();
    files.write("ca", controller.authority.certificate());
    files.write("token", "token of a");
    let mut liar = FakeProxy::with(controller.address, &files, proxy("b", "pod-1"), false);
    let state = liar.is("refused", |state| state.problem.is_some()).await;
    assert!(state.problem.unwrap().contains("the token is that of gateway/n/a, not of gateway/n/b"));
    assert!(liar.updates.try_recv().is_err());
    assert_eq!(controller.hub.proxies(), []);
}

#[tokio::test]
async fn a_bad_token_is_refused_and_a_new_one_in_the_file_is_used() {
    let controller = Controller::start().await;
    controller.hub.publish(generation(1), gateway("a", &["x"]));
    let files = Files::new();
    files.write("ca", controller.authority.certificate());
    let mut proxy = FakeProxy::with(controller.address, &files, proxy("a", "pod-1"), false);
    let state = proxy.is("no token", |state| state.problem.is_some()).await;
    assert!(state.problem.unwrap().contains("token cannot be read"));
    files.write("token", "forged");
    let is_refused = |problem: &String| problem.contains("the token is not valid");
    proxy.is("forged", |state| state.problem.as_ref().is_some_and(is_refused)).await;
    files.write("token", "token of a");
    assert_eq!(proxy.update().await.upserts.len(), 5);
}

#[tokio::test]
async fn a_controller_that_the_bundle_does_not_vouch_for_gets_no_token() {
    let controller = Controller::start().await;
    let other = Authority::generate().unwrap();
    let files = Files::new();
    files.write("ca", other.certificate());
    files.write("token", "token of a");
    let mut proxy = FakeProxy::with(controller.address, &files, proxy("a", "pod-1"), false);
    let state = proxy.is("refused", |state| state.problem.is_some()).await;
    assert!(state.problem.unwrap().contains("TLS handshake failed"));
}

/// Opens a stream by hand and returns what comes of it.
async fn call(dialer: &Dialer, certified: Option<&crate::xds::client::certify::Certified>) -> tonic::Status {
    let channel = dialer.connect(certified).await.unwrap();
    let first =
        DeltaRequest { node: Some(dialer.node()), type_url: TYPE_URL.into(), ..DeltaRequest::default() };
    let stream = futures::StreamExt::chain(
        futures::stream::once(std::future::ready(first)),
        futures::stream::pending(),
    );
    let mut call = tonic::Request::new(stream);
    call.metadata_mut().insert("authorization", dialer.token().await.unwrap());
    let mut grpc = Grpc::with_origin(channel, dialer.origin.clone());
    let codec: ProstCodec<DeltaRequest, DeltaResponse> = ProstCodec::default();
    let opened = grpc.streaming(call, http::uri::PathAndQuery::from_static(DELTA), codec).await;
    match opened {
        Ok(responses) => responses.into_inner().message().await.unwrap_err(),
        Err(status) => status,
    }
}

#[tokio::test]
async fn a_token_alone_opens_no_stream_nor_does_the_certificate_of_another() {
    let controller = Controller::start().await;
    controller.hub.publish(generation(1), gateway("a", &["x"]));
    let files = Files::new();
    files.write("ca", controller.authority.certificate());
    files.write("token", "token of a");
    let options = options(controller.address, &files, proxy("a", "pod-1"), false);
    let dialer = Dialer::new(&options).unwrap();
    let status = call(&dialer, None).await;
    assert_eq!(status.code(), tonic::Code::Unauthenticated);
    assert!(status.message().contains("certificate"));
    // The token of one and the certificate of another.
    files.write("token", "token of b");
    let other = crate::xds::ClientOptions { proxy: proxy("b", "pod-1"), ..options };
    let of_b = std::sync::Arc::new(Dialer::new(&other).unwrap());
    let state = tokio::sync::watch::Sender::default();
    let certified = crate::xds::client::certify::Certifier::new(of_b, state).get().await.unwrap();
    files.write("token", "token of a");
    let status = call(&dialer, Some(&certified)).await;
    assert_eq!(status.code(), tonic::Code::PermissionDenied);
    assert!(status.message().contains("sa/a"), "{}", status.message());
}

#[tokio::test]
async fn a_certificate_is_renewed_without_an_end_of_the_stream_and_used_after_it() {
    let authority = Authority::generate().unwrap().with_lifetime(Duration::from_secs(8));
    let controller = Controller::with(authority).await;
    let mut proxy = FakeProxy::start(&controller, "a", "pod-1");
    controller.hub.publish(generation(1), gateway("a", &["x"]));
    proxy.update().await;
    let state = proxy.is("renewed", |state| state.certificates == 2).await;
    assert_eq!((state.streams, state.is_connected), (1, true));
    // The first one expires, and the stream goes over to the second.
    proxy.is("a new stream", |state| state.streams == 2 && state.is_connected).await;
    controller.hub.publish(generation(2), gateway("a", &["x", "y"]));
    controller.has(&proxy.id, 2).await;
}

#[tokio::test]
async fn authority_and_certificate_of_the_controller_are_exchanged_while_it_runs() {
    let controller = Controller::start().await;
    let mut proxy = FakeProxy::start(&controller, "a", "pod-1");
    controller.hub.publish(generation(1), gateway("a", &["x"]));
    proxy.update().await;
    let next = Authority::generate().unwrap();
    let both = format!("{}{}", controller.authority.certificate(), next.certificate());
    // Trust comes first, then use.
    proxy.files().write("ca", &both);
    controller.exchange_tls(tls(&next, &both));
    assert!(proxy.state.borrow().is_connected);
    controller.hub.set_open(false);
    proxy.is("sent away", |state| !state.is_connected).await;
    proxy.files().write("ca", next.certificate());
    controller.hub.set_open(true);
    proxy.is("connected again", |state| state.is_connected && state.streams == 2).await;
}

#[tokio::test]
async fn an_authority_is_loaded_as_it_was_kept_and_signs_only_what_is_asked_for_rightly() {
    let authority = Authority::generate().unwrap();
    let again = Authority::load(authority.certificate(), &authority.key()).unwrap();
    assert_eq!(again.certificate(), authority.certificate());
    let other = Authority::generate().unwrap();
    assert!(Authority::load(authority.certificate(), &other.key()).is_err());
    assert!(Authority::load("nothing", &authority.key()).is_err());
    let identity = Identity { proxy: proxy("a", "p"), uri: "spiffe://c/ns/n/sa/a".into() };
    assert!(again.issue(b"nonsense", &identity).await.is_err());
    let key = rcgen::KeyPair::generate().unwrap();
    let request = rcgen::CertificateParams::new(vec!["admin.example.com".into()]).unwrap();
    let request = request.serialize_request(&key).unwrap();
    let mut changed = request.der().to_vec();
    *changed.last_mut().unwrap() ^= 1;
    assert!(again.issue(&changed, &identity).await.is_err(), "its signature is wrong");
    let chain = again.issue(request.der(), &identity).await.unwrap();
    let (_, leaf) = x509_parser::parse_x509_certificate(&chain[0]).unwrap();
    let names = format!("{:?}", leaf.subject_alternative_name().unwrap().unwrap().value.general_names);
    assert_eq!(names, "[URI(\"spiffe://c/ns/n/sa/a\")]", "no name of the request is signed");
}
