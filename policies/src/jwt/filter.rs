//! From a request to its callers.

use std::collections::HashSet;
use std::fmt;
use std::future::Future;
use std::ops::Deref;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use http::HeaderName;
use serde_json::Value;
use smallvec::SmallVec;

use super::cache::Sought;
use super::claims::{Demands, Verified};
use super::extract::Place;
use super::fields::Fields;
use super::jws::{Jws, LONGEST};
use super::keys::{KeySet, Keys};
use super::spec::PodBinding;
use super::{Fault, json, workload};
use crate::caller::Token;
use crate::{Context, Filter, Request, Verdict};

/// A compiled [`Jwt`](super::Jwt).
pub struct JwtFilter {
    is_shadow: bool,
    is_optional: bool,
    verifiers: Box<[Verifier]>,
    /// Every place, once, with who looks there (by index).
    places: Box<[(Place, Box<[usize]>)]>,
    /// Fields that only we may set.
    ours: Box<[HeaderName]>,
    revoked: HashSet<Box<str>>,
}

/// A compiled provider.
#[derive(Debug)]
pub(super) struct Verifier {
    pub(super) name: Arc<str>,
    pub(super) demands: Demands,
    pub(super) keys: Source,
    pub(super) places: Box<[Place]>,
    pub(super) fields: Arc<Fields>,
    /// Tokens are of Kubernetes ServiceAccounts, and bound so to the pod that has one.
    pub(super) binding: Option<PodBinding>,
    pub(super) strips: bool,
}

/// Where keys are.
#[derive(Debug)]
pub(super) enum Source {
    Local(KeySet),
    Remote(Arc<dyn Keys>),
}

/// Keys for one token. Those that are here are not counted: every request of every worker would count them.
enum Current<'k> {
    Local(&'k KeySet),
    Fetched(Arc<KeySet>),
}

impl Deref for Current<'_> {
    type Target = KeySet;

    fn deref(&self) -> &KeySet {
        match self {
            Self::Local(set) => set,
            Self::Fetched(set) => set,
        }
    }
}

impl Current<'_> {
    /// The set, if it may be replaced by a newer one.
    fn fetched(&self) -> Option<Arc<KeySet>> {
        match self {
            Self::Local(_) => None,
            Self::Fetched(set) => Some(set.clone()),
        }
    }
}

impl Source {
    fn current(&self) -> Option<Current<'_>> {
        match self {
            Self::Local(set) => Some(Current::Local(set)),
            Self::Remote(keys) => keys.current().map(Current::Fetched),
        }
    }
}

impl fmt::Debug for JwtFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JwtFilter").field("verifiers", &self.verifiers).finish_non_exhaustive()
    }
}

/// Verified tokens, by provider.
pub(super) type Found = SmallVec<[(usize, Arc<Verified>); 1]>;

/// Why there are none, and who might change that.
#[derive(Debug)]
pub(super) struct Stop {
    pub(super) fault: Fault,
    newer: Option<Newer>,
}

/// Where newer keys may come from.
#[derive(Debug)]
struct Newer {
    keys: Arc<dyn Keys>,
    /// What did not have the key.
    seen: Option<Arc<KeySet>>,
}

impl Newer {
    fn wanted(self) -> Option<Pin<Box<dyn Future<Output = ()> + Send>>> {
        self.keys.wanted(self.seen.as_ref())
    }
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Self { fault, newer: None }
    }
}

impl JwtFilter {
    pub(super) fn new(
        is_shadow: bool,
        is_optional: bool,
        verifiers: Vec<Verifier>,
        revoked: HashSet<Box<str>>,
    ) -> Self {
        let mut places: Vec<(Place, Vec<usize>)> = Vec::new();
        for (index, verifier) in verifiers.iter().enumerate() {
            for place in &verifier.places {
                match places.iter_mut().find(|(known, _)| known == place) {
                    Some((_, who)) => who.push(index),
                    None => places.push((place.clone(), vec![index])),
                }
            }
        }
        let mut ours: Vec<HeaderName> =
            verifiers.iter().flat_map(|verifier| verifier.fields.names()).cloned().collect();
        ours.sort_by(|a, b| a.as_str().cmp(b.as_str()));
        ours.dedup();
        Self {
            is_shadow,
            is_optional,
            verifiers: verifiers.into(),
            places: places.into_iter().map(|(place, who)| (place, who.into())).collect(),
            ours: ours.into(),
            revoked,
        }
    }

    /// Finds and verifies every token of the request. `now`: seconds since 1970. `pod`: whose connection it came over.
    pub(super) fn admit(&self, req: &Request, pod: Option<&str>, now: i64) -> Result<Found, Stop> {
        let mut found = Found::new();
        // Each provider takes one token: whichever of two a backend reads, it must be the one that was verified.
        let mut served: SmallVec<[bool; 4]> = SmallVec::from_elem(false, self.verifiers.len());
        for (place, who) in &self.places {
            let Some(token) = place.find(req).map_err(|_| Fault::Ambiguous)? else { continue };
            for index in who {
                if let Some(served) = served.get_mut(*index)
                    && std::mem::replace(served, true)
                {
                    return Err(Fault::Ambiguous.into());
                }
            }
            let (index, verified) = self.verify(token, who, now)?;
            if verified.jti().is_some_and(|jti| self.revoked.contains(jti)) {
                return Err(Fault::Revoked.into());
            }
            if let Some(verifier) = self.verifiers.get(index)
                && let (Some(binding), Some(holder)) = (verifier.binding, &verified.holder)
                && !holder.may_come_from(pod, binding)
            {
                return Err(Fault::OtherPod.into());
            }
            found.push((index, verified));
        }
        if found.is_empty() && !self.is_optional {
            return Err(Fault::Missing.into());
        }
        found.sort_by_key(|(index, _)| *index);
        Ok(found)
    }

    /// Verifies one token by one of the providers `who`.
    fn verify(&self, token: &[u8], who: &[usize], now: i64) -> Result<(usize, Arc<Verified>), Stop> {
        if token.len() > LONGEST {
            return Err(Fault::Invalid.into());
        }
        let candidates = || who.iter().filter_map(|index| Some((*index, self.verifiers.get(*index)?)));
        let sought = Sought::new(token);
        for (index, verifier) in candidates() {
            let Some(set) = verifier.keys.current() else { continue };
            let Some(hit) = set.verified.get(sought) else { continue };
            let Some(verified) = hit.as_ref() else { continue };
            match verifier.accept(verified, now) {
                Ok(()) => return Ok((index, verified.clone())),
                // Two providers may have the same keys.
                Err(Fault::Issuer) => {}
                Err(fault) => return Err(fault.into()),
            }
        }
        let jws = Jws::parse(token)?;
        let claims = json::object(&jws.payload).ok_or(Fault::Invalid)?;
        // Not verified yet: it chooses the keys, and only those of its issuer can verify it.
        let issuer = claims.get("iss").and_then(Value::as_str).ok_or(Fault::Issuer)?;
        let (index, verifier) =
            candidates().find(|(_, verifier)| *verifier.demands.issuer == *issuer).ok_or(Fault::Issuer)?;
        let set = verifier.keys.current().ok_or_else(|| verifier.stop(Fault::NoKeys, None))?;
        set.verify(&jws).map_err(|fault| verifier.stop(fault, set.fetched()))?;
        let mark = sought.mark(jws.message.len());
        let verified = Arc::new(Verified::new(mark, claims, &verifier.fields)?);
        verifier.accept(&verified, now)?;
        set.verified.put(verified.clone(), now);
        Ok((index, verified))
    }

    /// Tells everybody who calls.
    fn tell(&self, found: &Found, req: &mut Request, ctx: &mut Context) {
        for (index, verified) in found {
            let Some(verifier) = self.verifiers.get(*index) else { continue };
            verified.fields.set(&verifier.fields, &verified.claims, req);
            if let Some(holder) = verified.holder.as_ref().filter(|_| verifier.binding.is_some()) {
                workload::tell(&holder.workload, &mut ctx.caller);
            }
            ctx.caller
                .tokens
                .push(Token { provider: verifier.name.clone(), claims: verified.claims.clone() });
            if verifier.strips {
                verifier.places.iter().for_each(|place| place.strip(req));
            }
        }
    }
}

impl Verifier {
    fn accept(&self, verified: &Verified, now: i64) -> Result<(), Fault> {
        verified.meets(&self.demands, now)?;
        if self.binding.is_some() && verified.holder.is_none() {
            return Err(Fault::Invalid);
        }
        Ok(())
    }

    fn stop(&self, fault: Fault, seen: Option<Arc<KeySet>>) -> Stop {
        let newer = match &self.keys {
            Source::Remote(keys) if matches!(fault, Fault::UnknownKey | Fault::NoKeys) => {
                Some(Newer { keys: keys.clone(), seen })
            }
            Source::Remote(_) | Source::Local(_) => None,
        };
        Stop { fault, newer }
    }
}

impl Filter for JwtFilter {
    type State = ();

    fn is_shadow(&self) -> bool {
        self.is_shadow
    }

    fn request<'a>(&'a self, req: &'a mut Request, ctx: &'a mut Context, (): &'a mut ()) -> Verdict<'a> {
        for name in &self.ours {
            req.remove_header(name);
        }
        let stop = match self.admit(req, pod(ctx), now()) {
            Ok(found) => {
                self.tell(&found, req, ctx);
                return Verdict::Continue;
            }
            Err(stop) => stop,
        };
        // A shadow delays nobody.
        let fetched = stop.newer.filter(|_| !self.is_shadow).and_then(Newer::wanted);
        let Some(fetched) = fetched else { return Verdict::Reply(stop.fault.reply()) };
        Verdict::Wait(Box::pin(async move {
            fetched.await;
            let mut found = self.admit(req, pod(ctx), now());
            // That fetch may have begun before the key was published; the next one does not. Without any keys once is enough.
            if let Err(stop) = &mut found
                && stop.fault == Fault::UnknownKey
                && let Some(fetched) = stop.newer.take().and_then(Newer::wanted)
            {
                fetched.await;
                found = self.admit(req, pod(ctx), now());
            }
            let found = found.map_err(|stop| stop.fault.reply())?;
            self.tell(&found, req, ctx);
            Ok(())
        }))
    }
}

/// The pod whose connection the request came over.
fn pod(ctx: &Context) -> Option<&str> {
    ctx.caller.peer.as_ref()?.pod.as_deref()
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
