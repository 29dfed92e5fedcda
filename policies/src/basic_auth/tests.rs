use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::*;

use super::*;
use crate::{BackendRef, Material, Upstream, Work};

/// Counts what is done away from the workers; takes nothing once `room` is used up.
#[derive(Debug, Default)]
struct Bench {
    done: AtomicUsize,
    room: usize,
}

impl Offload for Bench {
    fn run(&self, work: Work) -> Pin<Box<dyn Future<Output = Option<bool>> + Send>> {
        let fits = self.done.fetch_add(1, Ordering::Relaxed) < self.room;
        Box::pin(async move { fits.then(work) })
    }
}

#[derive(Debug)]
struct Scene(&'static str, Arc<Bench>);

impl Lookup for Scene {
    fn backend(&self, _: &BackendRef) -> Option<Arc<dyn Upstream>> {
        None
    }

    fn material(&self, _: &ObjectRef) -> Option<Arc<Material>> {
        Some(Arc::new(Material([(FILE.to_owned(), self.0.into())].into())))
    }

    fn offload(&self) -> Arc<dyn Offload> {
        self.1.clone()
    }
}

fn filter(file: &'static str, room: usize) -> (BasicAuthFilter, Arc<Bench>) {
    let users = ObjectRef { kind: ObjectKind::Secret, namespace: "shop".into(), name: "users".into() };
    let policy =
        BasicAuth { users, realm: default_realm(), forward_username_header: None, mode: Mode::Enforce };
    let bench = Arc::new(Bench { room, ..Bench::default() });
    (policy.compile(&Scene(file, bench.clone())).unwrap(), bench)
}

/// The reason of the refusal, or the user.
fn ask(filter: &BasicAuthFilter, credentials: &str) -> Result<String, Reply> {
    let mut req = Request::build("GET", b"/", None).unwrap();
    let value = format!("Basic {}", BASE64_STANDARD.encode(credentials));
    req.insert_header("Authorization", value).unwrap();
    let mut ctx = Context::default();
    let verdict = match filter.request(&mut req, &mut ctx, &mut ()) {
        Verdict::Continue => Ok(()),
        Verdict::Reply(reply) => Err(reply),
        Verdict::Wait(mut decision) => {
            let waker = std::task::Waker::noop();
            match decision.as_mut().poll(&mut std::task::Context::from_waker(waker)) {
                std::task::Poll::Ready(decided) => decided,
                std::task::Poll::Pending => panic!("nothing waits here"),
            }
        }
    };
    verdict.map(|()| ctx.caller.user.unwrap().to_string())
}

fn reason(asked: Result<String, Reply>) -> &'static str {
    asked.unwrap_err().reason
}

/// `first` with `one`, `second` with `two`; each test has hashes of its own, since all share what is remembered.
const FIRST: &str = "first:$2y$04$abcdefghijklmnopqrstuumuyEQbtzspTRwXXMW21FVOgYoPdxMge\n";

#[test]
fn a_slow_hash_is_computed_once_and_never_on_the_worker() {
    let (filter, bench) = filter(FIRST, usize::MAX);
    for _ in 0..3 {
        assert_eq!(reason(ask(&filter, "first:another")), "basic_auth_invalid");
    }
    assert_eq!(bench.done.load(Ordering::Relaxed), 1);
    let hash = bcrypt_of("one", 1);
    let (filter, bench) = self::filter(hash, usize::MAX);
    for _ in 0..3 {
        assert_eq!(ask(&filter, "u:one").unwrap(), "u");
    }
    assert_eq!(bench.done.load(Ordering::Relaxed), 1);
    // A policy compiled anew goes on from there.
    let (again, bench) = self::filter(hash, usize::MAX);
    assert_eq!(ask(&again, "u:one").unwrap(), "u");
    assert_eq!(bench.done.load(Ordering::Relaxed), 0);
    // Not so with a new hash of the same password.
    let (changed, bench) = self::filter(bcrypt_of("one", 2), usize::MAX);
    assert_eq!(ask(&changed, "u:one").unwrap(), "u");
    assert_eq!(bench.done.load(Ordering::Relaxed), 1);
}

/// A line for user `u`, with the cheapest cost there is.
fn bcrypt_of(password: &str, salt: u8) -> &'static str {
    let hash = bcrypt::hash_with_salt(password, 4, [salt; 16]).unwrap();
    let hash = hash.format_for_version(bcrypt::Version::TwoY);
    format!("u:{hash}").leak()
}

#[test]
fn who_is_nobody_costs_as_much_as_a_wrong_password() {
    let file = bcrypt_of("three", 3);
    let (filter, bench) = filter(file, usize::MAX);
    assert_eq!(reason(ask(&filter, "u:wrong")), "basic_auth_invalid");
    assert_eq!(bench.done.load(Ordering::Relaxed), 1);
    assert_eq!(reason(ask(&filter, "nobody:wrong")), "basic_auth_invalid");
    assert_eq!(bench.done.load(Ordering::Relaxed), 2);
    // Also with a password that is somebody's, the first time and from memory.
    for _ in 0..2 {
        assert_eq!(reason(ask(&filter, "nobody:three")), "basic_auth_invalid");
        assert_eq!(bench.done.load(Ordering::Relaxed), 3);
    }
    assert_eq!(ask(&filter, "u:three").unwrap(), "u");
}

#[test]
fn a_flood_is_turned_away_and_whoever_is_remembered_is_served() {
    let (filter, _) = filter(bcrypt_of("four", 4), 1);
    assert_eq!(ask(&filter, "u:four").unwrap(), "u");
    let busy = ask(&filter, "u:guess").unwrap_err();
    assert_eq!((busy.status, busy.reason), (StatusCode::SERVICE_UNAVAILABLE, "basic_auth_busy"));
    assert_eq!(busy.headers, [(header::RETRY_AFTER, HeaderValue::from_static("1"))]);
    assert_eq!(ask(&filter, "u:four").unwrap(), "u");
}

#[test]
fn the_same_name_is_always_checked_against_the_same_hash() {
    let users =
        Users::parse(b"a:{SHA}VBPuJHI7uixaa6LQGWx4s+5GKNE=\nb:{SHA}VBPuJHI7uixaa6LQGWx4s+5GKNE=").unwrap();
    let against = |name: &str| users.find(name.as_bytes()).0.unwrap().name.clone();
    let names: Vec<String> = (0..64).map(|n| format!("nobody-{n}")).collect();
    assert!(names.iter().all(|name| against(name) == against(name)));
    let first = names.iter().filter(|name| &*against(name) == "a").count();
    assert!((8..56).contains(&first), "{first} of 64 go to the first");
}

#[test]
fn a_fast_hash_is_not_checked_away_from_the_worker() {
    let (filter, bench) = filter("a:{SHA}VBPuJHI7uixaa6LQGWx4s+5GKNE=", 0);
    assert_eq!(ask(&filter, "a:myPassword").unwrap(), "a");
    assert_eq!(reason(ask(&filter, "a:wrong")), "basic_auth_invalid");
    assert_eq!(reason(ask(&filter, "nobody:myPassword")), "basic_auth_invalid");
    assert_eq!(bench.done.load(Ordering::Relaxed), 0);
}

#[test]
fn a_name_is_as_long_as_it_may_be_and_no_longer() {
    let file = |length: usize| format!("{}:{{SHA}}VBPuJHI7uixaa6LQGWx4s+5GKNE=", "n".repeat(length));
    assert!(Users::parse(file(255).as_bytes()).is_ok() && Users::parse(file(256).as_bytes()).is_err());
}

#[test]
fn what_is_too_long_or_has_control_characters_is_nonsense() {
    let field = |credentials: &str| format!("Basic {}", BASE64_STANDARD.encode(credentials)).into_bytes();
    for credentials in ["a:b\n", "a\0:b", "a:\u{7f}", "\t:"] {
        assert_eq!(parse(&field(credentials)), Sent::Nonsense, "{credentials:?}");
    }
    // Spaces after the scheme count, too.
    let padded = |length: usize| {
        let rest = BASE64_STANDARD.encode("a:b");
        format!("Basic {}{rest}", " ".repeat(length - 6 - rest.len())).into_bytes()
    };
    assert!(matches!(parse(&padded(1024)), Sent::Basic(_)));
    assert_eq!(parse(&padded(1025)), Sent::Nonsense);
}

proptest! {
    #[test]
    fn no_field_makes_parsing_panic(value in prop::collection::vec(any::<u8>(), 0..64)) {
        let _ = parse(&value);
    }

    #[test]
    fn what_is_written_is_read(name in "[^:\\p{Cc}]{0,12}", password in "\\P{Cc}{0,12}") {
        let value = format!("Basic {}", BASE64_STANDARD.encode(format!("{name}:{password}")));
        let (name, password) = (name.into_bytes(), password.into_bytes());
        prop_assert_eq!(parse(value.as_bytes()), Sent::Basic(Credentials { name, password }));
    }

    #[test]
    fn no_file_makes_parsing_panic(file in "([a-z:#$ ]|\\{SHA\\}|\\$2y\\$|\\n|é){0,24}") {
        let _ = Users::parse(file.as_bytes());
    }
}
